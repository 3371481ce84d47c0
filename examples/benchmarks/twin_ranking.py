"""How far a ranking carries from one width of the twin to another: measured, not assumed.

    python examples/benchmarks/twin_ranking.py                the table that the project keeps
    python examples/benchmarks/twin_ranking.py --out DIR      everything anew, resumable

Quality is searched on a narrow twin, because nobody trains the 0.6B network's supernet on one
machine; what is known of the full width is what two narrow widths say of each other. A supernet is
trained at either width, at the narrower one by a second seed, too. The same architectures are
scored by each, on the same clips. Printed: how well their orders agree between the widths, beside
how well they agree between the two seeds of one width, which is all that a supernet can promise.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from ranking import Job, begin, kept, run
from ranking_work import Exam, keep, train_image, train_shared

from nas.benchmark.ranking import Ranking
from search_spaces import Architecture
from search_spaces.shipped.loading import load_temporal
from supernet import Validation, load_supernet
from supernet.data.loading import load_clips

KEPT = Path(__file__).parents[1] / "tables" / "twin_ranking.csv"
RECIPE = "fair"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="train, and leave everything in this folder")
    parser.add_argument("--space", default="snapgen_v_mini(channels={})")
    parser.add_argument("--widths", type=int, nargs=2, default=(16, 32))
    parser.add_argument("--data", default="digits")
    parser.add_argument("--architectures", type=int, default=48)
    parser.add_argument("--batch-clips", type=int, default=4)
    parser.add_argument("--image-passes", type=int, default=500)
    parser.add_argument("--supernet-passes", type=int, default=1000)
    parser.add_argument("--clips", type=int, default=192)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if asked.out is None:
        print(kept(KEPT, printed))
        return
    begin(asked.out, asked)
    exams = {}
    for width in asked.widths:
        folder = asked.out / f"width-{width}"
        folder.mkdir(parents=True, exist_ok=True)
        exams[width] = Exam(
            folder=folder,
            space_name=asked.space.format(width),
            data=asked.data,
            clips=asked.batch_clips,
            image_passes=asked.image_passes,
            alone_passes=1,
            supernet_passes=asked.supernet_passes,
            judged_clips=asked.clips,
            scored_clips=asked.clips,
        )
    narrow, wide = asked.widths
    images: list[Job] = [(exam.backbone, train_image, (exam,)) for exam in exams.values()]
    run("image U-Nets", images, asked.processes)
    trained = [(narrow, 0), (narrow, 1), (wide, 0)]
    jobs: list[Job] = [
        (exams[w].supernet(RECIPE, seed), train_shared, (exams[w], RECIPE, seed))
        for w, seed in trained
    ]
    run("supernets", jobs, asked.processes)
    space = load_temporal(asked.space.format(narrow))
    rng = np.random.default_rng(0)
    architectures = [space.sample(rng) for _ in range(asked.architectures)]
    scores: list[Job] = [
        (
            exams[w].supernet(RECIPE, seed).with_suffix(".npy"),
            score,
            (exams[w], seed, architectures),
        )
        for w, seed in trained
    ]
    run("score", scores, asked.processes)
    rows = pd.DataFrame({"architecture": [str(each) for each in architectures]})
    for (width, seed), (file, _, _) in zip(trained, scores, strict=True):
        rows[f"width{width}_seed{seed}_loss"] = np.load(file).round(6)
    rows.to_csv(asked.out / "table.csv", index=False)
    print(printed(rows))


def score(exam: Exam, seed: int, architectures: list[Architecture]) -> None:
    """The loss of each architecture's path."""
    path = exam.supernet(RECIPE, seed)
    supernet = load_supernet(path, exam.space)
    exam_clips = Validation(load_clips(exam.data, exam.space.unet, "validation"), exam.scored_clips)
    space = exam.space
    losses = [
        float(exam_clips.losses(supernet.path(space.architecture(dict(each)))).mean())
        for each in architectures
    ]
    keep(exam.losses(path), np.array(losses))


def printed(rows: pd.DataFrame) -> str:
    """Kendall's tau with 90% bootstrap intervals, over all and over the better half."""
    first, again, wide = (rows[name].to_numpy() for name in rows.columns[1:4])
    names = [name.removesuffix("_loss").replace("_", ", ") for name in rows.columns[1:4]]
    lines = [f"{len(rows)} architectures{'':<22}{'tau':>24}{'better half':>26}{'spearman':>10}"]
    for label, known, guessed in (
        (f"{names[2]} by {names[0]}", wide, first),
        (f"{names[2]} by {names[1]}", wide, again),
        (f"{names[1]} by {names[0]}", again, first),
    ):
        found = Ranking(known).agreement([guessed])
        lines.append(
            f"{label:<38}{found.tau!s:>24}{found.tau_better_half!s:>26}{found.spearman:>10.3f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
