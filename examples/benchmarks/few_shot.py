"""Few-shot latency on public tables, beside simple baselines.

    python examples/benchmarks/few_shot.py [--data ../shared/data] [--seeds 10] [--samples 10 20]
        [--devices test|all|NAME...]

For each of the test devices, some networks of the table are measured (at random, by seed; `chosen`:
those that `nas profile` would propose) and all others predicted. `borrowing` lends every device
of the table but the six test devices and any of the same hardware. The figures are means over
devices and seeds. Variances were set on the devices named in `TUNED_ON`, with test devices neither
judged nor lent; which families of features to try was decided after the test devices' figures of
early variants had been seen too, so those devices are no blind test of the features. `with graph`
knows which edges of nb201's cell are off every path (examples/nas_bench_201/cell.json), and learns
whether a device runs them; how likely that is beforehand was set on `TUNED_ON` alone.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from few_shot_baselines import (
    COVERAGE,
    Intervals,
    Matrix,
    Vector,
    flops_linear,
    gaussian_process,
    ridge,
)
from scipy.stats import spearmanr

import latency
from latency import EncodedPredictor, Measurement, Source, Sources
from search_spaces import Architecture, Table, counts, encode, load, read_table

TEST_DEVICES = {
    "nb201": ["titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss"],
    "fbnet": ["titan_rtx_64", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss"],
    "hat_xeon": [""],
}
TUNED_ON = {
    "nb201": "1080ti_256 2080ti_1 essential_ph_1 pixel3 samsung_s7 silver_4114 titanx_32",
    "fbnet": "1080ti_64 2080ti_1 essential_ph_1 gold_6240 pixel3 samsung_a50 samsung_s7 "
    "silver_4210r titanx_32",
}
GRAPHS = {"nb201": Path(__file__).parents[1] / "nas_bench_201" / "cell.json"}
QUANTISED = {"pixel2"}  # to 1 ms, so that a tenth of them are ties
POOL = 1500  # candidates that a choice of networks looks at
CEILING_ROWS = 9000


@dataclass(frozen=True)
class Data:
    """A public table."""

    name: str
    path: Path

    @cached_property
    def _table(self) -> Table:
        return read_table(self.path)

    @cached_property
    def architectures(self) -> list[Architecture]:
        return self._table.architectures

    @cached_property
    def workloads(self) -> list[latency.Workload]:
        numeric = {c.name for c in self._table.space.choices if not hasattr(c, "options")}
        return [latency.from_choices(str(a), list(a.items()), numeric) for a in self.architectures]

    @cached_property
    def on_graph(self) -> list[latency.Workload] | None:
        """The same networks, with what is off every path of the cell marked as such."""
        if self.name not in GRAPHS:
            return None
        space = load(str(GRAPHS[self.name]))
        return [
            latency.from_choices(str(a), list(a.items()), dead=space.dead(a))
            for a in self.architectures
        ]

    @cached_property
    def encoded(self) -> Matrix:
        return encode(self._table.space, self.architectures)

    @cached_property
    def features(self) -> Matrix:
        """What the baselines see: option counts, or the numbers of a numeric space."""
        counted = counts(self._table.space, self.architectures)
        return counted if counted.shape[1] else self.encoded

    def latency_ms(self, device: str) -> Vector:
        column = f"{device}_latency_ms" if device else "latency_ms"
        return self._table.metric(column).to_numpy()

    @cached_property
    def devices(self) -> list[str]:
        found = (str(c).removesuffix("latency_ms").rstrip("_") for c in self._table.metrics)
        return [name for name in found if "error" not in name]

    def lent_to(self, device: str) -> Sources | None:
        """Every device but the test devices and those of the same hardware."""
        names = [
            name
            for name in self.devices
            if name not in TEST_DEVICES[self.name]
            and name.split("_")[0] != device.split("_", maxsplit=1)[0]
        ]
        lent = [Source(name, self.workloads, list(self.latency_ms(name))) for name in names]
        return latency.learn_sources(lent) if lent else None

    def predict(self, rows: Sequence[int], truth: Vector, borrow: Sources | None) -> Intervals:
        """Our prediction for all networks from those of some rows."""
        seen = [Measurement(self.workloads[row], float(truth[row])) for row in rows]
        device = latency.calibrate(seen, self.name, borrow=borrow)
        return EncodedPredictor.of_choices(device, self._table.space).predict(self.encoded)

    def predict_on_graph(
        self, rows: Sequence[int], truth: Vector, borrow: Sources | None
    ) -> Intervals:
        """The same, knowing the cell's graph."""
        assert self.on_graph is not None
        seen = [Measurement(self.on_graph[row], float(truth[row])) for row in rows]
        device = latency.calibrate(seen, self.name, borrow=borrow)
        found = device.predict_all(self.on_graph)
        latency_ms, low_ms, high_ms = np.array(
            [[p.latency_ms, p.low_ms, p.high_ms] for p in found]
        ).T
        return latency_ms, low_ms, high_ms


def hardware(device: str) -> str:
    """`titan` of `titan_rtx_256`."""
    return device.partition("_")[0]


