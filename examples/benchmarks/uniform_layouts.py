"""Does a searched network beat the same operator in every slot, at equal latency?

    python examples/benchmarks/uniform_layouts.py             the tables that the project keeps
    python examples/benchmarks/uniform_layouts.py --out DIR --space moving_digits
    python examples/benchmarks/uniform_layouts.py --out DIR --space snapgen_v --data LATENTS

One supernet is trained. Of every operator the best uniform layout is taken (of all its sizes, the
one with the lowest loss as a path of the supernet), and for its latency as the budget a network is
searched. All of them are cut out of the supernet with their weights and trained on alone, by three
seeds, beside the same frozen image U-Net, and judged on test clips, which nothing was chosen on. A
space that has a twin is trained as its twin; latency is that of the space itself. Everything is
resumable.
"""

import argparse
import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ranking import Job, begin, kept, run
from ranking_work import Exam, judged, keep, train_blocks, train_image, train_shared
from safetensors.torch import load_file

from latency.predictor.shipped import load_device
from nas import strategies
from nas.costs.block_costs import BlockCosts, layout
from nas.costs.limits import Budget, Limits
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from nas.evaluators.serial import Serial
from nas.progress import Progress
from nas.run.results import found
from nas.study.study import Study
from nas.temporal import finalists
from nas.temporal.quality import Quality
from search_spaces import Architecture
from search_spaces.shipped.loading import load_temporal, load_twin, twin_of
from supernet import Validation, load_supernet
from supernet.data.loading import load_clips

TABLES = Path(__file__).parents[1] / "tables"
KEPT = {name: TABLES / f"uniform_layouts.{name}.csv" for name in ("moving_digits", "snapgen_v")}
RECIPE = "fair"


@dataclass(frozen=True)
class Asked:
    """What is compared."""

    exam: Exam
    space: str
    device: str
    trials: int
    search_clips: int
    finalist_clips: int
    seeds: int

    @property
    def pairs(self) -> Path:
        return self.exam.folder / "pairs.json"

    def limits(self, latency: str | None) -> Limits:
        space = load_temporal(self.space)
        return resolve(Budget(latency), BlockCosts(SpaceCosts(space), load_device(self.device)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="train, and leave everything in this folder")
    parser.add_argument("--space", default="moving_digits")
    parser.add_argument("--device", default="iphone-16-pro-max")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--batch-clips", type=int, default=6)
    parser.add_argument("--image-passes", type=int, default=1000)
    parser.add_argument("--supernet-passes", type=int, default=6000)
    parser.add_argument("--passes", type=int, default=300, help="of each network alone")
    parser.add_argument("--trials", type=int, default=60, help="of each search")
    parser.add_argument("--search-clips", type=int, default=128)
    parser.add_argument("--finalist-clips", type=int, default=512)
    parser.add_argument("--test-clips", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if given.out is None:
        for name, file in KEPT.items():
            print(f"{name}:\n{kept(file, printed)}\n")
        return
    begin(given.out, given)
    exam = Exam(
        folder=given.out,
        space_name=twin_of(given.space) or given.space,
        data=given.data,
        clips=given.batch_clips,
        image_passes=given.image_passes,
        alone_passes=given.passes,
        supernet_passes=given.supernet_passes,
        judged_clips=given.test_clips,
        scored_clips=given.search_clips,
    )
    asked = Asked(
        exam,
        given.space,
        given.device,
        given.trials,
        given.search_clips,
        given.finalist_clips,
        given.seeds,
    )
    if not exam.backbone.exists():
        train_image(exam)
    supernet = exam.supernet(RECIPE, 0)
    run("supernet", [(supernet, train_shared, (exam, RECIPE, 0))], given.processes)
    if not asked.pairs.exists():
        choose(asked)
    indices = range(len(exam.architectures()))
    every = [(index, seed) for seed in range(given.seeds) for index in indices]
    trainings: list[Job] = [(exam.network(*each), train_on, (exam, *each)) for each in every]
    run("train each on", trainings, given.processes)
    verdicts: list[Job] = [
        (exam.losses(exam.network(*each)), judge, (exam, *each)) for each in every
    ]
    run("judge", verdicts, given.processes)
    rows = table(asked)
    rows.to_csv(given.out / "table.csv", index=False)
    print(printed(rows))


def choose(asked: Asked) -> None:
    """The best uniform layout of every operator, and what a search finds within its latency."""
    exam, free = asked.exam, asked.limits(None)
    space = free.costs.space
    if exam.space.choices != space.choices:
        load_twin(space, exam.space_name)  # says why
    supernet = load_supernet(exam.supernet(RECIPE, 0), exam.space)
    data = load_clips(exam.data, exam.space.unet, "validation")
    quality = Quality(supernet, Validation(data, asked.search_clips))
    blocks = [block for block in space.blocks() if block.operator.module]
    uniform: dict[str, tuple[float, Architecture]] = {}
    with Progress().stage("uniform layouts", len(blocks)) as advance:
        for done, block in enumerate(blocks, 1):
            architecture = space.uniform(block)
            scored = (quality.loss(architecture), architecture)
            uniform[block.operator.name] = min(
                uniform.get(block.operator.name, scored), scored, key=lambda each: each[0]
            )
            advance(done)
    networks: list[Architecture] = []
    pairs: dict[str, tuple[int, int]] = {}
    evaluator = Serial(quality)
    for name, (_, architecture) in uniform.items():
        limits = asked.limits(str(free.pipeline_ms(architecture) * (1 + 1e-9)))
        study = Study(limits.problem(), strategies.cost_aware)
        with Progress().stage(f"search beside {name}", asked.trials) as advance:
            count = iter(range(1, asked.trials + 1))
            trials = study.run(asked.trials, evaluator, lambda _: advance(next(count)))  # noqa: B023
        evaluated = found(trials, study.problem, limits)
        entrants = finalists.entrants(4, evaluated)
        paths = {each.architecture: supernet.path(each.architecture) for each in entrants}
        best = finalists.race(paths, asked.finalist_clips, data, lambda _: None).best
        for each in (architecture, best):
            if each not in networks:
                networks.append(each)
        pairs[name] = networks.index(architecture), networks.index(best)
    names = [choice.name for choice in space.choices]
    with exam.drawn.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *names])
        for index, each in enumerate(networks):
            writer.writerow([index, *(each.get(name, "") for name in names)])
    asked.pairs.write_text(json.dumps(pairs))


