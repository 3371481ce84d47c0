"""Strategies beside searches of other projects, on tables where the answer is known, in one run.

    pip install --constraint constraints.txt pymoo botorch smac
    python examples/benchmarks/search_peers.py [--strategies cost-aware random tpe nsga2 gp]
        [--peers pymoo-nsga2 pymoo-choices botorch-qlognehvi
            botorch-ehvi botorch-ehvi-wide smac]
        [--tables cifar100:pixel3 macro:0 fbnet:raspi4 ...] [--judge narrow whole winner]
        [--seeds 15] [--slow-seeds 5] [--trials 200] [--workers 1] [--data ../shared/data]
        [--out FOLDER]

Tables are described in `search_tables.py`, peers in `peers/__init__.py`; a peer whose package is
not there is left out. Three ways of judging: the narrow box near the best quality and the whole
front, by the share of the true front's hypervolume; and the winner inside a latency budget (the
quantile of .4), by its regret: how far its error, in percent points, is above the best. Means of
the seeds, and below them from the worst to the best set of five, where there are sets; the mean
rank on the seeds that all have; the strategy's own CPU time a trial. At the end, one summary a way
of judging: mean ranks over tables, and means over the tables of a family.

With --out, results are kept, a file a strategy, and what is there is not run again. Ours, and one's
own, run anew where their source has changed; a peer, Optuna's too, does where its file is removed.
--slow-seeds is of those that take half a minute to several a run (gp, BoTorch's, SMAC3).
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import peers
from peers import PEERS
from search_tables import JUDGINGS, Source, source_of

from nas.benchmark import Benchmark, Run, by_study, compared, summary
from nas.benchmark.picture import drawn
from nas.benchmark.statistics import COUNTS, Summary
from nas.cli.output import print_table
from nas.progress import Progress
from search_spaces import InputError
from search_spaces.files import document

Matrix = npt.NDArray[np.float64]
STRATEGIES = ("cost-aware", "random", "tpe", "nsga2", "gp")
OURS = ("cost-aware", "random", "exact")  # what the others are peers of; and everybody's own
OPTUNA = ("random", "tpe", "nsga2", "gp")  # kept as peers are, whatever changes in ours
SLOW = ("gp", "botorch-qlognehvi", "botorch-ehvi", "botorch-ehvi-wide", "smac")
DEVICES = ("pixel3", "raspi4", "eyeriss", "fpga")
TABLES = (
    *(f"{dataset}:{device}" for dataset in ("cifar100", "cifar10") for device in DEVICES),
    *(f"macro:{seed}" for seed in range(4)),
    *(f"fbnet:{device}" for device in DEVICES),
)
SET = 5  # seeds


@dataclass(frozen=True)
class Asked:
    """What to run."""

    names: Sequence[str]
    seeds: int
    slow_seeds: int
    trials: int
    workers: int
    out: Path


@dataclass(frozen=True)
class Judged:
    """One table, judged in one way.

    Args:
        source: the table.
        judging: the way.
        curves: of each strategy, (seeds, evaluations): shares, or regrets of winners.
        found: ranks and own times, on the seeds that all have.
    """

    source: Source
    judging: str
    curves: Mapping[str, Matrix]
    found: Summary

    @property
    def ranks(self) -> dict[str, float]:
        return {standing.strategy: standing.rank for standing in self.found.standings}

    @property
    def counts(self) -> list[int]:
        return [share.evaluations for share in self.found.standings[0].shares]

    def means(self, name: str) -> Matrix:
        """At each count, over seeds."""
        return np.asarray(self.curves[name][:, np.array(self.counts) - 1].mean(axis=0))


def main() -> None:
    given = _arguments()
    names = [*given.strategies, *_installed(given.peers)]
    sources = []
    for name in given.tables:
        found = source_of(name, given.data)
        if found is None:
            print(f"skipped: {name}: no public table in {given.data}; --data names its folder")
        else:
            sources.append(found)
    progress = Progress(len(sources) * len(given.judge) * len(names))
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch)
        slow_seeds = min(given.seeds, given.slow_seeds)
        asked = Asked(names, given.seeds, slow_seeds, given.trials, given.workers, out)
        all_judged = []
        for source in sources:
            for judging in given.judge:
                judged = judged_on(source, judging, asked, progress, keep=given.out is not None)
                if judged is not None:
                    show(judged)
                    all_judged.append(judged)
    for judging in given.judge:
        if found := [each for each in all_judged if each.judging == judging]:
            show_summary(judging, found)


def _arguments() -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strategies", nargs="*", default=STRATEGIES)
    parser.add_argument("--peers", nargs="*", default=tuple(PEERS), choices=tuple(PEERS))
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--judge", nargs="+", default=tuple(JUDGINGS), choices=tuple(JUDGINGS))
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--slow-seeds", type=int, default=SET, help=f"of {', '.join(SLOW)}")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _installed(names: Sequence[str]) -> list[str]:
    for name in names:
        if not PEERS[name].is_installed:
            package = PEERS[name].package
            print(
                f"skipped: {name}: {package} is not installed; "
                f"pip install --constraint constraints.txt {package}"
            )
    return [name for name in names if PEERS[name].is_installed]


def judged_on(
    source: Source, judging: str, asked: Asked, progress: Progress, *, keep: bool
) -> Judged | None:
    """Run what is missing, and judge all of it; None where nothing searches this table."""
    benchmark = JUDGINGS[judging](source)
    runs = {
        name: found
        for name in asked.names
        if (found := runs_of(name, benchmark, source, judging, asked, progress))
    }
    if not runs:
        return None
    curves = {
        name: np.stack([_curve(benchmark, run, asked.trials) for run in each])
        for name, each in runs.items()
    }
    common = min(map(len, runs.values()))
    shared = [run for each in runs.values() for run in each[:common]]
    found = summary(benchmark, shared, COUNTS)
    if keep:
        for kind, picture in drawn(benchmark, found, shared).items():
            path = asked.out / f"{source.file_name}_{judging}.{kind}"
            document.write_atomically(path, picture)
    return Judged(source, judging, curves, found)


def runs_of(
    name: str,
    benchmark: Benchmark,
    source: Source,
    judging: str,
    asked: Asked,
    progress: Progress,
) -> list[Run]:
    """The runs of a strategy, one a seed; none where it cannot search this table."""
    peer = PEERS.get(name)
    why_not = peer.why_not(benchmark.problem(0)) if peer else None
    if why_not:
        progress.skip(f"{source.name}, {judging}, {name}", why_not)
        return []
    file_name = f"{re.sub('[^a-z0-9-]', '_', name.lower())}.csv"
    progress.say(f"{source.name}, {judging}, {name}")
    return compared(
        benchmark,
        [name],
        asked.trials,
        range(asked.slow_seeds if name in SLOW else asked.seeds),
        asked.out / f"{source.file_name}_{told(judging)}" / file_name,
        workers=asked.workers,
        search=peers.search if peer or name in OPTUNA else by_study,
        progress=progress,
    )


def told(judging: str) -> str:
    """What strategies are told of a way of judging: where it is the same, so are their runs."""
    return "winner" if judging == "winner" else "front"


def _curve(benchmark: Benchmark, run: Run, trials: int) -> Matrix:
    """After each evaluation: the share; of one objective the regret."""
    values = np.asarray(run.values)
    one = len(benchmark.objectives) == 1
    found = benchmark.regrets(values) if one else benchmark.shares(values)
    return np.pad(found, (0, trials - len(found)), mode="edge")


def show(judged: Judged) -> None:
    rows = []
    for standing in judged.found.standings:
        curve = judged.curves[standing.strategy]
        sets = [each.mean(axis=0) for each in np.array_split(curve, max(1, len(curve) // SET))]
        cells = [
            f"{mean:.3f}" + (f"\n{min(column):.3f}-{max(column):.3f}" if len(sets) > 1 else "")
            for count, mean in zip(judged.counts, judged.means(standing.strategy), strict=True)
            for column in [[each[count - 1] for each in sets]]
        ]
        seeds = str(len(curve))
        rows.append(
            [standing.strategy, *cells, f"{standing.rank:.2f}", f"{standing.own_ms:.2f}", seeds]
        )
    print(f"\n{judged.source.name}, {judged.judging}: {_measure(judged.judging)}")
    at = [f">at {count}" for count in judged.counts]
    print_table(["strategy", *at, ">rank", ">own ms a trial", ">seeds"], rows)
    sys.stdout.flush()


def _measure(judging: str) -> str:
    if judging == "winner":
        return "regret of the best network inside the budget, percent points"
    return "share of the true front's hypervolume"


def show_summary(judging: str, all_judged: Sequence[Judged]) -> None:
    """Mean ranks over tables, and means over the tables of a family."""
    families = list(dict.fromkeys(each.source.family for each in all_judged))
    ranks: dict[str, list[float]] = {}
    for judged in all_judged:
        for name, rank in judged.ranks.items():
            ranks.setdefault(name, []).append(rank)
    by_rank = sorted(ranks, key=lambda name: np.mean(ranks[name]))
    found = {
        family: _of_family([each for each in all_judged if each.source.family == family])
        for family in families
    }
    counts = "/".join(map(str, all_judged[0].counts))
    print(f"\nsummary, {judging}: {_measure(judging)} after {counts}, {len(all_judged)} tables")
    print_table(
        ["strategy", ">mean rank", ">tables", *(f">{family}" for family in families)],
        [
            [
                name,
                f"{np.mean(ranks[name]):.2f}",
                len(ranks[name]),
                *(_spelled(found[family].get(name)) for family in families),
            ]
            for name in by_rank
        ],
    )
    others = [name for name in by_rank if name not in OURS and ":" not in name]
    if others:
        print(f"best peer by rank: {others[0]}")
        for family in families:
            there = {name: means for name, means in found[family].items() if name in others}
            if there:
                print(f"{family}, best peer at each: {_best(there, judging)}")


def _of_family(all_judged: Sequence[Judged]) -> dict[str, Matrix]:
    """The means of each strategy over tables; only of those that searched all of them."""
    names = set.intersection(*(set(judged.curves) for judged in all_judged))
    return {name: np.mean([judged.means(name) for judged in all_judged], axis=0) for name in names}


def _spelled(means: Matrix | None) -> str:
    return "-" if means is None else "/".join(f"{mean:.3f}" for mean in means)


def _best(found: Mapping[str, Matrix], judging: str) -> str:
    names, means = list(found), np.stack(list(found.values()))
    places = means.argmin(axis=0) if judging == "winner" else means.argmax(axis=0)
    return ", ".join(f"{means[row, at]:.3f} {names[row]}" for at, row in enumerate(places))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
