"""Unit costs: log-normal priors on the ms that a unit of each kind of work takes on a device.

A cost is positive and known to a factor: a median, and a standard deviation of the logarithm (0.7
is a factor of two either way). Costs are correlated where one reason moves several (a faster
clock). Data sheets give the medians before anything is measured; a fit narrows them
(`latency.cost_model.analytical`); a neighbouring chip's fit, scaled by data sheets, is a better
prior than a data sheet.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from latency.cost_model.work_amounts import INDEX, WORK_KINDS, Vector
from search_spaces import InputError
from search_spaces.files.document import Json, finite

# Data sheet -> medians, for a fused accelerator (a Neural Engine). In milliseconds a unit, of the
# peak in TFLOP/s and the memory's rate in GB/s (1/TFLOP/s is ms a GFLOP, 1/GB/s is ms a MB).
EFFICIENCY = 0.65  # of the peak that dense products reach in networks
OVERLAP = 0.7  # weights stream while products run: each shows about 0.7 of its own time in a sum
PRODUCT_SLOWDOWN = 1.0  # products of matrices run on the same array
ATTENTION_SLOWDOWN = 3.0  # those of attention: a fourth to a twelfth (published blocks), or less
DEPTHWISE_LANES = 10.0  # a depthwise product keeps about one lane in ten busy
SCORE_PASSES = 4.0  # scores are written, read and written by softmax, and read again
NORM_PASSES = 2.0  # statistics first, then the division
ON_CHIP = 10.0  # on-chip memory is about ten times as fast
FUSED = 50.0  # elementwise operations run inside the one before them
OPERATION_MS = 0.0015  # 1 us on the fastest known (M6 chains), at a slower clock
ELEMENTWISE_MS = 1e-5
SWITCH_MS = 0.25  # to another engine and back, 0.125 ms each (shared studies of M4 and M6)
# Spreads: what a data sheet says of a kind of work, to a factor of exp(spread) at one deviation.
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
    "products": 0.35,  # beside what dense products leave open, as attention's
    "attention": 0.7,
}
AS_DENSE = ("products", "attention")  # run on the same array: what slows one slows all


LARGEST_VARIANCE = 25.0  # of a cost's logarithm: known to a factor of e^5
LEAST_MS = 1e-9


@dataclass(frozen=True)
class UnitCosts:
    """Log-normal unit costs of WORK_KINDS in ms: medians, and covariance of the logarithms."""

    medians: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        covariance = np.array(self.covariance, dtype=float)
        if covariance.shape != (len(WORK_KINDS), len(WORK_KINDS)) or len(self.medians) != len(
            WORK_KINDS
        ):
            raise InputError(
                f"unit costs must be of the {len(WORK_KINDS)} kinds of work {list(WORK_KINDS)}"
            )
        if not (np.isfinite(covariance).all() and np.allclose(covariance, covariance.T)):
            raise InputError("unit costs: the covariance is not symmetric")
        if np.abs(covariance).max() > LARGEST_VARIANCE or np.linalg.eigvalsh(covariance)[0] <= 0:
            raise InputError(
                f"unit costs: variances must be above 0 and at most {LARGEST_VARIANCE}"
            )
        if not all(LEAST_MS <= median <= 1 / LEAST_MS for median in self.medians):
            raise InputError(f"unit costs in ms must be in {LEAST_MS} to {1 / LEAST_MS}")

    @property
    def log_medians(self) -> Vector:
        """Logarithms of the medians, (kinds,)."""
        logs: Vector = np.log(np.array(self.medians))
        return logs

    @property
    def log_covariance(self) -> Vector:
        """Covariance of the logarithms, (kinds, kinds)."""
        return np.array(self.covariance)

    @property
    def spreads(self) -> dict[str, float]:
        """Standard deviation of each kind's log cost."""
        return dict(zip(WORK_KINDS, np.sqrt(np.diag(self.log_covariance)).tolist(), strict=True))

    def scaled(
        self, speedups: Mapping[str, float], spread: float = 0.15, common: float = 0.2
    ) -> "UnitCosts":
        """Scale to a chip that is `speedups` times as fast, per kind; 1 where none is given.

        A ratio of data sheets is right to a factor: `spread` is that of each kind alone,
        `common` that of all together.
        """
        factors = np.array([speedups.get(kind, 1.0) for kind in WORK_KINDS])
        wider = np.eye(len(WORK_KINDS)) * spread**2 + common**2
        return unit_costs_of(self.log_medians - np.log(factors), self.log_covariance + wider)

    def with_cost(self, kind: str, median: float, spread: float) -> "UnitCosts":
        """Replace one kind's cost by one that is independent of the others."""
        index = INDEX[kind]
        medians, covariance = self.log_medians, self.log_covariance
        medians[index] = np.log(median)
        covariance[index, :] = covariance[:, index] = 0.0
        covariance[index, index] = spread**2
        return unit_costs_of(medians, covariance)

    def to_json(self) -> Json:
        """As a device's document has them: medians by name, and the covariance's rows."""
        medians = dict(zip(WORK_KINDS, self.medians, strict=True))
        return {"ms_per_unit": medians, "covariance": [list(row) for row in self.covariance]}

    @staticmethod
    def from_json(entry: object, where: str) -> "UnitCosts":
        """Read unit costs out of a document.

        Raises:
            InputError: a kind is missing, a number is none, or no covariance.
        """
        if not isinstance(entry, dict) or not isinstance(entry.get("ms_per_unit"), dict):
            raise InputError(f"{where}: expected unit costs with ms_per_unit and covariance")
        found, rows = entry["ms_per_unit"], entry.get("covariance")
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise InputError(f"{where}, covariance: expected rows of numbers")
        medians = tuple(finite(found.get(f), f"{where}, ms_per_unit, {f}") for f in WORK_KINDS)
        if [len(row) for row in rows] != [len(WORK_KINDS)] * len(WORK_KINDS):
            raise InputError(f"{where}, covariance: expected {len(WORK_KINDS)} rows and columns")
        covariance = tuple(tuple(finite(v, f"{where}, covariance") for v in row) for row in rows)
        return UnitCosts(medians, covariance)


