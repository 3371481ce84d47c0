"""What one unit of each family of cost takes on a device, and how sure of it we are.

Costs are positive and known to a factor, so they are log-normal: a median and a spread in
logarithms (0.7 is a factor of two either way at one standard deviation), correlated where one
reason moves several (a faster clock). Data sheets give the medians before anything is measured;
a fit narrows them (`latency.cost_model.analytical`); a neighbouring chip's fit, scaled by data
sheets, is a better prior than a data sheet.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from latency.cost_model.work_amounts import FAMILIES, INDEX, Vector
from search_spaces import InputError
from search_spaces.files.document import Json, finite

# Data sheet -> medians, for a fused accelerator (a Neural Engine). In milliseconds a unit, of the
# peak in TFLOP/s and the memory's rate in GB/s (1/TFLOP/s is ms a GFLOP, 1/GB/s is ms a MB).
EFFICIENCY = 0.65  # of the peak that dense products reach in networks
OVERLAP = 0.7  # weights stream while products run: each shows about 0.7 of its own time in a sum
DEPTHWISE_LANES = 10.0  # a depthwise product keeps about one lane in ten busy
SCORE_PASSES = 4.0  # scores are written, read and written by softmax, and read again
NORM_PASSES = 2.0  # statistics first, then the division
ON_CHIP = 10.0  # on-chip memory is about ten times as fast
FUSED = 50.0  # elementwise operations run inside the one before them
OPERATION_MS = 0.0015  # 1 us on the fastest known (M6 chains), at a slower clock
ELEMENTWISE_MS = 1e-5
SWITCH_MS = 0.25  # to another engine and back, 0.125 ms each (shared studies of M4 and M6)
# Spreads: what a data sheet says of a family, to a factor of exp(spread) at one deviation.
SPREADS = {
    "call": 0.7,
    "operation": 0.7,
    "elementwise": 0.7,
    "gather": 0.7,
    "weights": 0.35,
    "dense": 0.5,
    "depthwise": 0.7,
    "scores": 1.2,
    "norm": 1.0,
    "moved": 1.0,
    "activations": 1.0,
    "elementwise_mb": 1.0,
}


LARGEST_VARIANCE = 25.0  # of a cost's logarithm: known to a factor of e^5
LEAST_MS = 1e-9


@dataclass(frozen=True)
class Rates:
    """Log-normal costs of FAMILIES, in ms a unit: medians, and covariance of the logarithms."""

    medians: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        covariance = np.array(self.covariance, dtype=float)
        if covariance.shape != (len(FAMILIES), len(FAMILIES)) or len(self.medians) != len(FAMILIES):
            raise InputError(f"rates must be of the {len(FAMILIES)} families {list(FAMILIES)}")
        if not (np.isfinite(covariance).all() and np.allclose(covariance, covariance.T)):
            raise InputError("rates: the covariance is not symmetric")
        if np.abs(covariance).max() > LARGEST_VARIANCE or np.linalg.eigvalsh(covariance)[0] <= 0:
            raise InputError(f"rates: variances must be above 0 and at most {LARGEST_VARIANCE}")
        if not all(LEAST_MS <= median <= 1 / LEAST_MS for median in self.medians):
            raise InputError(f"rates: costs in ms a unit must be in {LEAST_MS} to {1 / LEAST_MS}")

    @property
    def log_medians(self) -> Vector:
        """(families,) logarithms of the medians."""
        logs: Vector = np.log(np.array(self.medians))
        return logs

    @property
    def log_covariance(self) -> Vector:
        """(families, families)."""
        return np.array(self.covariance)

    @property
    def spreads(self) -> dict[str, float]:
        """One standard deviation of each family's logarithm."""
        return dict(zip(FAMILIES, np.sqrt(np.diag(self.log_covariance)).tolist(), strict=True))

    def scaled(
        self, speedups: Mapping[str, float], spread: float = 0.15, common: float = 0.2
    ) -> "Rates":
        """Those of a chip that is `speedups` times as fast, per family; 1 where none is given.

        A ratio of data sheets is right to a factor: `spread` is that of each family alone,
        `common` that of all together.
        """
        factors = np.array([speedups.get(family, 1.0) for family in FAMILIES])
        wider = np.eye(len(FAMILIES)) * spread**2 + common**2
        return rates_of(self.log_medians - np.log(factors), self.log_covariance + wider)

    def with_family(self, family: str, median: float, spread: float) -> "Rates":
        """The same, one family known anew and apart from the others."""
        index = INDEX[family]
        medians, covariance = self.log_medians, self.log_covariance
        medians[index] = np.log(median)
        covariance[index, :] = covariance[:, index] = 0.0
        covariance[index, index] = spread**2
        return rates_of(medians, covariance)

    def to_json(self) -> Json:
        """Medians by name, and the covariance's rows."""
        medians = dict(zip(FAMILIES, self.medians, strict=True))
        return {"ms_per_unit": medians, "covariance": [list(row) for row in self.covariance]}

    @staticmethod
    def from_json(entry: object, where: str) -> "Rates":
        """Rates out of a document.

        Raises:
            InputError: a family is missing, a number is none, or no covariance.
        """
        if not isinstance(entry, dict) or not isinstance(entry.get("ms_per_unit"), dict):
            raise InputError(f"{where}: expected rates with ms_per_unit and covariance")
        found, rows = entry["ms_per_unit"], entry.get("covariance")
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise InputError(f"{where}, covariance: expected rows of numbers")
        medians = tuple(finite(found.get(f), f"{where}, ms_per_unit, {f}") for f in FAMILIES)
        if [len(row) for row in rows] != [len(FAMILIES)] * len(FAMILIES):
            raise InputError(f"{where}, covariance: expected {len(FAMILIES)} rows and columns")
        covariance = tuple(tuple(finite(v, f"{where}, covariance") for v in row) for row in rows)
        return Rates(medians, covariance)


