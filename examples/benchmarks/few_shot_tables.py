"""Public latency tables for few-shot benchmarks: networks, devices by kind of hardware, scores."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from few_shot_baselines import COVERAGE, Intervals, Matrix, Vector
from scipy.stats import spearmanr

import latency
from latency import EncodedPredictor, Measurement, Source, Sources
from search_spaces import Architecture, Table, counts, encode, load, read_table

GRAPHS = {"nb201": Path(__file__).parents[1] / "nas_bench_201" / "cell.json"}
KINDS = {
    "1080ti": "desktop GPU",
    "2080ti": "desktop GPU",
    "titan": "desktop GPU",
    "titanx": "desktop GPU",
    "titanxp": "desktop GPU",
    "gold": "server CPU",
    "silver": "server CPU",
    "essential": "phone",
    "pixel2": "phone",
    "pixel3": "phone",
    "samsung": "phone",
    "raspi4": "single-board computer",
    "eyeriss": "ASIC",
    "fpga": "FPGA",
}
LEAST = 0.1  # of a prediction: a lower bound below it counts as it where a logarithm is taken


def hardware(device: str) -> str:
    """`titan` of `titan_rtx_256`."""
    return device.partition("_")[0]


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
    def without_dead_edges(self) -> list[int]:
        """Row of each network as it is without edges off every path."""
        space = load(str(GRAPHS[self.name]))
        rows = {str(a): row for row, a in enumerate(self.architectures)}
        return [
            rows[str({**a, **dict.fromkeys(space.dead(a), "none")})] for a in self.architectures
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

    def lend(self, devices: Collection[str], *, graph: bool = False) -> Sources | None:
        """What these devices teach of another, knowing the cell's graph or not."""
        networks = self.on_graph if graph else self.workloads
        assert networks is not None
        lent = [Source(name, networks, list(self.latency_ms(name))) for name in devices]
        return latency.learn_sources(lent) if lent else None

    def predict(self, rows: Sequence[int], truth: Vector, borrow: Sources | None) -> Intervals:
        """Our prediction for all networks from those of some rows."""
        seen = [Measurement(self.workloads[row], float(truth[row])) for row in rows]
        device = latency.calibrate(seen, self.name, borrow=borrow)
        return EncodedPredictor.of_choices(device, self._table.space).predict(self.encoded)

    def predict_rows(
        self,
        rows: Sequence[int],
        truth: Vector,
        borrow: Sources | None,
        *,
        graph: bool,
        unseen: Sequence[int] | None = None,
    ) -> Intervals:
        """The same for some networks, or all, one by one; knowing the cell's graph or not."""
        networks = self.on_graph if graph else self.workloads
        assert networks is not None
        seen = [Measurement(networks[row], float(truth[row])) for row in rows]
        device = latency.calibrate(seen, self.name, borrow=borrow)
        asked = networks if unseen is None else [networks[row] for row in unseen]
        found = [[p.latency_ms, p.low_ms, p.high_ms] for p in device.predict_all(asked)]
        latency_ms, low_ms, high_ms = np.array(found).T
        return latency_ms, low_ms, high_ms


@dataclass(frozen=True)
class Score:
    """How a prediction of unseen networks did; the interval score is in units of the mean."""

    spearman: float
    within_10_pct: float
    coverage: float
    interval_score: float
    log_interval_score: float

    @staticmethod
    def of(found: Intervals, true: Vector) -> "Score":
        point, low, high = found
        logs = [np.log(np.maximum(each, LEAST * point)) for each in (true, low, high)]
        return Score(
            float(spearmanr(point, true).statistic) if np.ptp(point) > 0 else 0.0,
            float((np.abs(point / np.maximum(true, 1e-9) - 1) < 0.1).mean()),
            float(((true >= low) & (true <= high)).mean()),
            float(_interval_score(true, low, high).mean() / true.mean()),
            float(_interval_score(*logs).mean()),
        )

    @staticmethod
    def of_unseen(found: Intervals, truth: Vector, unseen: npt.NDArray[np.bool_]) -> "Score":
        """The score of predictions for all networks, by those unseen."""
        point, low, high = (values[unseen] for values in found)
        return Score.of((point, low, high), truth[unseen])


def _interval_score(true: Vector, low: Vector, high: Vector) -> Vector:
    """Gneiting and Raftery 2007, section 6.2: the width, and how far outside the truth is."""
    outside = np.clip(low - true, 0, None) + np.clip(true - high, 0, None)
    return (high - low) + 2 / (1 - COVERAGE) * outside