def unit_costs_of(log_medians: Vector, log_covariance: Vector) -> UnitCosts:
    """Make unit costs of arrays; rounding must not leave the covariance asymmetric."""
    covariance = (log_covariance + log_covariance.T) / 2
    return UnitCosts(
        tuple(np.exp(log_medians).tolist()), tuple(tuple(row) for row in covariance.tolist())
    )


def independent_costs(
    medians: Mapping[str, float], spreads: Mapping[str, float] = SPREADS
) -> UnitCosts:
    """Make log-normal costs with the medians and spreads given, independent but for AS_DENSE."""
    if not all(medians[kind] > 0 for kind in WORK_KINDS):
        raise InputError(f"unit costs must be above 0; found {dict(medians)}")
    covariance = np.diag([spreads[kind] ** 2 for kind in WORK_KINDS])
    for kind in AS_DENSE:
        covariance[INDEX[kind], INDEX[kind]] += spreads["dense"] ** 2
    for kind, other in permutations(("dense", *AS_DENSE), 2):
        covariance[INDEX[kind], INDEX[other]] = spreads["dense"] ** 2
    return unit_costs_of(np.log([medians[kind] for kind in WORK_KINDS]), covariance)


def accelerator_prior(tflop_per_s: float, gb_per_s: float, call_ms: float) -> UnitCosts:
    """Set the data-sheet prior of an accelerator that compiles networks whole (a Neural Engine).

    Args:
        tflop_per_s: peak of dense products in the precision that it computes in.
        gb_per_s: what it streams weights at.
        call_ms: what one run takes around the network.
    """
    mb_ms = 1 / _above_zero(gb_per_s, "gb_per_s")
    tflop_per_s = _above_zero(tflop_per_s, "tflop_per_s")
    return independent_costs(
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
            "products": PRODUCT_SLOWDOWN * OVERLAP / (EFFICIENCY * tflop_per_s),
            "attention": ATTENTION_SLOWDOWN * OVERLAP / (EFFICIENCY * tflop_per_s),
        }
    )


def eager_prior(tflop_per_s: float, gb_per_s: float, operation_ms: float) -> UnitCosts:
    """Set the prior of eager execution: one operation after another (torch on a CPU or a GPU).

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
        "products": 0.35 / (EFFICIENCY * tflop_per_s),
        "attention": 1 / (EFFICIENCY * tflop_per_s),
    }
    return independent_costs(medians, dict.fromkeys(WORK_KINDS, 1.0))


def _above_zero(rate: float, name: str) -> float:
    if not rate > 0:
        raise InputError(f"unit costs: {name} must be above 0; found {rate}")
    return rate
