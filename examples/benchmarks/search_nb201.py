"""How much of the true front do strategies find on NAS-Bench-201, latency being known?

    python examples/benchmarks/search_nb201.py [--strategies cost-aware random nsga2 tpe gp]
        [--datasets cifar100 cifar10] [--devices pixel3 raspi4 eyeriss fpga] [--seeds 15]
        [--trials 500] [--workers 1] [--data ../shared/data] [--out FOLDER]
        [--goal front] [--reference wanted] [--space examples/nas_bench_201/cell.json]

Test error against latency, for each device. By default the box that is judged ends at 1.1 times the
latency of the most accurate network and at nine tenths of its accuracy, and no strategy is told;
--goal region tells them; --reference corner judges all of the front. Printed: the share of
the true front's hypervolume after some evaluations, the mean over devices and seeds; below it from
the worst to the best set of five seeds (each a mean over devices), as a few seeds say little; and
the strategy's own CPU time a trial. With --out, results are kept, and what is there is not run
again. With --space and the cell's graph, strategies know which edges are off every path: the
table's 15,625 spellings are 9,445 networks, each with the values of its spelling without such
edges. They are judged by the same front and box, of which these networks hold as much as is said.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.benchmark import Summary, compared, of_table
from nas.benchmark.statistics import summary_of
from nas.cli.output import print_table
from nas.progress import Progress
from search_spaces import Table, load, read_table

Matrix = npt.NDArray[np.float64]
STRATEGIES = ("cost-aware", "random", "nsga2", "tpe")
DATASETS = ("cifar100", "cifar10")
DEVICES = ("pixel3", "raspi4", "eyeriss", "fpga")
COUNTS = (50, 100, 200, 500)
SET = 5  # seeds
SURE = 0.05


@dataclass(frozen=True)
class Asked:
    """What to run."""

    strategies: Sequence[str]
    devices: Sequence[str]
    seeds: int
    trials: int
    workers: int
    out: Path
    graph: Table | None  # the same, in a space that knows which spellings are one network
    goal: str
    reference: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    parser.add_argument("--devices", nargs="+", default=DEVICES)
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--goal", default="front", choices=("front", "region"))
    parser.add_argument("--reference", default="wanted", choices=("wanted", "front", "corner"))
    parser.add_argument("--space", help="of the table's cells, with its graph")
    given = parser.parse_args()
    path = given.data / "nb201.csv.gz"
    if not path.is_file():
        print(f"skipped: no public table at {path}; --data names the folder that holds it")
        return
    table = read_table(path)
    graph = read_table(path, load(given.space)) if given.space else None
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch)
        asked = Asked(
            given.strategies,
            given.devices,
            given.seeds,
            given.trials,
            given.workers,
            out,
            graph,
            given.goal,
            given.reference,
        )
        for dataset in given.datasets:
            curves, own_ms = found(table, dataset, asked)
            show(dataset, curves, own_ms, asked)


def found(table: Table, dataset: str, asked: Asked) -> tuple[dict[str, Matrix], dict[str, float]]:
    """Curves of each strategy (devices x seeds, evaluations), and its own time a trial."""
    curves: dict[str, list[Matrix]] = {name: [] for name in asked.strategies}
    own_ms: dict[str, list[float]] = {name: [] for name in asked.strategies}
    progress = Progress(len(asked.devices))
    for device in asked.devices:
        latency_ms = f"{device}_latency_ms"
        columns = [f"{dataset}_error_pct", latency_ms]
        goal = asked.goal
        benchmark = of_table(table, columns, [latency_ms], reference=asked.reference, goal=goal)
        if asked.graph is not None:
            box = benchmark.reference.tolist()
            benchmark = of_table(
                asked.graph, columns, [latency_ms], reference=box, front=table, goal=goal
            )
            held = benchmark.shares(benchmark.values[benchmark.feasible])[-1]
            print(f"{dataset}, {device}: without dead edges there is {held:.4f} of the front")
        runs = compared(
            benchmark,
            asked.strategies,
            asked.trials,
            range(asked.seeds),
            asked.out / f"{dataset}_{device}{_kind(asked)}.csv",
            workers=asked.workers,
            progress=progress,
        )
        for run in runs:
            shares = benchmark.shares(run.values)
            held = np.pad(shares, (0, asked.trials - len(shares)), mode="edge")
            curves[run.strategy].append(held)
            own_ms[run.strategy].append(run.own_ms)
    return (
        {name: np.stack(each) for name, each in curves.items()},
        {name: float(np.mean(each)) for name, each in own_ms.items()},
    )


def _kind(asked: Asked) -> str:
    """What of a file's name says how it was searched."""
    told = "_told" if asked.goal == "region" else ""
    return f"{'_graph' if asked.graph else ''}{told}"


def show(dataset: str, curves: dict[str, Matrix], own_ms: dict[str, float], asked: Asked) -> None:
    devices = len(asked.devices)
    summary = summary_of(curves, own_ms, COUNTS)
    shares = summary.standings[0].shares
    seeds = len(next(iter(curves.values()))) // devices
    rows = []
    for standing in summary.standings:
        mean = standing.curve.reshape(devices, seeds, -1).mean(axis=0)  # over devices
        sets = np.stack([each.mean(axis=0) for each in np.array_split(mean, max(1, seeds // SET))])
        cells = [
            f"{share.mean:.3f}" + f"\n{column.min():.3f}-{column.max():.3f}" * (len(column) > 1)
            for share in standing.shares
            for column in [sets[:, share.evaluations - 1]]
        ]
        rows.append(
            [standing.strategy, *cells, f"{standing.rank:.2f}", f"{own_ms[standing.strategy]:.2f}"]
        )
    box = f"the {asked.reference} box{', which is told' if asked.goal == 'region' else ''}"
    print(f"\nnb201, {dataset} error and latency, {box}: {devices} devices, {seeds} seeds")
    at = [f">at {share.evaluations}" for share in shares]
    print_table(["strategy", *at, ">rank", ">own ms a trial"], rows)
    print_differences(summary)
    sys.stdout.flush()


def print_differences(summary: Summary) -> None:
    if summary.friedman_p is not None:
        print(f"ranks differ with p = {summary.friedman_p:.1g} (Friedman, over devices and seeds)")
    for pair in summary.pairs:
        if pair.p >= SURE:
            print(f"{pair.better} and {pair.worse}: no sure difference (p = {pair.p:.2g})")


if __name__ == "__main__":
    main()
