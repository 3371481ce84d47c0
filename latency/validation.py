"""Predictions, and how they compare with measurements that a fit did not see."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from latency.measurement import Measurement
from search_spaces.document import Json, finite, positive

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

    @staticmethod
    def from_json(entry: Json, where: str) -> "Validation":
        """A validation out of a document; InputError where a number is none."""
        numbers = _numbers({k: v for k, v in entry.items() if k != "how"}, Validation, where)
        return Validation(
            **{**numbers, "networks": int(numbers["networks"])}, how=str(entry["how"])
        )


@dataclass(frozen=True)
class Seen:
    """A measurement that fitted a device, and what the device predicted of it when left out."""

    name: str
    latency_ms: float
    left_out: Prediction | None = None

    @staticmethod
    def from_json(entry: Json, where: str) -> "Seen":
        """A measurement out of a document; InputError where a number is none."""
        left_out = entry.get("left_out")
        prediction = Prediction(**_numbers(left_out, Prediction, where)) if left_out else None
        return Seen(str(entry["name"]), positive(entry["latency_ms"], where), prediction)


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


def _numbers(entry: Json, kind: type, where: str) -> dict[str, Any]:
    named = [field.name for field in fields(kind) if field.type is not str]
    return {name: finite(entry.get(name), f"{where}, {name}") for name in named}
