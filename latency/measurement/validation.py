"""Validation: errors, rank correlation and coverage of predictions on held-out measurements."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from latency.measurement.measurement import Measurement
from search_spaces import InputError
from search_spaces.files.document import Json, finite, positive

SHORTEST_MS = 1e-6  # an extrapolation below nothing is no time


@dataclass(frozen=True)
class Prediction:
    """A latency with bounds that hold with the device's stated coverage."""

    latency_ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True)
class Validation:
    """Errors of predictions on measurements that a fit did not see: error, rank, coverage."""

    networks: int
    mape_pct: float
    spearman: float
    within_bounds_share: float
    how: str  # "leave one out", or "held out"
    # A few absurd rows make any mean, so the usual error stands beside it; older files lack both.
    median_error_pct: float | None = None
    within_10pct_share: float | None = None
    typical_factor: float | None = None  # the median of |log measured / predicted|, as a factor

    @property
    def skewed(self) -> bool:
        """Whether a few rows make the mean error: it is far from the median one."""
        return self.median_error_pct is not None and self.mape_pct > 3 * self.median_error_pct + 1

    @staticmethod
    def from_json(entry: Json, where: str) -> "Validation":
        """Read a validation out of a document; InputError where a number is none."""
        numbers = {name: finite(entry.get(name), f"{where}, {name}") for name in _ALWAYS}
        for name in ("median_error_pct", "within_10pct_share", "typical_factor"):
            if entry.get(name) is not None:
                numbers[name] = finite(entry[name], f"{where}, {name}")
        for name in ("within_bounds_share", "within_10pct_share"):
            if not 0 <= numbers.get(name, 0) <= 1:
                raise InputError(f"{where}, {name}: expected 0 to 1")
        if numbers["networks"] < 1:
            raise InputError(f"{where}, networks: expected 1 or more")
        found = {**numbers, "networks": int(numbers["networks"])}
        return Validation(**found, how=str(entry["how"]))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Seen:
    """A measurement that fitted a device, with its leave-one-out prediction."""

    name: str
    latency_ms: float
    left_out: Prediction | None = None

    @staticmethod
    def from_json(entry: Json, where: str) -> "Seen":
        """Read a measurement out of a document; InputError where a number is none."""
        left_out = entry.get("left_out")
        prediction = _prediction(left_out, f"{where}, left_out") if left_out else None
        return Seen(str(entry["name"]), positive(entry["latency_ms"], where), prediction)


def validate(
    predicted: Sequence[Prediction], measured: Sequence[Measurement], how: str
) -> Validation:
    """Validate predictions against measurements: mean and median error, Spearman, coverage.

    Raises:
        InputError: nothing was measured.
    """
    if not measured:
        raise InputError("no measurements to compare predictions with")
    from scipy.stats import spearmanr

    predicted_ms = np.array([p.latency_ms for p in predicted])
    measured_ms = np.array([m.latency_ms for m in measured])
    inside = [
        p.low_ms <= m.latency_ms <= p.high_ms for p, m in zip(predicted, measured, strict=True)
    ]
    varied = len(set(predicted_ms)) > 1 and len(set(measured_ms)) > 1
    errors = np.abs(predicted_ms / measured_ms - 1)
    return Validation(
        networks=len(measured),
        mape_pct=float(np.mean(errors) * 100),
        spearman=float(spearmanr(predicted_ms, measured_ms).statistic) if varied else 0.0,
        within_bounds_share=float(np.mean(inside)),
        how=how,
        median_error_pct=float(np.median(errors) * 100),
        within_10pct_share=float(np.mean(errors <= 0.1)),
        typical_factor=float(np.exp(np.median(np.abs(np.log(predicted_ms / measured_ms))))),
    )


_ALWAYS = ("networks", "mape_pct", "spearman", "within_bounds_share")


def _prediction(entry: Json, where: str) -> Prediction:
    named = [field.name for field in fields(Prediction)]
    return Prediction(**{name: finite(entry.get(name), f"{where}, {name}") for name in named})
