"""Latency: from a device's measurements to predictions with bounds.

Knows no supernet: it is given modules, workloads and measured times. What is exported here is the
public API.
"""

from typing import Any

from latency.coreml.package import read_package
from latency.cost_model.roofline import Roofline
from latency.measurement.measurement import Measurement, Timing
from latency.measurement.validation import Prediction, Seen, Validation
from latency.predictor.batch import EncodedPredictor
from latency.predictor.calibration import calibrate
from latency.predictor.device import Device, read_device
from latency.predictor.shipped import load_device, shipped
from latency.regression.experiment_design import worth_measuring
from latency.regression.transfer import Source, Sources, learn_sources
from latency.workload.workload import Operation, Workload, concatenate, from_choices

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
    "input_shapes",
    "learn_sources",
    "load_device",
    "read_device",
    "read_package",
    "shipped",
    "trace",
    "trace_built",
    "traced",
    "worth_measuring",
]


_LATE = {  # what traces modules imports torch, so it loads when it is first asked for
    "input_shapes": "latency.tracing.building",
    "trace": "latency.tracing.tracing",
    "trace_built": "latency.tracing.building",
    "traced": "latency.tracing.cache",
}


def __getattr__(name: str) -> Any:
    """Import the module that holds a public name."""
    import importlib

    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module 'latency' has no attribute {name!r}")
