"""`nas costs --part`: a whole pipeline on a device, part by part, before anything is searched."""

from typing import Any

from nas.cli.output import print_line, print_table
from nas.costs.block_costs import BlockCosts
from nas.costs.limits import Budget
from nas.costs.part_rows import part_rows
from nas.costs.resolve import resolve


def pipeline_of(
    costs: BlockCosts, parts: list[str], steps: int, memory_mb: float | None
) -> dict[str, Any]:
    """The parts, and all steps of the fastest network, each with bounds."""
    from nas.costs.fixed_parts import parse_part

    given = tuple(parse_part(each) for each in parts)
    budget = Budget(None, memory_mb=memory_mb, steps=steps, parts=given)
    target = resolve(budget, costs).targets[0]
    call, (low_ms, high_ms) = costs.network_ms(costs.fastest), target.fixed_bounds_ms
    return {
        "steps": steps,
        "parts": part_rows(target.parts),
        "network": {
            "network": costs.describe(costs.fastest),
            "latency_ms": steps * call.latency_ms,
            "low_ms": steps * call.low_ms,
            "high_ms": steps * call.high_ms,
            "memory_mb": costs.memory_mb(costs.fastest),
        },
        "latency_ms": steps * call.latency_ms + target.fixed_ms,
        "low_ms": steps * call.low_ms + low_ms,
        "high_ms": steps * call.high_ms + high_ms,
    }


def print_pipeline(found: dict[str, Any]) -> None:
    """As a table, and what the whole takes."""
    rows = [
        (
            part["name"],
            f"{part['latency_ms']:.4g}",
            f"{part['low_ms']:.4g} to {part['high_ms']:.4g}" if part["calls"] else "",
            "" if part["memory_mb"] is None else f"{part['memory_mb']:.0f}",
            "" if part["weights_mb"] is None else f"{part['weights_mb']:.0f}",
            part["source"] if part["calls"] else f"{part['kind']}: {part['source']}",
        )
        for part in found["parts"]
    ]
    network = found["network"]
    rows.append(
        (
            f"fastest network, {found['steps']} steps",
            f"{network['latency_ms']:.4g}",
            f"{network['low_ms']:.4g} to {network['high_ms']:.4g}",
            f"{network['memory_mb']:.0f}",
            "",
            f"predicted: {network['network']}",
        )
    )
    print_table(["part", ">ms", ">90% bounds", ">MB", ">of weights", "source"], rows)
    print_line(
        f"a clip by the fastest network: {found['latency_ms']:.5g} ms predicted, 90% bounds "
        f"{found['low_ms']:.5g} to {found['high_ms']:.5g}"
    )
