"""Qualcomm AI Hub's profile jobs: the JSON that `ProfileJob.download_profile(FILE)` writes.

`execution_summary` has times in microseconds, `execution_detail` a layer each with its compute
unit (CPU, GPU, NPU) and, where the runtime tells, its time. What a job's service answers becomes
this document in qai_hub's client (qai_hub/client.py of 0.56.0, `_profile_pb_to_python_dict`, and
its test of that); it has no version of its own, and names neither model nor device.

`estimated_inference_time` may be that of the quickest call, so the median of
`all_inference_times` is taken where a job has them; the first of them is cold.
"""

from typing import Any

from latency.measurement.measurement import CONTRADICTION, Timing
from latency.sources.fields import Field
from latency.sources.placement import KIND, Placement
from latency.sources.report_files import name_of
from search_spaces import InputError

SOURCE = "Qualcomm AI Hub profile job"
MEND = "download the profile of the job again (`download_profile`)"
UNITS = ("CPU", "GPU", "NPU", "UNSPECIFIED")  # COMPUTE_UNIT_... of its interface
HOUR_US = 3600e6


def is_profile_job(document: Any) -> bool:
    """Whether a JSON document is meant to be one."""
    return isinstance(document, dict) and "execution_summary" in document


def profile_job_rows(document: Field) -> list[dict[str, Any]]:
    """The row of a job: one network on one device. Its name is that of the file.

    Raises:
        InputError: names the file, the field, and the mend; nothing is half-read.
    """
    summary = document["execution_summary"]
    estimate = summary["estimated_inference_time"]
    estimate_us = estimate.number(0, HOUR_US)
    if estimate_us <= 0:
        raise estimate.wrong("a time above 0")
    samples_us = _samples_us(summary)
    timing = Timing.of([us / 1e3 for us in samples_us or [estimate_us]])
    _check_unit(document, estimate_us / 1e3, timing.latency_ms, "calls")
    placed, worked_us, units = _placement(document["execution_detail"])
    if worked_us:
        _check_layers(document, worked_us, timing.latency_ms * 1e3)
    how = "" if samples_us else "latency=estimate"
    return [
        {
            "id": name_of(document.file.name),
            **timing.columns(),
            "compute_unit": ", ".join(units),
            "source": SOURCE,
            "notes": "; ".join(filter(None, [placed.text if units else "", how])),
        }
    ]


def _samples_us(summary: Field) -> list[float]:
    """The times of warm calls; none where a job lists none."""
    listed = summary.get("all_inference_times")
    entries = list(listed.entries()) if listed is not None else []
    found = [entry.number(0, HOUR_US) for entry in entries]
    for entry, taken_us in zip(entries, found, strict=True):
        if taken_us <= 0:
            raise entry.wrong("a time above 0")
    return found[1:] if len(found) > 1 else found


def _placement(layers: Field) -> tuple[Placement, float, list[str]]:
    """Where the layers ran, what they took together in us, and the units that ran any."""
    costs: list[tuple[str, float]] = []
    kinds, units = [], set()
    for layer in layers.entries():
        unit, kind = layer["compute_unit"], layer["type"]
        name = unit.text().upper()
        if name not in UNITS:
            raise unit.wrong(f"one of {', '.join(UNITS)}")
        if not KIND.fullmatch(kind.text()):
            raise kind.wrong("the type of a layer")
        taken = layer.get("execution_time")
        costs.append((name.lower(), taken.number(0, HOUR_US) if taken is not None else 0.0))
        kinds.append(kind.text())
        units.add(name)
    worked_us = sum(cost for _, cost in costs)
    if not worked_us:  # times of layers are not known: shares of how many there are
        costs = [(unit, 1.0) for unit, _ in costs]
    return Placement.of(costs, kinds), worked_us, sorted(units)


def _check_unit(document: Field, estimate_ms: float, latency_ms: float, of: str) -> None:
    ratio = estimate_ms / latency_ms
    if not 1 / CONTRADICTION < ratio < CONTRADICTION:
        raise InputError(
            f"{document.file}: field 'execution_summary.estimated_inference_time' is {ratio:,.3g} "
            f"times what the {of} took, so their units differ; {MEND}"
        )


def _check_layers(document: Field, worked_us: float, latency_us: float) -> None:
    if worked_us > CONTRADICTION * latency_us:
        raise InputError(
            f"{document.file}: the layers of 'execution_detail' take {worked_us / latency_us:,.3g} "
            f"times as long as a call, so their units differ; {MEND}"
        )
