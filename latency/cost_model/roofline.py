"""Roofline model: bound an operation's latency by a device's peak rates.

Each operation takes the larger of its arithmetic and its memory traffic, and a launch (Williams,
Waterman and Patterson 2009, "Roofline: an insightful visual performance model").
"""

from dataclasses import asdict, dataclass

from latency.workload.workload import Workload
from search_spaces import InputError
from search_spaces.files.document import Json, finite


@dataclass(frozen=True)
class Roofline:
    """Peak arithmetic rate, memory bandwidth and launch overhead of a data sheet."""

    gflop_per_s: float
    gb_per_s: float
    launch_ms: float

    def __post_init__(self) -> None:
        if not (self.gflop_per_s > 0 and self.gb_per_s > 0 and self.launch_ms >= 0):
            raise InputError(f"rates must be positive; found {asdict(self)}")

    def latency_ms(self, workload: Workload) -> float:
        """Sum the rooflines of a workload's operations."""
        total = 0.0
        for operation in workload.operations:
            arithmetic_ms = operation.flops / self.gflop_per_s / 1e6
            traffic = operation.bytes_moved + operation.weight_bytes
            traffic_ms = traffic / self.gb_per_s / 1e6
            total += operation.count * (self.launch_ms + max(arithmetic_ms, traffic_ms))
        return total

    def to_json(self) -> Json:
        """As a device's document has it: the three rates."""
        return asdict(self)

    @staticmethod
    def from_json(entry: Json, where: str) -> "Roofline":
        """Read a roofline out of a document; InputError where a rate is missing or not positive."""
        names = ("gflop_per_s", "gb_per_s", "launch_ms")
        return Roofline(**{name: finite(entry.get(name), f"{where}, {name}") for name in names})
