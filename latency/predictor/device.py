"""Devices: latency predictors fitted to one machine, as numbers, with their validation."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from latency.cost_model.analytical import DIRECTIONS, AnalyticalModel
from latency.cost_model.laplace import NOISE
from latency.cost_model.roofline import Roofline
from latency.cost_model.spread import Spread
from latency.measurement.claims import seen_of, validation_of
from latency.measurement.drift import Drift
from latency.measurement.measurement import Measurement
from latency.measurement.validation import SHORTEST_MS, Prediction, Seen, Validation, validate
from latency.predictor.older import migrated
from latency.regression import bounds
from latency.regression.linear_model import LinearModel, Row, Rows
from latency.regression.links import interval_ms, linked
from latency.workload.workload import Workload
from search_spaces import InputError
from search_spaces.files import document
from search_spaces.files.document import Json, finite, positive
from search_spaces.space.cell_graph import CellGraph, graphs_from_json

FORMAT = "temporal-nas/device"
MAJOR = 1
MB = 1e6


@dataclass(frozen=True)
class Device:
    """A latency predictor of one machine: what `latency.calibrate` returns, and its file holds."""

    name: str
    model: LinearModel
    quantile: float = bounds.UNVALIDATED  # standard deviations to either bound
    blocks: dict[str, tuple[str, float]] = field(default_factory=dict)  # digest: name, ms
    roofline: Roofline | None = None  # of a data sheet
    analytical: AnalyticalModel | None = None  # costs by kind of work, fitted to sized workloads
    validation: Validation | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    measurements: tuple[Seen, ...] = ()  # networks that fitted it
    judged: tuple[Seen, ...] = ()  # those of its validation, where they did not fit it
    memory_limit_mb: float | None = None  # of weights and activations together
    choices: tuple[str, ...] = ()  # decisions of tabular networks that it was calibrated on
    numeric: tuple[str, ...] = ()  # those of them whose numbers vary freely
    graphs: tuple[CellGraph, ...] = ()  # some of whose edges are choices: which are dead there
    drift: Drift | None = None  # of the machine, where it was measured in rounds
    extra: Json = field(default_factory=dict)  # fields of the file that this version doesn't know

    def memory_mb(self, workload: Workload) -> float:
        """Peak memory: weights and activations alive at once, in the device's own precision."""
        number_bytes = self.analytical.number_bytes if self.analytical else None
        scale = (number_bytes or workload.number_bytes) / workload.number_bytes
        return (workload.weight_bytes + workload.peak_bytes) * scale / MB

    def base_ms(self, part: Workload) -> float:
        """Time a part by itself: as it was measured, else by a cost model, else nothing."""
        if self.blocks and part.digest in self.blocks:
            return self.blocks[part.digest][1]
        if not part.measurable:
            return 0.0
        if self.analytical is not None:
            return self.analytical.part_cost(part)[0]
        return self.roofline.latency_ms(part) if self.roofline else 0.0

    def part_row(self, part: Workload) -> Row:
        """The row that a part adds to a network's: first its mean, in ms or as the model sums."""
        row = self.model.part_row(part, self.base_ms(part))
        fitted = bool(self.model.networks)
        if self.analytical and not fitted and part.measurable and part.digest not in self.blocks:
            row[1:-1] += self.analytical.part_cost(part)[1]
        return row

    @property
    def same_hour(self) -> "Device":
        """The same without the machine's drift: for networks that were measured beside its own."""
        return replace(self, drift=None)

    @property
    def unit(self) -> str:
        """The unit of its predictions: ms, or mJ where it was calibrated on energies."""
        return "mJ" if str(self.facts.get("column", "")).endswith("_mj") else "ms"

    def predict(self, workload: Workload) -> Prediction:
        """Predict the latency of a block or a network, with bounds.

        Raises:
            InputError: the device knows nothing of such a workload.
        """
        return self.predict_all([workload])[0]

    def predict_all(self, workloads: Sequence[Workload]) -> list[Prediction]:
        """Predict the latency of each; parts that networks share are looked at once.

        Raises:
            InputError: the device knows nothing of such a workload.
        """
        shared: dict[int, Row] = {}
        with np.errstate(all="ignore"):  # what overflows is refused below
            found = [self._alone(w) for w in workloads if not w.parts]
            rows = [self._network_row(w, shared) for w in workloads if w.parts]
            bounds_ms = self.bounds_of(np.stack(rows)) if rows else ()
        summed = (Prediction(*each) for each in zip(*(b.tolist() for b in bounds_ms), strict=True))
        alone = iter(found)
        predictions = [next(summed) if w.parts else next(alone) for w in workloads]
        for workload, prediction in zip(workloads, predictions, strict=True):
            if not math.isfinite(prediction.high_ms + prediction.latency_ms):
                raise InputError(
                    f"device {self.name!r} predicts no finite latency of {workload.name!r}: a "
                    "number in it, or in the device's file, is out of range"
                )
        return predictions

    def spread(self, workload: Workload) -> Spread | None:
        """Say which part of the bounds is what; None where measured networks or blocks say it."""
        measured = self.model.networks or workload.digest in self.blocks
        if self.analytical is None or measured or not workload.measurable:
            return None
        return self.analytical.spread(workload)

    def unmeasured_options(self, workloads: Sequence[Workload]) -> list[str]:
        """List the decisions of tabular networks whose options it never met: extrapolated."""
        parts = {id(part): part for workload in workloads for part in workload.parts}.values()
        return [
            part.name
            for part in parts
            if not part.measurable
            and part.digest not in self.blocks
            and ("name", part.name) not in self.model.weights
            and ("group", part.group) not in self.model.weights
        ]

    def _network_row(self, network: Workload, shared: dict[int, Row]) -> Row:
        """Sum the rows of a network's parts; `shared` memoizes those of parts seen before."""
        total: Row = self.model.intercept.copy()
        for part in network.leaves:
            if id(part) not in shared:
                self.check_known(part)
                shared[id(part)] = self.part_row(part)
            total += shared[id(part)]
        total[0] += self.model.interaction_ms(network)
        return total

    def _alone(self, workload: Workload) -> Prediction:
        """Predict a block by itself, or a network that has no parts."""
        found = self._alone_at_once(workload)
        if self.drift is None:
            return found
        each = (np.array([ms]) for ms in (found.latency_ms, found.low_ms, found.high_ms))
        low_ms, high_ms = self.drift.widened(*each)
        return Prediction(found.latency_ms, float(low_ms[0]), float(high_ms[0]))

    def _alone_at_once(self, workload: Workload) -> Prediction:
        self.check_known(workload)
        if workload.digest in self.blocks:
            latency_ms = self.blocks[workload.digest][1]
            half = math.exp(min(self.quantile * NOISE, 100.0))
            return Prediction(latency_ms, latency_ms / half, latency_ms * half)
        if self.analytical is not None:
            return self.analytical.predict(workload)
        alone = np.zeros_like(self.model.intercept)
        alone[0] = linked(self.base_ms(workload), self.model.link)
        return self.same_hour.bounded(alone)

    def check_known(self, part: Workload) -> None:
        """Refuse a part of which nothing is known, not even a roofline; InputError."""
        sized = self.roofline is not None or self.analytical is not None
        if part.measurable and not sized and part.digest not in self.blocks:
            mend = "calibrate it on measured blocks"
            if self.choices:
                mend = (
                    f"it was calibrated on a table of {', '.join(self.choices)}, and answers "
                    "networks that name these; take a device that was calibrated on blocks"
                )
            raise InputError(
                f"device {self.name!r} has no rates and no measurement of {part.name!r}; {mend}"
            )
        if not part.measurable and part.choice not in self.choices:
            known = ", ".join(self.choices) or (
                "what operations cost, and no table's choices: give the `space=` of a U-Net, or a "
                "device that was calibrated on such a table"
            )
            raise InputError(
                f"device {self.name!r} knows nothing of {part.choice!r}; it knows {known}"
            )
        free = part.name == part.choice
        if not part.measurable and free != (part.choice in self.numeric):
            known = "options" if free else "a number that varies freely"
            raise InputError(f"device {self.name!r} knows {part.choice!r} as {known}")

    def bounded(self, row: Row) -> Prediction:
        """Put the device's bounds around one summed row."""
        latency_ms, low_ms, high_ms = self.bounds_of(row[None])
        return Prediction(float(latency_ms[0]), float(low_ms[0]), float(high_ms[0]))

    def bounds_of(self, rows: Rows) -> tuple[Rows, Rows, Rows]:
        """Put bounds around summed rows: (latency_ms, low_ms, high_ms), each (networks,).

        Around a fit to networks they are symmetric in what it sums, which is ms or log ms; without
        one, costs are known to a factor and so are the bounds.
        """
        spread_ms = self.model.spread_ms(rows)
        if self.model.networks:
            found = interval_ms(rows[:, 0], spread_ms, self.quantile, self.model.link)
        else:
            latency_ms = np.maximum(rows[:, 0], SHORTEST_MS)
            factor = np.exp(self.quantile * np.sqrt(np.log1p((spread_ms / latency_ms) ** 2)))
            found = latency_ms, latency_ms / factor, latency_ms * factor
        return found if self.drift is None else (found[0], *self.drift.widened(*found))

    def validated(self, measurements: Sequence[Measurement], how: str) -> "Device":
        """Validate on held-out measurements of the same hour: this device with its errors there."""
        predicted = self.same_hour.predict_all([m.workload for m in measurements])
        return self.judged_by(predicted, measurements, how)

    def judged_by(
        self, predicted: Sequence[Prediction], measurements: Sequence[Measurement], how: str
    ) -> "Device":
        """The same with predictions that were made without the measurements, here or by refits."""
        judged = (
            Seen(m.workload.name, m.latency_ms, prediction)
            for m, prediction in zip(measurements, predicted, strict=True)
        )
        validation = validate(predicted, measurements, how)
        return replace(self, validation=validation, judged=tuple(judged))

    def to_json(self) -> Json:
        """The device as its file holds it."""
        return {
            **self.extra,
            "format": FORMAT,
            "version": f"{MAJOR}.0",
            "name": self.name,
            "facts": self.facts,
            "rates": self.roofline.to_json() if self.roofline else None,
            "physical": self.analytical.to_json() if self.analytical else None,
            "model": self.model.to_json(),
            "bounds": {"quantile": self.quantile, "coverage": bounds.COVERAGE},
            "validation": asdict(self.validation) if self.validation else None,
            "blocks": {d: {"name": n, "latency_ms": ms} for d, (n, ms) in self.blocks.items()},
            "memory_limit_mb": self.memory_limit_mb,
            "choices": list(self.choices),
            "numeric": list(self.numeric),
            **({"graphs": [graph.to_json() for graph in self.graphs]} if self.graphs else {}),
            **({"drift": asdict(self.drift)} if self.drift else {}),
            "measurements": [asdict(seen) for seen in self.measurements],
            "judged": [asdict(seen) for seen in self.judged],
        }

    def save(self, path: Path) -> None:
        """Write the device file, whole or not at all."""
        document.write_atomically(path, document.dumps(self.to_json()))

    @staticmethod
    def from_json(found: Json, where: str) -> "Device":
        """Read a device out of its document; a name and rates are enough for one never measured.

        Raises:
            InputError: a field that is missing or of another kind, numbers that are none.
        """
        try:
            return _device(found, where)
        except InputError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: broken device file: {error!r}") from None


