"""Residuals: by how much measurements differ from predictions that were made without them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latency import Measurement, Prediction, Workload


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
