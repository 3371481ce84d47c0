"""Which strategy finds the better network of a trained supernet, at an equal number of clips?

    nas train --video-steps 6000 --out supernet.safetensors
    python examples/benchmarks/search_supernet.py supernet.safetensors [--seeds 10]
        [--strategies cost-aware random tpe] [--trials 36] [--screening-clips 16]
        [--validation-clips 128] [--latency-ms 60%] [--device mac-m1] [--out FOLDER]

    nas train --space snapgen_v_mini --out twin.safetensors
    python examples/benchmarks/search_supernet.py twin.safetensors --space snapgen_v
        --device iphone-16-pro-max

    python -m examples.video_dit.training video-dit
    python examples/benchmarks/search_supernet.py video-dit/supernet.safetensors --space video_dit

The search and nothing else: networks inside a latency budget, each strategy with as many clips as
`--trials` networks on `--validation-clips` take (`--screening-clips 0`: just these). The goal is
one winner. Judged is the loss of each search's winner on other clips, the same for all: paired by
seed, with what a strategy's winners lack of the first one's. With --out results are kept, and what
is there is not run again.
"""

import argparse
import json
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from supernet_subjects import Subject, subject

from nas import strategies
from nas.cli.output import print_table
from nas.progress import Progress
from nas.study.study import Study
from search_spaces import Architecture
from search_spaces.files import document


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("supernet", type=Path)
    parser.add_argument("--space", default="moving_digits", help="shipped, or video_dit")
    parser.add_argument("--device", default="mac-m1")
    parser.add_argument("--latency-ms", default="60%")
    parser.add_argument("--strategies", nargs="+", default=["cost-aware", "random", "tpe"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=36)
    parser.add_argument("--screening-clips", type=int, default=16)
    parser.add_argument("--validation-clips", type=int, default=128)
    parser.add_argument("--judged-clips", type=int, default=1024)
    parser.add_argument("--out", type=Path, help="keeps what was found")
    asked = parser.parse_args()
    searched_on = subject(asked)
    known: dict[Architecture, np.ndarray] = {}  # losses of winners, each judged once
    found: dict[str, list[np.ndarray]] = {name: [] for name in asked.strategies}
    with Progress().stage("searches", asked.seeds * len(asked.strategies)) as advance:
        for done, (seed, name) in enumerate(
            (seed, name) for seed in range(asked.seeds) for name in asked.strategies
        ):
            row = kept(asked, name, seed) or searched(searched_on, name, seed, asked)
            best = searched_on.problem.space.architecture(row["winner"])
            if best not in known:
                known[best] = searched_on.losses(best)
            found[name].append(known[best])
            advance(done + 1)
    show(found)


def searched(on: Subject, name: str, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One search; what came of it is kept."""
    begun = time.process_time()
    study = Study(replace(on.problem, seed=seed), strategies.load_strategy(name))
    networks = study.run(asked.trials, on.evaluator())
    most = max(each.count for each in networks)
    best = min((e for e in networks if e.count == most), key=lambda each: each.values)
    row = {
        "winner": dict(best.architecture),
        "loss": best.values[0],
        "networks": len(networks),
        "spent": study.spent,
        "cpu_s": time.process_time() - begun,
    }
    if asked.out is not None:
        asked.out.mkdir(parents=True, exist_ok=True)
        document.write_atomically(file_of(asked, name, seed), json.dumps(row))
    return row


def kept(asked: argparse.Namespace, name: str, seed: int) -> dict[str, Any] | None:
    if asked.out is None or not file_of(asked, name, seed).exists():
        return None
    row: dict[str, Any] = json.loads(file_of(asked, name, seed).read_text())
    return row


def file_of(asked: argparse.Namespace, name: str, seed: int) -> Path:
    """Where a search's result is kept; its name says how it was searched."""
    told = ("space", "device", "latency_ms", "trials", "screening_clips")
    how = [str(getattr(asked, each)) for each in (*told, "validation_clips")]
    weights = sha256(asked.supernet.read_bytes()).hexdigest()
    digest = sha256(" ".join([*how, weights]).encode()).hexdigest()[:12]
    file: Path = asked.out / f"{asked.supernet.stem}-{digest}-{name}-{seed}.json"
    return file


def show(found: dict[str, list[np.ndarray]]) -> None:
    """Losses of the winners, and who beats whom how often."""
    first, *_ = found
    own = np.array([losses.mean() for losses in found[first]])
    rows = []
    for name, every in found.items():
        means = np.array([losses.mean() for losses in every])
        error = means.std(ddof=1) / len(means) ** 0.5 if len(means) > 1 else float("nan")
        lower = int((own < means).sum())
        equal = int((own == means).sum())
        rows.append(
            (
                name,
                f"{means.mean():.4f} +- {error:.4f}",
                f"{means.min():.4f} to {means.max():.4f}",
                "" if name == first else f"{lower} of {len(means)}, equal {equal}",
            )
        )
    columns = ["strategy", ">loss of the winner", ">least to most", f">{first} is lower in"]
    print_table(columns, rows)
    print(f"judged on {len(found[first][0])} clips that no search saw, the same for all")


if __name__ == "__main__":
    main()
