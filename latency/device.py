"""A device: known facts, a fitted predictor as numbers, and how far to trust it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from latency import bounds
from latency.linear_model import LinearModel, Row
from latency.measurement import Measurement
from latency.roofline import Roofline
from latency.validation import SHORTEST_MS, Prediction, Seen, Validation, validate
from latency.workload import Workload
from search_spaces import InputError, document
from search_spaces.document import Json, finite, positive

FORMAT = "temporal-nas/device"
MAJOR = 1


@dataclass(frozen=True)
class Device:
    """What `latency.calibrate` returns and a device file holds."""

    name: str
    model: LinearModel
    quantile: float = bounds.UNVALIDATED  # standard deviations to either bound
    blocks: dict[str, tuple[str, float]] = field(default_factory=dict)  # digest: name, ms
    rates: Roofline | None = None
    validation: Validation | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    measurements: tuple[Seen, ...] = ()  # networks that fitted it
    choices: tuple[str, ...] = ()  # decisions of tabular networks that it was calibrated on
    numeric: tuple[str, ...] = ()  # those of them whose numbers vary freely
    extra: Json = field(default_factory=dict)  # fields of the file that this version doesn't know

    def base_ms(self, part: Workload) -> float:
        """The part's own measurement where there is one, else its roofline, else nothing."""
        if part.digest in self.blocks:
            return self.blocks[part.digest][1]
        return self.rates.latency_ms(part) if self.rates and part.measurable else 0.0

    def part_row(self, part: Workload) -> Row:
        """What a part adds to a network's predicted latency, first its mean in ms."""
        return self.model.part_row(part, self.base_ms(part))

    def predict(self, workload: Workload) -> Prediction:
        """The latency of a block or a network.

        Raises:
            InputError: the device knows nothing of such a workload.
        """
        self._check_known(workload)
        if workload.parts:
            return self.bounded(self.model.row(workload, self.base_ms))
        alone = np.zeros_like(self.model.intercept)
        alone[0] = self.base_ms(workload)
        return self.bounded(alone)

    def _check_known(self, workload: Workload) -> None:
        for part in workload.leaves:
            if part.measurable and self.rates is None and part.digest not in self.blocks:
                raise InputError(
                    f"device {self.name!r} has no rates and no measurement of {part.name!r}; "
                    "calibrate it with blocks (nas profile --blocks)"
                )
            if not part.measurable and part.choice not in self.choices:
                known = ", ".join(self.choices) or "blocks of a network alone: give the --space"
                raise InputError(
                    f"device {self.name!r} knows nothing of {part.choice!r}; it knows {known}"
                )

    def bounded(self, row: Row) -> Prediction:
        """The latency of a summed row, with the device's bounds around it."""
        latency_ms = max(float(row[0]), SHORTEST_MS)
        half_ms = self.quantile * float(self.model.spread_ms(row))
        return Prediction(latency_ms, max(latency_ms - half_ms, 0.0), latency_ms + half_ms)

    def validated(self, measurements: Sequence[Measurement], how: str) -> "Device":
        """This device, with its errors on measurements that it was not fitted to."""
        predicted = [self.predict(m.workload) for m in measurements]
        return replace(self, validation=validate(predicted, measurements, how))

    def to_json(self) -> Json:
        """The device as its file holds it."""
        return {
            **self.extra,
            "format": FORMAT,
            "version": f"{MAJOR}.0",
            "name": self.name,
            "facts": self.facts,
            "rates": self.rates.to_json() if self.rates else None,
            "model": self.model.to_json(),
            "bounds": {"quantile": self.quantile, "coverage": bounds.COVERAGE},
            "validation": asdict(self.validation) if self.validation else None,
            "blocks": {d: {"name": n, "latency_ms": ms} for d, (n, ms) in self.blocks.items()},
            "choices": list(self.choices),
            "numeric": list(self.numeric),
            "measurements": [asdict(seen) for seen in self.measurements],
        }

    def save(self, path: Path) -> None:
        """Write the device file, whole or not at all."""
        document.write_atomically(path, document.dumps(self.to_json()))

    @staticmethod
    def from_json(found: Json, where: str) -> "Device":
        """A device out of its document; a name and rates are enough for one never measured.

        Raises:
            InputError: a field that is missing or of another kind, numbers that are none.
        """
        try:
            return _device(found, where)
        except InputError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: broken device file: {error!r}") from None


def read_device(path: Path) -> Device:
    """Read a device file.

    Raises:
        InputError: not a device file, or numbers that are none.
    """
    return Device.from_json(document.read(path, FORMAT, MAJOR), str(path))


def _device(found: Json, where: str) -> Device:
    limits = found.get("bounds") or {"quantile": bounds.UNVALIDATED}
    model = found.get("model") or LinearModel.of_parts_alone().to_json()
    validation, rates = found.get("validation"), found.get("rates")
    return Device(
        name=str(found["name"]),
        model=LinearModel.from_json(model, f"{where}, model"),
        quantile=positive(limits["quantile"], f"{where}, bounds, quantile"),
        blocks={
            str(digest): (str(entry["name"]), finite(entry["latency_ms"], f"{where}, {digest}"))
            for digest, entry in (found.get("blocks") or {}).items()
        },
        rates=Roofline.from_json(rates, f"{where}, rates") if rates else None,
        validation=Validation.from_json(validation, f"{where}, validation") if validation else None,
        facts=dict(found.get("facts") or {}),
        measurements=tuple(
            Seen.from_json(entry, f"{where}, measurements")
            for entry in found.get("measurements") or ()
        ),
        choices=tuple(str(name) for name in found.get("choices") or ()),
        numeric=tuple(str(name) for name in found.get("numeric") or ()),
        extra={k: v for k, v in found.items() if k not in KNOWN},
    )


KNOWN = frozenset(Device("", LinearModel.of_parts_alone()).to_json())
