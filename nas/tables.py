"""Tables of measurements and of what is to be measured, from rows to files."""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from search_spaces import Architecture, InputError, SearchSpace, Table
from search_spaces.files.document import write_atomically

Row = dict[str, Any]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table as its name says: .parquet, .csv.gz, or else CSV; whole or not at all."""
    frame = pd.DataFrame(list(rows))
    if path.suffix == ".parquet":
        stream = BytesIO()
        # Cells of one column may be text in one row and a number in another.
        mixed = [name for name in frame if frame[name].dtype == object]
        frame.astype(dict.fromkeys(mixed, str)).to_parquet(stream, index=False)
        write_atomically(path, stream.getvalue())
    elif path.suffix == ".gz":
        stream = BytesIO()
        frame.to_csv(stream, index=False, compression={"method": "gzip", "mtime": 0})
        write_atomically(path, stream.getvalue())
    else:
        write_atomically(path, frame.to_csv(index=False))


def choice_columns(space: SearchSpace, architecture: Architecture) -> Row:
    """An architecture as a row has it; choices that don't matter stay empty."""
    return {choice.name: architecture.get(choice.name, "") for choice in space.choices}


def with_choices(rows: Iterable[Row], choices: Table) -> list[Row]:
    """Rows of reports, each joined with the rows of `choices` of the same `id`.

    Raises:
        InputError: `choices` has no column id, or lacks the id of a report.
    """
    if "id" not in choices.reserved:
        raise InputError(
            f"{choices.path}: has no column 'id'; `nas profile --plan --out` writes tables that do"
        )
    by_id: dict[str, list[Row]] = {}
    kept = [name for name in ("repeats",) if name in choices.reserved]
    columns = pd.concat([choices.reserved[["id"]], choices.choices, choices.reserved[kept]], axis=1)
    for chosen in columns.to_dict("records"):
        by_id.setdefault(str(chosen["id"]), []).append({str(k): v for k, v in chosen.items()})
    joined: list[Row] = []
    for row in rows:
        if row["id"] not in by_id:
            raise InputError(
                f"{choices.path}: no row has the id {row['id']!r} of a report; add it, or leave "
                "the report out"
            )
        joined += [{**known, **row} for known in by_id[row["id"]]]
    return joined
