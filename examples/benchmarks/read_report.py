"""Prints the figures of a finished run: those of its report, for a terminal or a log.

python examples/benchmarks/read_report.py RUN [--check]

With --check it fails where a whole run should not: a winner that does not clearly beat the image
network, fewer than 20 unseen networks, a preview that stands still.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from nas.report.report import accuracy

run = json.loads((Path(sys.argv[1]) / "run.json").read_text())
results = run["results"]
found = {row["network"]: row for row in results["compared"]}
winner = found["winner"]
print(f"winner: {winner['layout']}")
print(f"{results['latency_ms']:.2f} ms predicted of {results['budget_ms']:.2f} ms allowed")
for name, row in found.items():
    lower_pct = (1 - winner["test_loss"] / row["test_loss"]) * 100
    print(
        f"{name}: test loss {row['test_loss']:.4f}, the winner is {lower_pct:.1f}% lower "
        f"(paired difference {row['above_winner']:+.4f} +- {row['above_winner_error']:.4f})"
    )
if "unseen" in results:
    latency = accuracy(results["unseen"])
    print(
        f"{latency['networks']} unseen networks: MAPE {latency['mape_pct']:.1f}%, "
        f"Spearman {latency['spearman']:.3f}, {latency['inside_pct']:.0f}% inside the bounds; "
        f"measured again: MAPE {latency['again_mape_pct']:.1f}%, "
        f"Spearman {latency['again_spearman']:.3f}"
    )
for stage, seconds in run["seconds"].items():
    print(f"{stage}: {seconds:.1f} s")
print(f"all stages: {sum(run['seconds'].values()):.1f} s")

if "--check" in sys.argv:
    image = found["image network"]
    assert image["above_winner"] > 5 * image["above_winner_error"], "the winner is not better"
    assert len(results["unseen"]["measured_ms"]) >= 20, "too few unseen networks"
    with Image.open(Path(sys.argv[1]) / "bundle" / "preview.gif") as gif:
        frames = [np.asarray(frame.convert("L"), float) for frame in ImageSequence.Iterator(gif)]
    moved = [np.abs(after - before).mean() for before, after in itertools.pairwise(frames)]
    assert min(moved) > 1, f"the preview stands still: {moved}"
    print("checked: better than the image network, 20 unseen networks or more, clips that move")
