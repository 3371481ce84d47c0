"""The outcome of a task's search in words."""

from pathlib import Path
from typing import Any

from nas.costs.part_rows import parts_in_words
from nas.pipeline.contract import Told
from nas.pipeline.summary import began_in_words
from nas.run.looks import seen_in_words
from search_spaces.tables.columns import in_words


def told(summary: dict[str, Any], out: Path) -> Told:
    """What the command line prints."""
    names = list(summary["values"])
    found = [name for name in names if "latency" not in name]
    has_device = summary["device"] is not None
    columns = ["network", "choices", *(f">{in_words(name)}" for name in found)]
    columns += [">ms a call", ">90% bounds"] if has_device else []
    rows = []
    for row in summary["compared"]:
        values = row["values"]
        cells = [f"{values[name]:.5g}" if values else "" for name in found]
        if has_device:
            cells += [f"{row['predicted_ms']:.4g}", f"{row['low_ms']:.4g} to {row['high_ms']:.4g}"]
        rows.append((row["network"], row["layout"], *cells))
    return Told(tuple(columns), tuple(rows), tuple(_lines(summary, out)))


def _lines(summary: dict[str, Any], out: Path) -> list[str]:
    lines = []
    if summary["device"] is not None:
        pipeline, steps = summary["pipeline"], summary["steps"]
        allowed = f" of {summary['budget_ms']:.5g} allowed" if summary["budget_ms"] else ""
        counts = " (its upper bound counts)" if summary["limit_bound"] == "upper" else ""
        what = f"{steps} steps" if steps > 1 else "the winner"
        lines.append(
            f"{what}: {summary['latency_ms']:.5g} ms predicted{allowed}{counts}, 90% bounds "
            f"{pipeline['low_ms']:.5g} to {pipeline['high_ms']:.5g}; {summary['device']}: "
            f"{summary['device_status']}"
        )
        if parts := parts_in_words(pipeline):
            lines.append(parts)
    if network := summary["network"]:
        lines.append(
            f"the winner: {network['parameters']:,} parameters, {network['gflops']:.4g} GFLOPs, "
            f"{network['memory_mb']:.4g} MB"
        )
    lines += [summary["verdict"], *began_in_words(summary)]
    if seen := seen_in_words(summary["seen"]):
        lines.append(f"networks that the search saw: {seen}")
    lines += [f"report: {out / 'report.html'}"]
    if why := summary.get("no_bundle"):
        lines.append(f"no bundle: {why}")
    elif summary["weights"]:
        lines.append(f"bundle: {out / 'bundle'}; weights: {summary['weights']}")
    else:
        lines.append(f"architecture: {out / 'architecture.json'}")
    return lines
