"""The parts of a pipeline one by one: how long, how much memory, and where the figures come from.

Parts run one after another, so that the pipeline needs as much memory as the part that needs most.
"""

from collections.abc import Iterable
from typing import Any

from nas.costs.fixed_parts import FixedPart
from nas.costs.predicted_parts import PredictedPart


def part_rows(parts: Iterable[FixedPart]) -> list[dict[str, Any]]:
    """What runs beside the network, for JSON and for tables; None where nobody knows."""
    return [_row(part) for part in parts]


def _row(part: FixedPart) -> dict[str, Any]:
    known = part if isinstance(part, PredictedPart) else None
    low_ms, high_ms = part.bounds_ms
    return {
        "name": part.name,
        "latency_ms": part.latency_ms,
        "low_ms": low_ms,
        "high_ms": high_ms,
        "kind": part.kind,
        "source": part.source,
        "calls": known.calls if known else None,
        "memory_mb": known.memory_mb if known else None,
        "weights_mb": known.weights_mb if known else None,
    }


def most_memory(pipeline: dict[str, Any]) -> tuple[str, float] | None:
    """The part of a summary's pipeline that needs most memory, and how much; None: not known."""
    known = {"the network": pipeline["network_mb"]}
    known |= {f"the {part['name']}": part["memory_mb"] for part in pipeline["parts"]}
    found = {name: mb for name, mb in known.items() if mb is not None}
    return max(found.items(), key=lambda each: each[1]) if found else None


def parts_in_words(pipeline: dict[str, Any]) -> str | None:
    """A summary's parts in a line, and what the pipeline needs at most; None without parts."""
    if not pipeline["parts"]:
        return None
    said = ", ".join(
        f"{part['name']} {part['latency_ms']:.4g} ms ({part['kind']})" for part in pipeline["parts"]
    )
    line = f"of these, beside the network (predicted): {said}"
    most = most_memory(pipeline)
    return line if most is None else f"{line}; {most[0]} needs most memory, {most[1]:.0f} MB"
