"""The outcome of the main job in words, and what the measurements say."""

from pathlib import Path
from typing import Any

from nas.costs.part_rows import parts_in_words
from nas.pipeline.contract import Told
from nas.pipeline.summary import began_in_words
from nas.run.looks import seen_in_words
from nas.temporal.learned import INHERITED

DRIFTED = 0.05


def told(summary: dict[str, Any], out: Path) -> Told:
    """What the command line prints."""
    rows = tuple(
        (
            row["network"],
            row["layout"],
            f"{row['test_loss']:.4f}",
            f"{row['predicted_ms']:.2f}",
            f"{row['measured_ms']:.2f}" if row["measured_ms"] else "",
        )
        for row in summary["compared"]
    )
    columns = ("network", "layout", ">test loss", ">ms a call", ">measured")
    return Told(columns, rows, tuple(_lines(summary, out)))


def _lines(summary: dict[str, Any], out: Path) -> list[str]:
    pipeline = summary["pipeline"]
    allowed = f" of {summary['budget_ms']:.5g} allowed" if summary["budget_ms"] else ""
    first = (
        f"a clip: {summary['latency_ms']:.5g} ms predicted{allowed}, 90% bounds "
        f"{pipeline['low_ms']:.5g} to {pipeline['high_ms']:.5g}; {summary['device']}: "
        f"{summary['device_status']}"
    )
    lines = [first]
    if parts := parts_in_words(pipeline):
        lines.append(parts)
    if summary["weights"] != INHERITED:
        lines.append(f"weights of the bundle: {summary['weights']}")
    if summary["published"]:
        found = ", ".join(f"{row['latency_ms']:.0f}" for row in summary["published"]["layouts"])
        lines.append(
            f"layouts of the published kind: {found} ms predicted, beside "
            f"{summary['published']['latency_ms']:.0f} ms published; a check, not a fit"
        )
    lines += [summary["verdict"], *began_in_words(summary)]
    if seen := seen_in_words(summary["seen"]):
        lines.append(f"networks that the search saw: {seen}")
    if asked := summary["asked"]:
        lines.append(
            f"{asked['what']} found of those asked for: {asked['found']['value']:.0%} in generated "
            f"clips, {asked['data']['value']:.0%} in the data's own"
        )
    race = summary.get("finalists")
    if race and not race["decided"]:
        lines.append(
            f"{race['clips']} more clips did not tell the winner from all others; the report says "
            "how they stand"
        )
    return [*lines, f"report: {out / 'report.html'}", f"bundle: {out / 'bundle'}"]


def drift(compared: list[dict[str, Any]], drifted: dict[str, Any] | None) -> str | None:
    """How the machine of the last measurements differs from the one that was calibrated, in words.

    None where nothing was measured.

    Args:
        compared: networks with their predicted and measured ms.
        drifted: what networks of the calibration say that were measured again
            (`nas.temporal.anchors.Drift`).
    """
    measured = {row["layout"]: row for row in compared if row["measured_ms"]}
    if not measured:
        return None
    rows = measured.values()
    ratio, again = (drifted["ratio"], drifted["anchors"]) if drifted else (1.0, 0)
    inside = sum(row["low_ms"] <= row["measured_ms"] <= row["high_ms"] for row in rows)
    said = (
        f"Measured after the search, all together: {inside} of {len(rows)} are inside their 90% "
        "bounds."
    )
    if abs(ratio - 1) < DRIFTED:
        return said
    like_then = [(row["measured_ms"] / ratio, row["same_hour_ms"]) for row in rows]
    inside = sum(low_ms <= ms <= high_ms for ms, (low_ms, high_ms) in like_then)
    return (
        f"{said} {again} networks that were measured when this machine was calibrated take "
        f"{ratio:.2f} times as long as then. The measured figures divided by that, {inside} of "
        f"{len(rows)} are inside the bounds of the hour of the calibration."
    )
