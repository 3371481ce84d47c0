"""Latency: from a device's measurements to predictions with bounds.

Knows no supernet: it is given modules, workloads and measured times. What is exported here is the
public API.
"""

from typing import Any

from latency.borrowing import Source, Sources, learn_sources
from latency.calibration import calibrate
from latency.device import Device, read_device
from latency.encoded import EncodedPredictor
from latency.measurement import Measurement, Timing
from latency.package import read_package
from latency.roofline import Roofline
from latency.selection import worth_measuring
from latency.shipped import load_device, shipped
from latency.validation import Prediction, Seen, Validation
from latency.workload import Operation, Workload, concatenate, from_choices

__all__ = [
    "Device",
    "EncodedPredictor",
    "Measurement",
    "Operation",
    "Prediction",
    "Roofline",
    "Seen",
    "Source",
    "Sources",
    "Timing",
    "Validation",
    "Workload",
    "calibrate",
    "concatenate",
    "from_choices",
    "learn_sources",
    "load_device",
    "read_device",
    "read_package",
    "shipped",
    "trace",
    "traced",
    "worth_measuring",
]


def __getattr__(name: str) -> Any:
    """What traces modules imports torch, so it loads when it is first asked for."""
    if name == "trace":
        from latency.tracing import trace

        return trace
    if name == "traced":
        from latency.cache import traced

        return traced
    raise AttributeError(f"module 'latency' has no attribute {name!r}")