@dataclass(frozen=True)
class Score:
    """How a prediction of unseen networks did; the interval score is in units of the mean."""

    spearman: float
    within_10_pct: float
    coverage: float
    interval_score: float

    @staticmethod
    def of(found: Intervals, truth: Vector, unseen: npt.NDArray[np.bool_]) -> "Score":
        point, low, high = (values[unseen] for values in found)
        true = truth[unseen]
        outside = np.clip(low - true, 0, None) + np.clip(true - high, 0, None)
        score = (high - low) + 2 / (1 - COVERAGE) * outside
        return Score(
            float(spearmanr(point, true).statistic) if np.ptp(point) > 0 else 0.0,
            float((np.abs(point / np.maximum(true, 1e-9) - 1) < 0.1).mean()),
            float(((true >= low) & (true <= high)).mean()),
            float(score.mean() / true.mean()),
        )


def scores(
    data: Data, device: str, count: int, seeds: int, lent: Sources | None, methods: set[str]
) -> Iterator[tuple[str, Score]]:
    """(method, score) of each seed."""
    truth = data.latency_ms(device)
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(truth))
        rows = [int(row) for row in order[:count]]
        asked: dict[str, Callable[[], tuple[Sequence[int], Intervals]]] = {}
        if data.name == "nb201":
            asked["FLOPs-linear"] = lambda rows=rows: (
                rows,
                flops_linear(data.architectures, rows, truth),
            )
        asked |= {
            "ridge": lambda rows=rows: (rows, ridge(data.features, rows, truth)),
            "GP": lambda rows=rows: (rows, gaussian_process(data.features, rows, truth)),
            "ours": lambda rows=rows: (rows, data.predict(rows, truth, None)),
            "ours, chosen": lambda order=order: _chosen(data, order, count, truth, None),
        }
        if lent is not None:
            asked["ours, borrowing"] = lambda rows=rows: (rows, data.predict(rows, truth, lent))
            asked["ours, borrowing, chosen"] = lambda order=order: _chosen(
                data, order, count, truth, lent
            )
        if data.on_graph is not None:
            asked["ours, with graph"] = lambda rows=rows: (
                rows,
                data.predict_on_graph(rows, truth, None),
            )
            asked["ours, with graph, borrowing"] = lambda rows=rows: (
                rows,
                data.predict_on_graph(rows, truth, lent),
            )
        for method, ask in asked.items():
            if methods and method not in methods:
                continue
            seen, found = ask()
            unseen = np.ones(len(truth), dtype=bool)
            unseen[seen] = False
            yield method, Score.of(found, truth, unseen)


def _chosen(
    data: Data, order: npt.NDArray[np.intp], count: int, truth: Vector, lent: Sources | None
) -> tuple[Sequence[int], Intervals]:
    pool = [int(row) for row in order[:POOL]]
    picked = latency.worth_measuring([data.workloads[row] for row in pool], count, sources=lent)
    rows = [pool[index] for index in picked]
    return rows, data.predict(rows, truth, lent)


def ceiling(data: Data, device: str) -> float:
    """The share within 10% of a model fitted to 9,000 networks (or four fifths of the table)."""
    truth = data.latency_ms(device)
    order = np.random.default_rng(0).permutation(len(truth))
    count = min(CEILING_ROWS, len(truth) * 4 // 5)
    unseen = np.ones(len(truth), dtype=bool)
    unseen[order[:count]] = False
    found = data.predict([int(row) for row in order[:count]], truth, None)
    return Score.of(found, truth, unseen).within_10_pct


def report(
    data: Data, samples: Sequence[int], seeds: int, methods: set[str], named: Sequence[str]
) -> None:
    devices = _devices(data, named)
    lent = {device: data.lent_to(device) for device in devices}
    print(f"\n{data.name}: {len(devices)} device(s), {seeds} seeds; {len(data.workloads)} networks")
    print(f"{'':31}Spearman  within 10%  coverage  interval  |  by device: {' '.join(devices)}")
    for count in samples:
        found: dict[str, dict[str, list[Score]]] = {}
        for device in devices:
            for method, score in scores(data, device, count, seeds, lent[device], methods):
                found.setdefault(method, {}).setdefault(device, []).append(score)
        for method, by_device in found.items():
            print(f"{count:4}  {method:27}{_line(by_device)}")
    if methods:
        return
    shares = [ceiling(data, device) for device in devices]
    print(f"      fitted to {CEILING_ROWS} or 80%: within 10% {np.mean(shares):.3f}")


def _devices(data: Data, named: Sequence[str]) -> list[str]:
    if named == ["all"]:
        return data.devices
    return TEST_DEVICES[data.name] if named == ["test"] else list(named)


def _line(by_device: dict[str, list[Score]]) -> str:
    means = {
        device: np.mean([list(vars(score).values()) for score in found], axis=0)
        for device, found in by_device.items()
    }
    spearman, within, coverage, interval = np.mean(list(means.values()), axis=0)
    each = " ".join(f"{values[0]:.3f}" for values in means.values())
    clear = [values[0] for device, values in means.items() if device not in QUANTISED]
    rest = f" ({np.mean(clear):.3f} without the quantised)" if len(clear) < len(means) else ""
    return f"{spearman:8.4f} {within:10.3f} {coverage:9.3f} {interval:9.3f}  |  {each}{rest}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tables", nargs="+", default=list(TEST_DEVICES))
    parser.add_argument("--samples", nargs="+", type=int, default=[10, 20, 50, 100])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", nargs="*", default=[], help="default: all")
    parser.add_argument("--devices", nargs="+", default=["test"], help="test, all, or names")
    asked = parser.parse_args()
    for name in asked.tables:
        path = asked.data / f"{name}.csv.gz"
        if not path.exists():
            print(f"{path}: not there, so nothing is benchmarked on it")
            continue
        report(Data(name, path), asked.samples, asked.seeds, set(asked.methods), asked.devices)


if __name__ == "__main__":
    main()
