"""What common clips, noise and times are worth, and how few clips tell networks apart.

    python examples/benchmarks/paired_evaluation.py [SUPERNET.safetensors] [--space NAME]
        [--networks 24] [--clips 1000] [--races 20] [--seed-spread LOSS] [--seed 0]

Random networks of a supernet sit one exam. From their losses follows the standard error of the
difference of two networks if each had drawn its own clips, noise and random times; if they shared
them; and if the times are spread evenly besides. Then races between 16 of the networks. Without a
file a supernet is trained for a few steps. `--seed-spread` is the standard deviation of the loss
over trainings with other seeds, where it is known: an error far below it is small enough.
"""

import argparse
import itertools
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nas.progress import Progress
from nas.training.training import trained_supernet
from search_spaces import Architecture, TemporalSpace, load
from supernet import Supernet, TrainingPlan, Validation, load_supernet
from supernet.data.loading import DIGITS, load_clips
from supernet.evaluation.racing import FIRST_CLIPS, tell_apart
from supernet.training.recipes import uniform

TARGET = 8
CANDIDATES = 16
STEPS = 120  # of each training, where no supernet is given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("supernet", type=Path, nargs="?")
    parser.add_argument("--space", default="moving_digits")
    parser.add_argument("--data", default=DIGITS)
    parser.add_argument("--networks", type=int, default=24)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--races", type=int, default=20)
    parser.add_argument("--seed-spread", type=float)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    space = load(arguments.space)
    assert isinstance(space, TemporalSpace)
    supernet = opened(arguments.supernet, space)
    clips = load_clips(arguments.data, space.unet, "validation")
    exam = Validation(clips, arguments.clips, arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    networks = [space.sample(rng) for _ in range(arguments.networks)]
    losses = evaluated(supernet, networks, exam)
    median = errors(losses, exam, arguments.seed_spread)
    races(losses, exam, arguments.races, rng)
    print(f"target, a median ratio of {TARGET}: {'met' if median >= TARGET else 'NOT MET'}")


def opened(file: Path | None, space: TemporalSpace) -> Supernet:
    """The given supernet, or one that was trained for a few steps."""
    if file is not None:
        return load_supernet(file, space)
    plan = TrainingPlan(image_steps=STEPS, video_steps=STEPS)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.safetensors" for name in ("backbone", "supernet")]
        return trained_supernet(space, plan, uniform, *files, Progress(2))


def evaluated(supernet: Supernet, networks: list[Architecture], exam: Validation) -> list[Tensor]:
    """The losses of each network on all clips of the exam."""
    losses = []
    with Progress().stage("evaluate", len(networks)) as advance:
        for network in networks:
            losses.append(exam.losses(supernet.path(network)))
            advance(len(losses))
    return losses


def errors(losses: list[Tensor], exam: Validation, seed_spread: float | None) -> float:
    """Standard errors of differences, four ways; the median ratio of the worst to the best."""
    found: dict[str, list[float]] = {
        "own clips, random times": [],
        "own clips, spread times": [],
        "common clips, random times": [],
        "common clips, spread times": [],
    }
    count = exam.clips
    for first, second in itertools.combinations(losses, 2):
        # The exam's times follow the distribution that random ones would be drawn from.
        own = (first.var() + second.var()) / count
        common = (first - second).var() / count
        alone = exam.estimate(first).error ** 2 + exam.estimate(second).error ** 2
        both = exam.estimate(first - second).error ** 2
        for name, square in zip(found, (own, alone, common, both), strict=True):
            found[name].append(float(square) ** 0.5)
    base = found["own clips, random times"]
    print(f"{count} clips, {len(base)} pairs of {len(losses)} networks")
    print(
        f"{'standard error of a difference':36}{'median':>10}{'times smaller':>16}{'90% over':>10}"
    )
    for name, each in found.items():
        ratios = [b / e for b, e in zip(base, each, strict=True)]
        smaller, least = statistics.median(ratios), float(np.quantile(ratios, 0.1))
        print(f"{name:36}{statistics.median(each):10.6f}{smaller:16.1f}{least:10.1f}")
    means = [float(each.mean()) for each in losses]
    print(f"losses {min(means):.4f} to {max(means):.4f}", end="; ")
    print(f"one network's own standard error {exam.estimate(losses[0]).error:.5f}")
    if seed_spread is not None:
        share = statistics.median(found["common clips, spread times"]) / seed_spread
        print(f"the error of a difference is {share:.2f} of the spread between seeds")
    return statistics.median(ratios)


@dataclass(frozen=True)
class Recorded(Validation):
    """An exam whose papers are written: races cost nothing."""

    papers: list[Tensor] = field(default_factory=list)

    def losses(self, denoiser: object, first: int = 0, stop: int | None = None) -> Tensor:
        assert isinstance(denoiser, int)
        return self.papers[denoiser][first:stop]


def races(losses: list[Tensor], exam: Validation, count: int, rng: np.random.Generator) -> None:
    """Races between random candidates, against the same number of clips for all of them."""
    used, agreed, decided, lost = [], 0, 0, []
    recorded = Recorded(exam.source, exam.clips, exam.seed, papers=losses)
    candidates = min(CANDIDATES, len(losses))
    for _ in range(count):
        chosen = rng.choice(len(losses), candidates, replace=False).tolist()
        verdict = tell_apart({index: index for index in chosen}, recorded, exam.clips)
        best = min(chosen, key=lambda index: float(losses[index].mean()))
        used.append(verdict.clips)
        agreed += verdict.best == best
        decided += verdict.decided
        lost.append(float(losses[verdict.best].mean() - losses[best].mean()))
    fixed = candidates * exam.clips
    share = statistics.mean(used) / fixed
    print(f"{count} races of {candidates} networks, at most {exam.clips} clips each:")
    print(f"  clips in all: {statistics.mean(used):.0f} on average, {share:.0%} of {fixed};")
    print(f"  at least {FIRST_CLIPS * candidates}, most {max(used)}; decided {decided}")
    print(f"  the same winner as on all clips: {agreed}; lost at most {max(lost):.6f} of loss")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
