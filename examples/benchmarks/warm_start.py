"""How many evaluations does a search need that begins where another ended, on NAS-Bench-201?

    python examples/benchmarks/warm_start.py [--strategy cost-aware] [--seeds 15] [--trials 200]
        [--pairs pixel3:raspi4 ...] [--dataset cifar100] [--data ../shared/data]

A search of test error and latency on one device is over; the next one begins from it, and may take
half as many evaluations. Three kinds:

    other device     the same error, another device's latency
    other dataset    the error on the other of CIFAR-10 and CIFAR-100, and another device
    misleading       another device, and a study whose errors were shuffled: worth nothing

Printed: the share of the true front's hypervolume that a search from nothing (cold) has at its end,
which the warm one has after a few evaluations, and how many it needs for the cold one's last; the
mean over pairs of devices and seeds, and from the worst to the best set of five seeds. Both are
judged as examples/benchmarks/search_nb201.py does. The settings of the transfer were chosen on
pixel3:raspi4; that what misleads brings back balanced points, on the misleading studies of the two
pairs by default, so their last row is no blind test.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.benchmark import Benchmark, of_table
from nas.cli.output import print_table
from nas.evaluators.serial import Serial
from nas.problem.earlier import Earlier
from nas.strategies import load_strategy
from nas.study.study import Evaluated, Study
from search_spaces import Table, read_table

Curve = npt.NDArray[np.float64]
Made = Callable[[int], tuple[Earlier, ...]]
PAIRS = ("eyeriss:fpga", "raspi4:pixel3")
OTHER = {"cifar100": "cifar10", "cifar10": "cifar100"}
COUNTS = (10, 20, 50, 100)
SET = 5  # seeds
ANOTHER = 1000  # added to the seed of the study that is begun from


class Searches:
    """Studies on a table, each run once."""

    def __init__(self, table: Table, strategy: str, trials: int) -> None:
        self._table = table
        self._strategy = load_strategy(strategy)
        self._trials = trials

    @cache  # noqa: B019 (lives as long as the program)
    def benchmark(self, dataset: str, device: str) -> Benchmark:
        """Test error and latency of a device."""
        latency_ms = f"{device}_latency_ms"
        return of_table(self._table, [f"{dataset}_error_pct", latency_ms], [latency_ms])

    @cache  # noqa: B019
    def cold(self, dataset: str, device: str, seed: int) -> list[Evaluated]:
        """A search from nothing."""
        return self._run(dataset, device, seed, (), self._trials)

    def earlier(self, dataset: str, device: str, seed: int, *, shuffled: bool = False) -> Earlier:
        """A search as the next is told of it."""
        found = self.cold(dataset, device, ANOTHER + seed)
        errors = [each.values[0] for each in found]
        if shuffled:
            np.random.default_rng(seed).shuffle(errors)
        networks = tuple(each.architecture for each in found)
        return Earlier(f"{dataset} on {device}", networks, tuple(errors))

    def shares(self, dataset: str, device: str, seed: int, earlier: Sequence[Earlier]) -> Curve:
        """The share found after each evaluation, (trials,)."""
        found = (
            self._run(dataset, device, seed, tuple(earlier), self._trials // 2)
            if earlier
            else self.cold(dataset, device, seed)
        )
        values = np.array([each.values for each in found])
        return self.benchmark(dataset, device).shares(values)

    def _run(
        self, dataset: str, device: str, seed: int, earlier: tuple[Earlier, ...], trials: int
    ) -> list[Evaluated]:
        benchmark = self.benchmark(dataset, device)
        study = Study(replace(benchmark.problem(seed), earlier=earlier), self._strategy)
        return study.run(trials, Serial(benchmark.evaluate))


def main() -> None:
    """Run and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strategy", default="cost-aware")
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--pairs", nargs="+", default=PAIRS)
    parser.add_argument("--dataset", default="cifar100", choices=OTHER)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    path = given.data / "nb201.csv.gz"
    if not path.is_file():
        print(f"skipped: no public table at {path}; --data names the folder that holds it")
        return
    searches = Searches(read_table(path), given.strategy, given.trials)
    here, other = given.dataset, OTHER[given.dataset]

    def kinds(device: str) -> dict[str, Made]:
        return {
            "other device": lambda seed: (searches.earlier(here, device, seed),),
            "other dataset": lambda seed: (searches.earlier(other, device, seed),),
            "misleading": lambda seed: (searches.earlier(here, device, seed, shuffled=True),),
        }

    pairs = [pair.split(":") for pair in given.pairs]
    seeds = range(given.seeds)
    cold = np.array([[searches.shares(here, to, seed, ()) for seed in seeds] for _, to in pairs])
    rows = [row("cold", cold, cold)]
    for kind in kinds(""):
        warm = np.array(
            [
                [searches.shares(here, to, seed, kinds(begun)[kind](seed)) for seed in seeds]
                for begun, to in pairs
            ]
        )
        rows.append(row(kind, warm, cold))
    said = ", ".join(given.pairs)
    print(f"nb201, {here} error and latency, {given.strategy}; {given.seeds} seeds; {said}")
    at = [f">at {count}" for count in COUNTS if count <= given.trials // 2]
    print_table(["begins from", *at, f">needs, of {given.trials}", ">ratio"], rows)


def row(name: str, curves: Curve, cold: Curve) -> list[str]:
    """Shares, and what the cold search's end needs; curves are (pairs, seeds, trials)."""
    trials = cold.shape[-1]
    sets = np.array_split(np.arange(curves.shape[1]), max(1, curves.shape[1] // SET))
    means = np.stack([curves[:, each].mean(axis=(0, 1)) for each in sets])
    goals = [float(cold[:, each, -1].mean()) for each in sets]
    needs = [needed(mean, goal) for mean, goal in zip(means, goals, strict=True)]
    every = needed(curves.mean(axis=(0, 1)), float(cold[..., -1].mean()))
    cells = [
        f"{curves[..., count - 1].mean():.3f}\n"
        f"{means[:, count - 1].min():.3f}-{means[:, count - 1].max():.3f}"
        for count in COUNTS
        if count <= trials // 2
    ]
    least, most = min(needs), max(needs)
    return [
        name,
        *cells,
        f"{every:g}\n{least:g}-{most:g}",
        f"{every / trials:.2f}\n{least / trials:.2f}-{most / trials:.2f}",
    ]


def needed(curve: Curve, goal: float) -> float:
    """The evaluations after which a curve is at the goal; infinite where it never is."""
    reached = np.flatnonzero(curve >= goal)
    return float(reached[0] + 1) if len(reached) else np.inf


if __name__ == "__main__":
    main()
