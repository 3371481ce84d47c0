"""Xcode's Core ML performance reports: a `.mlperf` bundle with `report.json`, or that file alone.

Only what a table needs is taken. A report also holds serial numbers, the device's ID and the name
its owner gave it, and paths of the Mac it was made on: none of that is read.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from latency.measurement.measurement import Timing
from latency.sources.fields import Field, read_json
from latency.sources.placement import Placement
from search_spaces import InputError

SOURCE = "Xcode performance report"
MEND = "export the report again (Xcode, the model's Performance tab)"
NEWEST_JSON = 1
COMPUTE_UNITS = ("cpu-only", "cpu-and-gpu", "all", "cpu-and-ne")  # as MLComputeUnits numbers them
DEVICE_TYPES = {"neuralEngine": "ne", "gpu": "gpu", "cpu": "cpu"}
MODEL_SUFFIXES = (".mlpackage", ".mlmodelc", ".mlmodel")
HOUR_S = 3600.0
MANY = 10**9


def read_report(path: Path) -> list[dict[str, Any]]:
    """The row of a report: one model on one device.

    Raises:
        InputError: names the file, the field, and the mend; nothing is half-read.
    """
    file = path / "report.json" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{file}: no such file; a performance report is a .mlperf bundle with it")
    report = read_json(file, MEND)
    if report["jsonVersion"].whole(0, MANY) > NEWEST_JSON:
        raise InputError(
            f"{file}: field 'jsonVersion' is newer than the {NEWEST_JSON} that this version of "
            "temporal-nas reads; upgrade temporal-nas"
        )
    device, model, results = report["deviceInfo"], report["modelMetadata"], report["deviceResults"]
    samples_ms, announced = _samples_ms(results)
    timing = Timing.of(samples_ms)
    found = _placement(results)
    notes = found.text if found else ""
    if len(samples_ms) < announced:
        notes = "; ".join(filter(None, [notes, f"samples={len(samples_ms)} of {announced}"]))
    return [
        {
            "id": _model_name(model["fileName"]),
            **timing.columns(),
            "device": device["modelName"].text(),
            "compute_unit": COMPUTE_UNITS[report["computeUnit"].whole(0, len(COMPUTE_UNITS) - 1)],
            "os": device["osNameAndVersionWithoutBuildNumber"].text(),
            "precision": _precision(model),
            "source": SOURCE,
            "notes": notes,
        }
    ]


def _samples_ms(results: Field) -> tuple[list[float], int]:
    """The samples without the first of each experiment, which is cold; and how many there are.

    An experiment makes `predictionCount` predictions; their samples stand one after another.
    """
    config = results["perfRunConfig"]
    each = config["predictionCount"].whole(1, MANY)
    experiments = config["experimentIterations"].whole(1, MANY)
    listed = results["predict"]["samples"]
    found = [sample.number(0, HOUR_S) * 1e3 for sample in listed.entries()]
    if len(found) > each * experiments:
        raise InputError(
            f"{listed.file}: field {listed.name!r} has {len(found)} samples, and {experiments} "
            f"experiments of {each} were run; {MEND}"
        )
    warm = [sample for index, sample in enumerate(found) if index % each]
    if not warm or min(warm) <= 0:
        raise InputError(
            f"{listed.file}: field {listed.name!r} has no times of warm predictions (the first of "
            f"each experiment is cold); {MEND}"
        )
    return warm, (each - 1) * experiments


def _placement(results: Field) -> Placement | None:
    """Where the operations prefer to run; None where the report does not list any."""
    structure = results.get("modelStructure")
    program = structure.get("program") if structure is not None else None
    if program is None:
        return None
    costs, kinds = [], []
    for operation in _operations(program["_0"]["functions"]):
        kind = operation["operatorName"]
        if not re.fullmatch(r"[A-Za-z0-9_.]+", kind.text()):
            raise kind.wrong("the name of an operation")
        kinds.append(kind.text())
        cost, usage = operation.get("cost"), operation.get("deviceUsage")
        if cost is not None and usage is not None:
            weight = cost["weight"].number(0, 1)
            costs.append((_device_type(usage["preferred"]["deviceType"]), weight))
    return Placement.of(costs, kinds)


def _operations(functions: Field) -> Iterator[Field]:
    """Every operation of every function, those in the branches of others too."""
    blocks = [function["block"] for function in functions.members()]
    while blocks:
        for operation in blocks.pop()["operations"].entries():
            yield operation
            inner = operation.get("blocks")
            blocks += inner.entries() if inner is not None else ()


def _device_type(field: Field) -> str:
    named = [DEVICE_TYPES[name] for name in DEVICE_TYPES if field.get(name) is not None]
    if len(named) != 1:
        raise field.wrong(f"one of {', '.join(DEVICE_TYPES)}")
    return named[0]


def _model_name(field: Field) -> str:
    """The model's name without folders and suffix."""
    name = re.split(r"[/\\]", field.text())[-1]
    for suffix in MODEL_SUFFIXES:
        name = name.removesuffix(suffix)
    if not name:
        raise field.wrong("the name of a model")
    return name


def _precision(model: Field) -> str:
    """What the model computes in, by the metadata that its compiler wrote; empty if unknown."""
    raw = model.get("rawMetadata")
    if raw is None:
        return ""
    try:
        metadata = json.loads(str(raw.value))
        text = str(metadata[0]["computePrecision"])
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""  # it is the compiler's, not the report's: absent or cut off, nothing is lost
    return ", ".join(_floats(re.findall(r"\b(?:B?Float)\d+\b", text)))


def _floats(names: Iterable[str]) -> list[str]:
    return sorted({name.lower() for name in names})
