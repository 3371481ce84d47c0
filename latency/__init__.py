"""Latency: from a device's measurements to predictions with bounds.

Knows no supernet: it is given modules, workloads and measured times. What is exported here is the
public API.
"""

from typing import Any

from latency.device import Device, Prediction, Validation, calibrate, read_device
from latency.measurement import Measurement, Timing
from latency.roofline import Roofline
from latency.shipped import load_device, shipped
from latency.workload import Operation, Workload, concatenate, from_choices

__all__ = [
    "Device",
    "Measurement",
    "Operation",
    "Prediction",
    "Roofline",
    "Timing",
    "Validation",
    "Workload",
    "calibrate",
    "concatenate",
    "from_choices",
    "load_device",
    "read_device",
    "shipped",
    "trace",
]


def __getattr__(name: str) -> Any:
    """`latency.trace` imports torch, so it loads when it is first asked for."""
    if name == "trace":
        from latency.tracing import trace

        return trace
    raise AttributeError(f"module 'latency' has no attribute {name!r}")
