"""`nas calibrate`: measurements to a device."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import options, tasks
from nas.cli.output import print_columns, print_json, print_line, print_note
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from latency import Device
    from nas.calibration.calibrating import Given
    from nas.calibration.residuals import Judged

MOST_LISTED = 5


def calibrate(
    tables: Annotated[list[Path], typer.Argument(help="Tables of blocks, of networks, or both.")],
    out: options.OutFile,
    space: options.MaybeSpace = None,
    task: tasks.Task = None,
    build: tasks.Build = None,
    shape: tasks.Shape = None,
    column: Annotated[
        str, typer.Option(help="The column of latencies, or of energies.")
    ] = "latency_ms",
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
    like: Annotated[
        str | None,
        typer.Option(help="A device like this one: what work costs starts from there."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The device's name; default: the file's.")
    ] = None,
    choice_columns: options.ChoiceColumns = None,
    seed: options.Seed = 0,
    json: options.AsJson = False,
) -> None:
    """Make a device from measured tables, and a report of how well it predicts what it did not see.

    The report stands beside the device: my-phone.html beside my-phone.json.
    """
    from latency import load_device
    from nas.calibration import report as calibration_report
    from nas.calibration.calibrating import calibrated, read
    from search_spaces.files import document

    lent = options.words(borrow)
    if borrow is not None and not lent:
        raise InputError("--borrow names no column; give one or more, as pixel3_latency_ms")
    report = _report_path(out, tables)
    built = tasks.built_task(task, space=space, build=build, shape=shape)
    given = read(tables, space, column, lent, options.words(choice_columns), built)
    if given.unmeasured:
        print_note(_unmeasured(given.unmeasured))
    prior = load_device(like) if like else None
    if prior is not None and (prior.unit == "mJ") != column.endswith("_mj"):
        raise InputError(f"--like {like}: predicts {prior.unit}, which {column} is not")
    device, judged = calibrated(given, name or out.stem, samples, seed, prior)
    html = calibration_report.html(device, judged)  # a report that fails leaves no device alone
    device.save(out)
    document.write_atomically(report, html)
    if json:
        print_json(_summary(device, judged, given, out, report))
    else:
        for table in given.tables:
            print_columns(table, [column, *lent])
        _print(device, out, report)


def _unmeasured(found: "Sequence[str]") -> str:
    listed = ", ".join(found[:MOST_LISTED]) + (" ..." if found[MOST_LISTED:] else "")
    return f"{listed}: in no table, so taken to cost nothing; add a row each, 0 for one that skips"


def _report_path(out: Path, tables: "Sequence[Path]") -> Path:
    """Where the report goes; refuse to write over what was measured."""
    report = out.with_suffix(".html")
    if out == report or out.suffix in {".csv", ".gz", ".parquet"}:
        raise InputError(f"--out {out}: a device is a JSON file; call it {out.stem}.json")
    if taken := {out.resolve(), report.resolve()} & {table.resolve() for table in tables}:
        raise InputError(f"--out {out}: would be written over the table {taken.pop().name}")
    if report.exists() and not out.exists():
        raise InputError(f"{report}: exists, and its report would be written over it; rename --out")
    return report


def _summary(
    device: "Device", judged: "Sequence[Judged]", given: "Given", out: Path, report: Path
) -> dict[str, Any]:
    from dataclasses import asdict

    from nas.calibration import report as calibration_report
    from nas.tables import columns_in_json

    validation = asdict(device.validation) if device.validation else None
    return {
        "device": str(out),
        "report": str(report),
        "choices": list(device.choices),
        "columns": {str(table.path): columns_in_json(table) for table in given.tables},
        "validation": validation,
        **calibration_report.summary(judged),
    }


def _print(device: "Device", out: Path, report: Path) -> None:
    print_line(f"device: {out}")
    print_line(f"report: {report}")
    if device.choices:
        free = [f"{name} (a number)" if name in device.numeric else name for name in device.choices]
        print_line(f"choices: {', '.join(free)}")
    from nas.calibration.validated import doubts, drifting, trust

    if device.validation is None:
        print_line("no whole networks were given, so how well it predicts them is not known")
    else:
        print_line(trust(device))
        if said := drifting(device):
            print_line(f"drift: {said}")
        for line in doubts(device):
            print_note(line)