def rates_of(log_medians: Vector, log_covariance: Vector) -> Rates:
    """Rates from arrays; rounding must not leave the covariance asymmetric."""
    covariance = (log_covariance + log_covariance.T) / 2
    return Rates(
        tuple(np.exp(log_medians).tolist()), tuple(tuple(row) for row in covariance.tolist())
    )


def from_medians(medians: Mapping[str, float], spreads: Mapping[str, float] = SPREADS) -> Rates:
    """Independent costs with the medians and spreads given."""
    if not all(medians[family] > 0 for family in FAMILIES):
        raise InputError(f"rates: costs must be above 0; found {dict(medians)}")
    variances = [spreads[family] ** 2 for family in FAMILIES]
    return rates_of(np.log([medians[family] for family in FAMILIES]), np.diag(variances))


def accelerator(tflop_per_s: float, gb_per_s: float, call_ms: float) -> Rates:
    """The data-sheet prior of an accelerator that compiles networks whole (a Neural Engine).

    Args:
        tflop_per_s: peak of dense products in the precision that it computes in.
        gb_per_s: what it streams weights at.
        call_ms: what one run takes around the network.
    """
    mb_ms = 1 / _above_zero(gb_per_s, "gb_per_s")
    tflop_per_s = _above_zero(tflop_per_s, "tflop_per_s")
    return from_medians(
        {
            "call": call_ms,
            "operation": OPERATION_MS,
            "elementwise": ELEMENTWISE_MS,
            "gather": SWITCH_MS,
            "weights": OVERLAP * mb_ms,
            "dense": OVERLAP / (EFFICIENCY * tflop_per_s),
            "depthwise": DEPTHWISE_LANES / tflop_per_s,
            "scores": SCORE_PASSES * mb_ms,
            "norm": NORM_PASSES * mb_ms,
            "moved": mb_ms / math.sqrt(ON_CHIP),
            "activations": mb_ms / ON_CHIP,
            "elementwise_mb": mb_ms / FUSED,
        }
    )


def eager(tflop_per_s: float, gb_per_s: float, operation_ms: float) -> Rates:
    """The prior of a processor that runs one operation after another (torch on a CPU or a GPU).

    Nothing is fused: each operation is launched, and reads and writes memory. What peak a given
    machine reaches is known less well than an accelerator's: every spread is a factor of e.
    """
    mb_ms = 1 / _above_zero(gb_per_s, "gb_per_s")
    tflop_per_s = _above_zero(tflop_per_s, "tflop_per_s")
    medians = {
        "call": operation_ms,
        "operation": operation_ms,
        "elementwise": operation_ms / 2,
        "gather": operation_ms,
        "weights": mb_ms / 2,  # small ones stay in the cache
        "dense": 1 / (EFFICIENCY * tflop_per_s),
        "depthwise": DEPTHWISE_LANES / tflop_per_s,
        "scores": mb_ms,  # fused attention keeps tiles of them
        "norm": NORM_PASSES * mb_ms,
        "moved": mb_ms,
        "activations": mb_ms / 2,
        "elementwise_mb": mb_ms,
    }
    return from_medians(medians, dict.fromkeys(FAMILIES, 1.0))


def _above_zero(rate: float, name: str) -> float:
    if not rate > 0:
        raise InputError(f"rates: {name} must be above 0; found {rate}")
    return rate
