"""What `nas profile --plan` says: which rows would be measured, and about how long that takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from nas.calibration.profiling import Planned

# a format of models -> what measures them, and what its reports are called
MEASURED_BY = {
    "coreml": ("Xcode", "REPORT.mlperf ..."),
    "onnx": ("onnxruntime_perf_test -s -I MODEL > NAME.txt, or AI Hub", "NAME.txt ..."),
}


def show(planned: "Planned", about_s: float | None, *, json: bool) -> None:
    """Print a plan: in short for people, the whole as a document."""
    blocks = [row for row in planned.rows if "slot" in row]
    networks = [row for row in planned.rows if "slot" not in row]
    if json:
        print_json({"blocks": blocks, "networks": networks, "about_s": about_s})
        return
    if blocks:
        print_table(["slots", ">rows of each", "operators, with their sizes"], _slots(blocks))
        chains = sorted({row["repeats"] for row in blocks})
        if len(chains) > 1:
            print_line(f"blocks stand in chains of {' and '.join(map(str, chains))}")
    if networks:
        print_line(f"{len(networks)} networks, from which most is to be learned of all others")
    jobs = len({row["id"] for row in planned.rows})
    print_line(
        f"{len(planned.rows)} rows of {jobs} measurements (equal shapes are measured once)"
        f"{duration(about_s)}; --out writes the rows"
    )


@dataclass(frozen=True)
class Models:
    """Where models are written to be measured elsewhere, and in which format."""

    folder: Path
    format: str


def write(
    out: Path, rows: list[dict[str, Any]], models: Models | None = None, *, json: bool
) -> None:
    """Write a plan as the table that it will be: without the times."""
    from nas.tables import write_rows

    write_rows(out, rows)
    if json:
        packages = str(models.folder) if models else None
        print_json({"table": str(out), "rows": len(rows), "packages": packages})
        return
    print_line(f"{len(rows)} rows: {out}")
    if models is None:
        print_line("measure each, add the column latency_ms, and calibrate")
        return
    by, reports = MEASURED_BY[models.format]
    print_line(f"measure the models in {models.folder} by {by}, and import its reports with")
    print_line(f"  nas import {reports} --choices {out} --out TABLE")


def duration(seconds: float | None) -> str:
    """As people say it; empty if it is not known."""
    if seconds is None:
        return ""
    return f", about {seconds:.0f} s" if seconds < 120 else f", about {seconds / 60:.0f} min"


def _slots(blocks: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    """What is measured for each slot, by operator; slots of equal rows stand together."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in blocks:
        rows.setdefault(row["slot"], []).append(row)
    alike: dict[tuple[int, str], list[str]] = {}
    for slot, each in rows.items():
        alike.setdefault((len(each), _operators(each)), []).append(slot)
    return [(", ".join(slots), count, said) for (count, said), slots in alike.items()]


def _operators(rows: list[dict[str, Any]]) -> str:
    sizes: dict[str, set[str]] = {}
    for row in rows:
        sizes.setdefault(row["option"].partition("(")[0], set()).add(row["option"])
    return ", ".join(f"{operator} {len(each)}" for operator, each in sizes.items())
