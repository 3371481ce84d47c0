"""`nas import`: what was measured elsewhere, to a table."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nas.cli import options
from nas.cli.output import print_columns, print_json, print_line
from search_spaces.files.errors import InputError

MODELS = (".mlmodelc", ".mlpackage")
TABLES = (".csv", ".gz", ".parquet")


def import_(
    reports: Annotated[
        list[Path],
        typer.Argument(
            help="Xcode performance reports (.mlperf, or report.json); ONNX Runtime's profiles; "
            "what onnxruntime_perf_test or TFLite's benchmark_model printed; Qualcomm AI Hub's "
            "profiles; on a Mac also models (.mlmodelc, .mlpackage), for their compute plans; "
            "tables of your own."
        ),
    ],
    out: options.OutFile,
    choices: Annotated[
        Path | None,
        typer.Option(
            help="A table with the column id (a model's name) and the choices of each network, or "
            "slot and option: rows get the columns of their id. `nas profile --plan` writes one."
        ),
    ] = None,
    choice_columns: options.ChoiceColumns = None,
    compute_units: Annotated[
        str, typer.Option(help="Of a compute plan: all, cpu-only, cpu-and-gpu, cpu-and-ne.")
    ] = "all",
    measured_on: Annotated[
        str | None,
        typer.Option(help="The device's name, for the column of reports that do not say it."),
    ] = None,
    allow_fallback: Annotated[
        bool,
        typer.Option(
            "--allow-fallback",
            help="Take also what the processor ran in the place of a delegate that was asked for.",
        ),
    ] = False,
    json: options.AsJson = False,
) -> None:
    """Bring reports into one table, a row each: calibrate with it once it has choices.

    Serial numbers, names of devices and paths in reports are left behind. A compute plan says
    where a model would run (shares of its estimated cost, in percent), not how long it takes.
    """
    from latency.sources.user_table import rows_of
    from nas.tables import columns_in_json, with_choices, write_rows
    from search_spaces import read_table

    if out.exists():
        raise InputError(f"{out}: exists; choose another file for --out, or remove it")
    named = options.words(choice_columns)
    tables = {path: read_table(path, choice_columns=named) for path in reports if _is_table(path)}
    rows = [
        row
        for path in reports
        for row in (
            rows_of(tables[path])
            if path in tables
            else _read(path, compute_units, allow_fallback=allow_fallback)
        )
    ]
    if measured_on is not None:
        rows = [row if "device" in row else {**row, "device": measured_on} for row in rows]
    _check_columns(reports, rows)
    if choices is not None:
        tables[choices] = read_table(choices, measured=False, choice_columns=named)
        rows = with_choices(rows, tables[choices])
    write_rows(out, rows)
    if json:
        columns = {str(path): columns_in_json(table) for path, table in tables.items()}
        print_json({"table": str(out), "rows": len(rows), "columns": columns})
        return
    for table in tables.values():
        print_columns(table)
    print_line(f"{len(rows)} rows: {out}")
    if choices is None and not _is_table(reports[0]):
        print_line("to calibrate with it, add the choices of each id: --choices, or columns")


def _is_table(path: Path) -> bool:
    return path.suffix in TABLES


def _read(path: Path, compute_units: str, *, allow_fallback: bool) -> list[dict[str, Any]]:
    """The rows of one report, by what it is."""
    if path.suffix in MODELS:
        from latency.sources.compute_plan import read_plan

        return read_plan(path, compute_units)
    from latency.sources.reports import read_any_report

    return read_any_report(path, allow_fallback=allow_fallback)


def _check_columns(reports: list[Path], rows: list[dict[str, Any]]) -> None:
    """Reports of several kinds would leave cells empty, which nobody could tell from a gap."""
    kinds = {frozenset(row) for row in rows}
    if len(kinds) > 1:
        everywhere = frozenset.intersection(*kinds)
        different = ", ".join(sorted(frozenset.union(*kinds) - everywhere))
        raise InputError(
            f"{', '.join(map(str, reports))}: not all of them have the columns {different}; import "
            "each kind to a table of its own"
        )