def train_on(exam: Exam, index: int, seed: int) -> None:
    """A network with the weights that the supernet left it, on its own; the U-Net stays frozen."""
    torch.manual_seed(seed)
    supernet = load_supernet(exam.supernet(RECIPE, 0), exam.space)
    network = supernet.extract(exam.architectures()[index]).train()
    del supernet
    network.backbone.requires_grad_(False)
    train_blocks(exam, network, seed, exam.network(index, seed))


def judge(exam: Exam, index: int, seed: int) -> None:
    """The loss of each test clip under a network that was trained on."""
    supernet = load_supernet(exam.supernet(RECIPE, 0), exam.space)
    network = supernet.extract(exam.architectures()[index])
    path = exam.network(index, seed)
    network.temporal.load_state_dict(load_file(path))
    keep(exam.losses(path), judged(exam, network.eval(), exam.judged_clips, "test"))


def table(asked: Asked) -> pd.DataFrame:
    """A row an operator: its uniform layout beside the searched network."""
    exam, free = asked.exam, asked.limits(None)
    space, architectures = free.costs.space, exam.architectures()
    losses = np.array(
        [
            [np.load(exam.losses(exam.network(i, s))).mean() for s in range(asked.seeds)]
            for i in range(len(architectures))
        ]
    )
    rows = []
    for name, (uniform, searched) in json.loads(asked.pairs.read_text()).items():
        pair = [space.architecture(dict(architectures[index])) for index in (uniform, searched)]
        rows.append(
            {
                "operator": name,
                "uniform": str(space.block(pair[0], space.slots[0])),
                "searched": " ".join(f"{s}={b}" for s, b in layout(space, pair[1]).items()),
                "latency_ms": free.pipeline_ms(pair[0]),
                "searched_latency_ms": free.pipeline_ms(pair[1]),
                **{f"uniform{s}_loss": losses[uniform, s] for s in range(asked.seeds)},
                **{f"searched{s}_loss": losses[searched, s] for s in range(asked.seeds)},
            }
        )
    return pd.DataFrame(rows).round(6)


def printed(rows: pd.DataFrame) -> str:
    """Mean and standard error over seeds; differences are of the same seed."""
    lines = [
        f"{'operator':<20}{'ms':>9}{'uniform':>18}{'searched, ms':>14}{'loss':>18}{'better by':>20}"
    ]
    for _, row in rows.iterrows():
        uniform, searched = (
            row.filter(regex=f"^{kind}[0-9]+_loss$").to_numpy(dtype=float)
            for kind in ("uniform", "searched")
        )
        lines.append(
            f"{row['operator']:<20}{row['latency_ms']:>9.1f}{_told(uniform):>18}"
            f"{row['searched_latency_ms']:>14.1f}{_told(searched):>18}"
            f"{_told(uniform - searched):>20}"
        )
    return "\n".join(lines)


def _told(values: np.ndarray) -> str:
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{values.mean():.4f} ± {error:.4f}"


if __name__ == "__main__":
    main()
