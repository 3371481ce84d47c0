"""`nas calibrate`: measurements to a device."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from latency import Device
    from nas.calibration_report import Judged


def calibrate(
    tables: Annotated[list[Path], typer.Argument(help="Tables of blocks, of networks, or both.")],
    out: options.OutFile,
    space: options.MaybeSpace = None,
    column: Annotated[str, typer.Option(help="The column that holds the latency.")] = "latency_ms",
    samples: Annotated[
        int | None,
        typer.Option(min=2, help="Use so many networks, chosen at random; the others judge."),
    ] = None,
    borrow: Annotated[
        str | None,
        typer.Option(
            help="Columns of other devices on the same networks, or in a table of their own: A,B."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The device's name; default: the file's.")
    ] = None,
    seed: options.Seed = 0,
    json: options.AsJson = False,
) -> None:
    """Make a device from measured tables, and a report of how well it predicts what it did not see.

    The report stands beside the device: my-phone.html beside my-phone.json.
    """
    from nas import calibration_report
    from nas.calibrating import calibrated, read

    lent = [each.strip() for each in (borrow or "").split(",") if each.strip()]
    if borrow is not None and not lent:
        raise InputError("--borrow names no column; give one or more, as pixel3_latency_ms")
    given = read(tables, space, column, lent)
    device, judged = calibrated(given, name or out.stem, samples, seed)
    device.save(out)
    report = out.with_suffix(".html")
    calibration_report.write(report, device, judged)
    if json:
        print_json(_summary(device, judged, out, report))
    else:
        _print(device, out, report)


def _summary(
    device: "Device", judged: "Sequence[Judged]", out: Path, report: Path
) -> dict[str, Any]:
    from dataclasses import asdict

    from nas import calibration_report

    validation = asdict(device.validation) if device.validation else None
    return {
        "device": str(out),
        "report": str(report),
        "validation": validation,
        **calibration_report.summary(judged),
    }


def _print(device: "Device", out: Path, report: Path) -> None:
    print_line(f"device: {out}")
    print_line(f"report: {report}")
    found = device.validation
    if found is None:
        print_line("no whole networks were given, so how well it predicts them is not known")
        return
    print_line(
        f"{found.networks} networks, {found.how}: "
        f"MAPE {found.mape_pct:.1f}%, Spearman {found.spearman:.3f}, "
        f"{found.within_bounds_share:.0%} inside the 90% bounds"
    )
