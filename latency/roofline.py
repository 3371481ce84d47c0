"""The roofline: what an operation must cost at a device's rates.

Each operation takes the larger of its arithmetic and its traffic, and a launch (Williams,
Waterman and Patterson 2009, "Roofline: an insightful visual performance model").
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from latency.measurement import Measurement
from latency.workload import Workload
from search_spaces import InputError
from search_spaces.document import Json, finite


@dataclass(frozen=True)
class Roofline:
    """A device's rates; from facts, or fitted to measured blocks."""

    gflop_per_s: float
    gb_per_s: float
    launch_ms: float

    def __post_init__(self) -> None:
        if not (self.gflop_per_s > 0 and self.gb_per_s > 0 and self.launch_ms >= 0):
            raise InputError(f"rates must be positive; found {asdict(self)}")

    def latency_ms(self, workload: Workload) -> float:
        """The sum over the operations."""
        total = 0.0
        for operation in workload.operations:
            arithmetic_ms = operation.flops / self.gflop_per_s / 1e6
            traffic = operation.bytes_moved + operation.weight_bytes
            traffic_ms = traffic / self.gb_per_s / 1e6
            total += operation.count * (self.launch_ms + max(arithmetic_ms, traffic_ms))
        return total

    def to_json(self) -> Json:
        """The three rates."""
        return asdict(self)

    @staticmethod
    def from_json(entry: Json, where: str) -> "Roofline":
        """Rates out of a document; InputError where one is missing or no positive number."""
        names = ("gflop_per_s", "gb_per_s", "launch_ms")
        return Roofline(**{name: finite(entry.get(name), f"{where}, {name}") for name in names})


def fit(measurements: Sequence[Measurement]) -> Roofline | None:
    """The rates that best explain measurements in ratio; None where there is too little to fit."""
    from scipy.optimize import least_squares

    sized = [m for m in measurements if m.workload.measurable]
    if len(sized) < 4:
        return None
    observed = np.log([m.latency_ms for m in sized])

    def residuals(log_rates: np.ndarray) -> np.ndarray:
        gflop_per_s, gb_per_s, launch_ms = np.exp(log_rates)
        roofline = Roofline(float(gflop_per_s), float(gb_per_s), float(launch_ms))
        predicted: np.ndarray = np.log([roofline.latency_ms(m.workload) for m in sized])
        return predicted - observed

    start = np.log([50.0, 10.0, 0.01])
    bounds = (np.log([1e-1, 1e-2, 1e-6]), np.log([1e7, 1e5, 1e2]))
    rates = np.exp(least_squares(residuals, start, bounds=bounds, loss="soft_l1").x)
    return Roofline(float(rates[0]), float(rates[1]), float(rates[2]))
