"""A device: known facts, a fitted predictor as numbers, and how far to trust it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from latency import bounds, linear_model, roofline
from latency.linear_model import LinearModel
from latency.measurement import Measurement, check
from latency.roofline import Roofline
from latency.workload import Workload
from search_spaces import InputError, document
from search_spaces.document import Json, finite

FORMAT = "temporal-nas/device"
MAJOR = 1
SHORTEST_MS = 1e-6  # an extrapolation below nothing is no time


@dataclass(frozen=True)
class Prediction:
    """A latency with bounds that hold with the device's stated coverage."""

    latency_ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True)
class Validation:
    """How predictions compare with measurements that a fit did not see."""

    networks: int
    mape_pct: float
    spearman: float
    within_bounds_share: float
    how: str  # "leave one out", or "held out"


@dataclass(frozen=True)
class Device:
    """What `latency.calibrate` returns and a device file holds."""

    name: str
    model: LinearModel
    relative_width: float
    blocks: dict[str, tuple[str, float]] = field(default_factory=dict)  # digest: name, ms
    rates: Roofline | None = None
    validation: Validation | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    measurements: tuple[tuple[str, float], ...] = ()
    choices: tuple[str, ...] = ()  # decisions of tabular networks that it was calibrated on
    numeric: tuple[str, ...] = ()  # those of them whose numbers vary freely
    extra: Json = field(default_factory=dict)  # fields of the file that this version doesn't know

    def base_ms(self, part: Workload) -> float:
        """The part's own measurement where there is one, else its roofline, else nothing."""
        if part.digest in self.blocks:
            return self.blocks[part.digest][1]
        return self.rates.latency_ms(part) if self.rates and part.measurable else 0.0

    def part_ms(self, part: Workload) -> float:
        """What a part adds to a network's predicted latency."""
        return self.model.part_ms(part, self.base_ms(part))

    def predict(self, workload: Workload) -> Prediction:
        """The latency of a block or a network.

        Raises:
            InputError: the device knows nothing of such a workload.
        """
        if not workload.parts and workload.digest in self.blocks:
            return self.bounded(self.blocks[workload.digest][1])
        self._check_known(workload)
        total = self.model.intercept_ms if workload.parts else 0.0
        return self.bounded(total + sum(map(self.part_ms, workload.leaves)))

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

    def bounded(self, latency_ms: float) -> Prediction:
        """A latency with the device's bounds around it."""
        latency_ms = max(latency_ms, SHORTEST_MS)
        low_ms = latency_ms * max(0.0, 1 - self.relative_width)
        return Prediction(latency_ms, low_ms, latency_ms * (1 + self.relative_width))

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
            "bounds": {"relative_width": self.relative_width, "coverage": bounds.COVERAGE},
            "validation": self.validation.__dict__ if self.validation else None,
            "blocks": {d: {"name": n, "latency_ms": ms} for d, (n, ms) in self.blocks.items()},
            "choices": list(self.choices),
            "numeric": list(self.numeric),
            "measurements": [list(measurement) for measurement in self.measurements],
        }

    def save(self, path: Path) -> None:
        """Write the device file, whole or not at all."""
        document.write_atomically(path, document.dumps(self.to_json()))


def calibrate(
    measurements: Sequence[Measurement], name: str, facts: dict[str, Any] | None = None
) -> Device:
    """A device from measured blocks, measured networks, or both.

    Raises:
        InputError: too few measurements, or such that no model can come of them.
    """
    check(measurements)
    networks = [m for m in measurements if m.of_network]
    grouped: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        if not measurement.of_network:
            grouped.setdefault(measurement.workload.digest, []).append(measurement)
    blocks = {
        digest: (same[0].workload.name, float(np.mean([m.latency_ms for m in same])))
        for digest, same in grouped.items()
    }
    rates = roofline.fit([m for same in grouped.values() for m in same] or networks)
    tabular = [p for n in networks for p in n.workload.leaves if not p.measurable]
    device = Device(
        name=name,
        model=LinearModel(),
        relative_width=bounds.UNVALIDATED_WIDTH,
        blocks=blocks,
        rates=rates,
        facts=facts or {},
        measurements=tuple((m.workload.name, m.latency_ms) for m in measurements),
        choices=tuple(dict.fromkeys(p.choice for p in tabular)),
        numeric=tuple(dict.fromkeys(p.choice for p in tabular if p.name == p.choice)),
    )
    if len(networks) < 2:
        return device
    fitted = linear_model.fit(networks, device.base_ms)
    left_out_ms = np.maximum(fitted.left_out_ms, SHORTEST_MS)
    errors = np.array([m.latency_ms for m in networks]) / left_out_ms - 1
    width = bounds.relative_width([float(error) for error in errors])
    device = replace(device, model=fitted.model, relative_width=width)
    left_out = [device.bounded(float(ms)) for ms in left_out_ms]
    return replace(device, validation=validate(left_out, networks, "leave one out"))


def validate(
    predicted: Sequence[Prediction], measured: Sequence[Measurement], how: str
) -> Validation:
    """Errors of predictions against measurements."""
    from scipy.stats import spearmanr

    guess = np.array([p.latency_ms for p in predicted])
    truth = np.array([m.latency_ms for m in measured])
    inside = [
        p.low_ms <= m.latency_ms <= p.high_ms for p, m in zip(predicted, measured, strict=True)
    ]
    varied = len(set(guess)) > 1 and len(set(truth)) > 1
    return Validation(
        networks=len(measured),
        mape_pct=float(np.mean(np.abs(guess / truth - 1)) * 100),
        spearman=float(spearmanr(guess, truth).statistic) if varied else 0.0,
        within_bounds_share=float(np.mean(inside)),
        how=how,
    )


def read_device(path: Path) -> Device:
    """Read a device file; a name and rates are enough for one that nothing was measured on.

    Raises:
        InputError: not a device file, or numbers that are none.
    """
    found = document.read(path, FORMAT, MAJOR)
    where = str(path)
    try:
        limits = found.get("bounds") or {"relative_width": bounds.UNVALIDATED_WIDTH}
        model = found.get("model") or LinearModel().to_json()
        blocks = {
            str(digest): (str(entry["name"]), finite(entry["latency_ms"], f"{where}, {digest}"))
            for digest, entry in (found.get("blocks") or {}).items()
        }
        validation = found.get("validation")
        rates = found.get("rates")
        return Device(
            name=str(found["name"]),
            model=LinearModel.from_json(model, f"{where}, model"),
            relative_width=abs(finite(limits["relative_width"], f"{where}, relative_width")),
            blocks=blocks,
            rates=Roofline.from_json(rates, f"{where}, rates") if rates else None,
            validation=Validation(**validation) if validation else None,
            facts=dict(found.get("facts") or {}),
            measurements=tuple((str(n), float(ms)) for n, ms in found.get("measurements", [])),
            choices=tuple(str(name) for name in found.get("choices") or ()),
            numeric=tuple(str(name) for name in found.get("numeric") or ()),
            extra={k: v for k, v in found.items() if k not in KNOWN},
        )
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: broken device file: {error!r}") from None


KNOWN = frozenset(Device("", LinearModel(), 0.0).to_json())
