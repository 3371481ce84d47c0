"""The report of a calibration: how predictions of networks that it did not see came out."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latency import Device, Measurement, Prediction, Workload
from nas.calibration.calibration_picture import calibration_png

TEMPLATE = Path(__file__).with_name("calibration_report.html.jinja")
WORST = 10


@dataclass(frozen=True)
class Judged:
    """A network that the prediction beside it was made without."""

    measurement: Measurement
    prediction: Prediction

    @property
    def residual(self) -> float:
        """By how much the measurement is above the prediction, as a share of the larger one.

        So it stays within -1 and 1: one absurd row doesn't drown a mean.
        """
        measured_ms, predicted_ms = self.measurement.latency_ms, self.prediction.latency_ms
        return (measured_ms - predicted_ms) / max(measured_ms, predicted_ms)

    @property
    def inside(self) -> bool:
        """Whether the bounds hold the measurement."""
        return self.prediction.low_ms <= self.measurement.latency_ms <= self.prediction.high_ms


@dataclass(frozen=True)
class KindResidual:
    """Residuals of networks, each counted by how much of it is of one kind."""

    kind: str
    networks: int
    mean_pct: float
    absolute_pct: float


def by_kind(judged: Sequence[Judged]) -> list[KindResidual]:
    """Where the errors are: over the kinds of blocks, or of operations, the largest first."""
    shares = [_shares(each.measurement.workload) for each in judged]
    residuals = np.array([each.residual for each in judged])
    found = []
    for kind in sorted({kind for share in shares for kind in share}):
        weights = np.array([share.get(kind, 0.0) for share in shares])
        mean = float(weights @ residuals / weights.sum())
        absolute = float(weights @ np.abs(residuals) / weights.sum())
        found.append(KindResidual(kind, int((weights > 0).sum()), 100 * mean, 100 * absolute))
    return sorted(found, key=lambda each: -each.absolute_pct)


def _shares(workload: Workload) -> dict[str, float]:
    """How much of a network is of each kind: of its operations' traffic, or of its decisions."""
    amounts: dict[str, float] = {}
    if workload.parts:
        for part in workload.parts:
            amounts[part.group] = amounts.get(part.group, 0.0) + 1.0
    else:
        for o in workload.operations:
            moved = o.count * (o.bytes_moved + o.weight_bytes)
            amounts[o.kind] = amounts.get(o.kind, 0.0) + moved
    whole = sum(amounts.values()) or 1.0
    return {kind: amount / whole for kind, amount in amounts.items() if amount > 0}


def html(device: Device, judged: Sequence[Judged]) -> str:
    """The report as one HTML file that needs nothing else."""
    import jinja2

    kinds = by_kind(judged) if judged else []
    worst = sorted(judged, key=lambda each: -abs(each.residual))[:WORST]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        device=device,
        judged=len(judged),
        kinds=kinds,
        worst=worst,
        picture=_embedded(calibration_png(judged, kinds, device.unit)) if judged else None,
    )


def summary(judged: Sequence[Judged]) -> dict[str, Any]:
    """The report's figures for scripts."""
    worst = sorted(judged, key=lambda each: -abs(each.residual))[:WORST]
    return {
        "kinds": [vars(kind) for kind in by_kind(judged)] if judged else [],
        "worst": [
            {
                "network": each.measurement.workload.name,
                "measured_ms": each.measurement.latency_ms,
                "predicted_ms": each.prediction.latency_ms,
            }
            for each in worst
        ],
    }


def _embedded(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
