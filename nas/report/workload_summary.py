"""A workload in short: what it holds of each kind, and which operations cost most."""

import math
from dataclasses import dataclass

from latency import Device, Operation, Workload

SHOWN = 8


@dataclass(frozen=True)
class Kind:
    """All operations of one kind."""

    kind: str
    count: float
    gflops: float
    traffic_mb: float


@dataclass(frozen=True)
class Costly:
    """An operation, and about what it takes where the device knows costs by kind."""

    kind: str
    shape: tuple[int, ...]
    gflops: float
    traffic_mb: float
    latency_ms: float | None


def kinds(workload: Workload) -> list[Kind]:
    """Totals by kind, the most traffic first."""
    totals: dict[str, list[float]] = {}
    for operation in workload.operations:
        row = totals.setdefault(operation.kind, [0.0, 0.0, 0.0])
        row[0] += operation.count
        row[1] += operation.count * operation.flops / 1e9
        row[2] += operation.count * _traffic_mb(operation)
    found = [Kind(kind, *row) for kind, row in totals.items()]
    return sorted(found, key=lambda each: -each.traffic_mb)


def sizes(workload: Workload) -> dict[str, float]:
    """What it holds and does in all; weights and activations as wide as they were built."""
    return {
        "operations": len(workload.operations),
        "parameters": workload.parameters or 0,
        "gflops": workload.flops / 1e9,
        "weights_mb": workload.weight_bytes / 1e6,
        "peak_activations_mb": workload.peak_bytes / 1e6,
        "memory_mb": (workload.weight_bytes + workload.peak_bytes) / 1e6,
    }


def costliest(device: Device | None, workload: Workload) -> list[Costly]:
    """The operations that take longest; by traffic where the device does not tell."""
    found = [
        Costly(
            operation.kind,
            operation.shape,
            operation.count * operation.flops / 1e9,
            operation.count * _traffic_mb(operation),
            _latency_ms(device, operation, workload.number_bytes),
        )
        for operation in workload.operations
    ]
    return sorted(found, key=lambda c: (-(c.latency_ms or 0.0), -c.traffic_mb))[:SHOWN]


def operations_ms(device: Device | None, workload: Workload) -> float | None:
    """About what all operations take together; None where the device does not tell."""
    each = [_latency_ms(device, o, workload.number_bytes) for o in workload.operations]
    return None if None in each else math.fsum(ms for ms in each if ms is not None)


def _latency_ms(device: Device | None, operation: Operation, number_bytes: int) -> float | None:
    if device is None:
        return None
    alone = Workload(operation.kind, (operation,), number_bytes=number_bytes)
    return device.base_ms(alone) if device.analytical or device.roofline else None


def _traffic_mb(operation: Operation) -> float:
    return (operation.bytes_moved + operation.weight_bytes) / 1e6
