"""Few-shot latency with kinds of hardware left out: rank and bounds, device by device.

    python examples/benchmarks/few_shot_by_kind.py [--data ../shared/data] [--seeds 10]
        [--samples 10 20 50] [--tables nb201 fbnet] [--kinds development|test|all] [--skipping]

Of each device some networks are measured (at random, by seed) and others predicted: `alone`,
`borrowing` from all devices of other kinds of hardware (a GPU from no GPU), and on nb201 knowing
the `graph` of its cell, or `both`. A device's 90% bounds are meant to hold 85% to 95% in the mean
over seeds. How wide they are, and what is expected of dead edges, was chosen on the kinds of
hardware in DEVELOPMENT, and TEST judges it; but that noise below a percent is thought of, how
many errors the spread that a model states counts as, and how much more bounds are widened where
little was measured, when bounds of clean devices of TEST had been seen to hold too often: they are
no blind test of these. `--skipping` asks for devices as
they would be if they skipped dead edges: a network takes what it takes without its edges off every
path.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from few_shot_tables import KINDS, Data, Score, hardware

from latency import Sources

DEVELOPMENT = ("server CPU", "phone", "single-board computer")
TEST = ("desktop GPU", "ASIC", "FPGA")
TABLES = ("nb201", "fbnet")
JUDGED = 1500  # unseen networks that judge a fit, drawn with those measured
LOW, HIGH = 0.85, 0.95


@dataclass(frozen=True)
class Method:
    """What a fit is given beside measurements."""

    name: str
    borrows: bool
    graph: bool


METHODS = (
    Method("alone", borrows=False, graph=False),
    Method("borrowing", borrows=True, graph=False),
    Method("graph", borrows=False, graph=True),
    Method("both", borrows=True, graph=True),
)


def methods_of(data: Data) -> list[Method]:
    return [m for m in METHODS if not m.graph or data.on_graph is not None]


def score(
    data: Data, device: str, count: int, seeds: int, method: Method, lent: Sources | None
) -> Score:
    """The mean over seeds."""
    name = device.removesuffix("~")
    truth = data.latency_ms(name)
    if name != device:
        truth = truth[data.without_dead_edges]
    found = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(truth)).tolist()
        rows, unseen = order[:count], order[count : count + JUDGED]
        predicted = data.predict_rows(rows, truth, lent, graph=method.graph, unseen=unseen)
        found.append(astuple(Score.of(predicted, truth[unseen])))
    return Score(*np.mean(found, axis=0).tolist())


def by_device(
    data: Data, devices: Sequence[str], samples: Sequence[int], seeds: int
) -> Iterator[tuple[str, Method, int, Score]]:
    """(device, method, measurements, score), a kind of hardware after another."""
    for kind in dict.fromkeys(KINDS.values()):
        alike = [name for name in devices if KINDS[hardware(name)] == kind]
        others = [name for name in data.devices if KINDS[hardware(name)] != kind]
        for method in methods_of(data) if alike else ():
            lent = data.lend(others, graph=method.graph) if method.borrows else None
            for count in samples:
                for name in alike:
                    yield name, method, count, score(data, name, count, seeds, method, lent)


def report(
    data: Data, kinds: Sequence[str], samples: Sequence[int], seeds: int, *, skipping: bool
) -> None:
    names = [name for name in data.devices if KINDS[hardware(name)] in kinds]
    devices = [f"{name}~" for name in names] if skipping else names
    found = {(n, m.name, c): each for n, m, c, each in by_device(data, devices, samples, seeds)}
    methods = [method.name for method in methods_of(data)]
    for count in samples:
        print(f"\n{data.name}, {count} measurements, {seeds} seeds: coverage and Spearman")
        print(f"{'':16} {'kind':22}" + "".join(f"{method:17}" for method in methods))
        for name in devices:
            each = [found[name, method, count] for method in methods]
            scores = "".join(f"{s.coverage:5.3f} {s.spearman:5.3f}      " for s in each)
            print(f"{name:16} {KINDS[hardware(name)]:22}{scores}".rstrip())
        for method in methods:
            print(f"{method:10}{_summary([found[name, method, count] for name in devices])}")


def _summary(scores: Sequence[Score]) -> str:
    held = [each.coverage for each in scores]
    inside = sum(LOW <= share <= HIGH for share in held)
    spearman, _, coverage, interval, in_logs = np.mean([astuple(s) for s in scores], axis=0)
    return (
        f"{inside} of {len(held)} devices within {LOW:.0%} to {HIGH:.0%}, {min(held):.3f} to "
        f"{max(held):.3f}, mean {coverage:.3f}; Spearman {spearman:.4f}; interval score "
        f"{interval:.3f}, of logarithms {in_logs:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--samples", nargs="+", type=int, default=[10, 20, 50])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--kinds", choices=("development", "test", "all"), default="all")
    parser.add_argument("--skipping", action="store_true", help="nb201 as if dead edges cost 0")
    asked = parser.parse_args()
    chosen = {"development": DEVELOPMENT, "test": TEST, "all": DEVELOPMENT + TEST}[asked.kinds]
    for name in asked.tables:
        path = asked.data / f"{name}.csv.gz"
        data = Data(name, path)
        if not path.exists():
            print(f"{path}: not there, so nothing is benchmarked on it")
        elif not asked.skipping or data.on_graph is not None:
            report(data, chosen, asked.samples, asked.seeds, skipping=asked.skipping)


if __name__ == "__main__":
    main()
