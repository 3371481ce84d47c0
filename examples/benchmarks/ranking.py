"""Does the supernet rank architectures as training each of them alone does?

    python examples/benchmarks/ranking.py                     the tables that the project keeps
    python examples/benchmarks/ranking.py --out DIR           everything anew: hours, resumable
    python examples/benchmarks/ranking.py --out DIR --space package.module:SPACE --data FOLDER

Architectures are drawn evenly over the latency range and over operators. Each is trained alone from
one frozen image backbone, by two seeds; then a supernet by each recipe, by two seeds too. All are
judged on the same validation clips. What is printed: how well each supernet's order agrees with the
order of the networks trained alone, beside how well those agree with themselves from one seed to
the other, and beside what trivial scores reach (counted blocks, FLOPs, parameters, latency).

Beside all that, what a user gets: supernets by the default plan of `nas train`, short and long,
with the image U-Net trained along or frozen; the same networks trained alone as the winner of a
search is, whole; and each of them trained on for a while from a supernet's weights.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path

import pandas as pd
import torch
from ranking_table import (
    KEPT,
    KEPT_BACKBONE,
    KEPT_SPACE,
    KEPT_WHOLE,
    printed,
    table,
    whole_table,
)
from ranking_whole import (
    Finalist,
    Setting,
    WholeExam,
    judge_default,
    judge_finalist,
    judge_whole,
    train_image_whole,
)
from ranking_work import (
    Exam,
    draw,
    judge_alone,
    judge_shared,
    measure,
    train_alone,
    train_image,
    train_shared,
)

from nas.progress import Progress
from supernet.training.recipes import RECIPES

FROZEN_STAGES = ("draw", "image", "alone", "judge", "supernets", "score", "latency")
WHOLE_STAGES = ("whole-image", "whole", "defaults", "finalists")
STAGES = (*FROZEN_STAGES, *WHOLE_STAGES, "table")
SEEDS = (0, 1)
Job = tuple[Path, Callable[..., None], tuple[object, ...]]  # what it leaves, what does it


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="train, and leave everything in this folder")
    parser.add_argument("--space", default=KEPT_SPACE)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--architectures", type=int, default=64, help="of another space")
    parser.add_argument("--batch-clips", type=int, default=6)
    parser.add_argument("--image-passes", type=int, default=1000)
    parser.add_argument("--passes", type=int, default=400, help="of each network alone")
    parser.add_argument("--supernet-passes", type=int, default=8000)
    parser.add_argument("--validation-clips", type=int, default=1000)
    parser.add_argument("--scored-clips", type=int, default=500, help="of a supernet's path")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--default-image-passes", type=int, default=1800)
    parser.add_argument("--default-passes", type=int, nargs="+", default=(700, 2000, 6000))
    parser.add_argument("--whole-passes", type=int, nargs="+", default=(160, 450))
    parser.add_argument("--finalist-passes", type=int, nargs="+", default=(60,))
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if asked.out is None:
        print(printed(pd.read_csv(KEPT).merge(pd.read_csv(KEPT_WHOLE), on="id")))
        return
    begin(asked.out, asked)
    exam = Exam(
        folder=asked.out,
        space_name=asked.space,
        data=asked.data,
        clips=asked.batch_clips,
        image_passes=asked.image_passes,
        alone_passes=asked.passes,
        supernet_passes=asked.supernet_passes,
        judged_clips=asked.validation_clips,
        scored_clips=asked.scored_clips,
    )
    if "draw" in asked.stages and not exam.drawn.exists():
        if asked.space == KEPT_SPACE:
            # The exam that was frozen before any supernet: architectures, and the U-Net they share.
            shutil.copy(KEPT, exam.drawn)
            shutil.copy(KEPT_BACKBONE, exam.backbone)
        else:
            draw(exam, asked.architectures, seed=0)
    if "image" in asked.stages and not exam.backbone.exists():
        train_image(exam)
    whole = WholeExam(
        exam,
        image_passes=asked.default_image_passes,
        passes=asked.whole_passes,
        judged_clips=min(256, asked.validation_clips),
        scored_clips=min(128, asked.scored_clips),
    )
    settings = settings_of(asked.default_passes)
    finalists = [Finalist(settings[0], passes) for passes in asked.finalist_passes]
    for stage in asked.stages:
        if stage in WHOLE_STAGES:
            wanted = whole_jobs(stage, whole, settings, finalists)
        else:
            wanted = jobs(stage, exam, asked.recipes)
        run(stage, wanted, asked.processes)
    if "latency" in asked.stages and not exam.latency.exists():
        measure(exam)
    if "table" in asked.stages:
        found = table(exam, asked.recipes, SEEDS)
        found.to_csv(exam.folder / "table.csv", index=False)
        beside = whole_table(whole, settings, finalists, SEEDS)
        beside.to_csv(exam.folder / "table.whole.csv", index=False)
        print(printed(found.merge(beside, on="id")))


def begin(out: Path, asked: argparse.Namespace) -> None:
    """Make the folder of a benchmark, or go on with it: never with other settings."""
    out.mkdir(parents=True, exist_ok=True)
    wanted = {n: v for n, v in vars(asked).items() if n not in {"out", "processes", "stages"}}
    file = out / "settings.json"
    if file.exists() and json.loads(file.read_text()) != json.loads(json.dumps(wanted)):
        sys.exit(f"{out}: was begun with other settings, {file.read_text()}; choose another --out")
    file.write_text(json.dumps(wanted))


def kept(file: Path, printed: Callable[[pd.DataFrame], str]) -> str:
    """A table that the project keeps, for people."""
    if not file.exists():
        return f"no table is kept yet ({file.name}); make one with --out DIR"
    return printed(pd.read_csv(file))


def jobs(stage: str, exam: Exam, recipes: Sequence[str]) -> list[Job]:
    """What a stage has to do, one seed after the other."""
    indices = range(len(exam.architectures()))
    alone = [(index, seed) for seed in SEEDS for index in indices]
    shared = [(recipe, seed) for seed in SEEDS for recipe in recipes]
    if stage == "alone":
        return [(exam.network(*each), train_alone, (exam, *each)) for each in alone]
    if stage == "judge":
        return [(exam.losses(exam.network(*e)), judge_alone, (exam, *e)) for e in alone]
    if stage == "supernets":
        return [(exam.supernet(*each), train_shared, (exam, *each)) for each in shared]
    if stage == "score":
        return [(exam.losses(exam.supernet(*e)), judge_shared, (exam, *e)) for e in shared]
    return []


def settings_of(passes: Sequence[int]) -> list[Setting]:
    """The default plan and its rivals."""
    return [Setting(count, frozen=frozen) for count in passes for frozen in (False, True)]


def whole_jobs(
    stage: str, whole: WholeExam, settings: Sequence[Setting], finalists: Sequence[Finalist]
) -> list[Job]:
    """What a stage of the default setting has to do."""
    if stage == "whole-image":
        return [(whole.backbone, train_image_whole, (whole,))]
    indices = range(len(whole.exam.architectures()))
    if stage == "whole":
        alone = [(p, index, seed) for seed in SEEDS for p in whole.passes for index in indices]
        return [(whole.network(*each), judge_whole, (whole, *each)) for each in alone]
    if stage == "defaults":
        trained = [(setting, seed) for seed in SEEDS for setting in settings]
        return [(whole.losses(*each), judge_default, (whole, *each)) for each in trained]
    last = [(finalist, index, 0) for finalist in finalists for index in indices]
    return [(whole.finalist(*each), judge_finalist, (whole, *each)) for each in last]


@cache
def pool(processes: int) -> ProcessPoolExecutor:
    """The processes of all stages: each takes seconds to begin."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,))


def run(stage: str, wanted: Sequence[Job], processes: int) -> None:
    """Do what has left no file yet, one thread a process."""
    missing = [job for job in wanted if not job[0].exists()]
    if not missing:
        return
    with Progress().stage(stage, len(wanted)) as advance:
        advance(len(wanted) - len(missing))
        begun = [pool(processes).submit(work, *arguments) for _, work, arguments in missing]
        for count, done in enumerate(as_completed(begun), 1):
            done.result()
            advance(len(wanted) - len(missing) + count)


if __name__ == "__main__":
    main()