def read_device(path: Path | str) -> Device:
    """Read a device file.

    Raises:
        InputError: not a device file, or numbers that are none.
    """
    return Device.from_json(document.read(Path(path), FORMAT, MAJOR), str(path))


def _device(found: Json, where: str) -> Device:
    found = migrated(found)
    limits = found.get("bounds") or {"quantile": bounds.UNVALIDATED}
    rates, sized = found.get("rates"), found.get("physical")
    memory = found.get("memory_limit_mb")
    alone = LinearModel.sum_of_parts(np.zeros(2)).to_json()
    model = LinearModel.from_json(found.get("model") or alone, f"{where}, model")
    if sized and not model.networks and len(model.intercept) != 2 + DIRECTIONS:
        raise InputError(f"{where}, model: has no row of {2 + DIRECTIONS} as physical needs it")
    if limits.get("coverage", bounds.COVERAGE) != bounds.COVERAGE:
        raise InputError(f"{where}, bounds, coverage: expected {bounds.COVERAGE}")
    device = Device(
        name=str(found["name"]),
        model=model,
        quantile=positive(limits["quantile"], f"{where}, bounds, quantile"),
        blocks={
            str(digest): (str(entry["name"]), _block_ms(entry["latency_ms"], f"{where}, {digest}"))
            for digest, entry in (found.get("blocks") or {}).items()
        },
        roofline=Roofline.from_json(rates, f"{where}, rates") if rates else None,
        analytical=AnalyticalModel.from_json(sized, f"{where}, physical") if sized else None,
        facts=dict(found.get("facts") or {}),
        measurements=seen_of(found, "measurements", where),
        judged=seen_of(found, "judged", where),
        memory_limit_mb=None if memory is None else positive(memory, f"{where}, memory_limit_mb"),
        choices=tuple(str(name) for name in found.get("choices") or ()),
        numeric=tuple(str(name) for name in found.get("numeric") or ()),
        graphs=_graphs(found.get("graphs") or [], where),
        drift=Drift.from_json(found["drift"], f"{where}, drift") if found.get("drift") else None,
        extra={k: v for k, v in found.items() if k not in KNOWN},
    )
    sized_ms = device.analytical.latency_ms if device.analytical else ()
    measured = bool(device.measurements or device.blocks or sized_ms)
    return replace(device, validation=validation_of(found, where, measured=measured))


def _graphs(found: object, where: str) -> tuple[CellGraph, ...]:
    try:
        return graphs_from_json(found)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _block_ms(found: object, where: str) -> float:
    """A block's time; one that skips takes none."""
    return 0.0 if finite(found, where) == 0 else positive(found, where)


KNOWN = frozenset(Device("", LinearModel.sum_of_parts(np.zeros(2))).to_json()) | {"graphs", "drift"}
