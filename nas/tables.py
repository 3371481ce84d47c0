"""Tables of measurements and of what is to be measured, from rows to files."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from search_spaces import Architecture, InputError, NumericChoice, SearchSpace, Table
from search_spaces.files.document import write_atomically
from search_spaces.space.choice import AnyChoice, is_ordinal
from search_spaces.tables.columns import RESERVED, in_kept_unit

Row = dict[str, Any]
MOST_NAMED = 6  # columns of a role in a line for people
FEW = 16  # values, as options have them; what is measured has more
NEVER_CHOICES = ("id", "notes", "strategy", "seed", "trial", "repeats", "round_times")


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


def columns_in_words(table: Table, used: Collection[str] = ()) -> list[str]:
    """What a table's columns were taken for, and how to make one a choice: one line or two.

    Args:
        table: as it was read.
        used: metrics that something is made of here; who named them knows that they are metrics.
    """
    path, by_role = table.path, table.columns_by_role
    doubtful = [] if table.of_blocks else _doubtful(table, {in_kept_unit(name) for name in used})
    unused = [
        name for name in by_role["metric"] if in_kept_unit(name) not in map(in_kept_unit, used)
    ]
    said = [
        f"{word} {_listed(sorted(names, key=lambda name: name not in doubtful))}"
        for word, names in (
            ("choices", by_role["choice"]),
            ("metrics (they end in a unit)", by_role["metric"]),
            ("reserved names", by_role["reserved"]),
        )
        if names
    ]
    lines = [f"{path}: {'; '.join(said)}"]
    if doubtful:
        one = len(doubtful) == 1
        lines.append(
            f"{path}: {_listed(doubtful)} {'has' if one else 'have'} few values; if "
            f"{'it' if one else 'one'} is a choice, rename it or say "
            f"`choice_columns={','.join(doubtful[:MOST_NAMED])}`"
        )
    elif unused and not table.of_blocks:
        lines.append(f"{path}: if one of the metrics is a choice, say `choice_columns=NAME`")
    return lines


def described(table: Table) -> dict[str, Any]:
    """What a table holds, in words by their names: rows, choices, metrics, networks, gaps."""
    rows = len(table.choices)
    found: dict[str, Any] = {"rows": rows, "of": "blocks" if table.of_blocks else "networks"}
    if not table.of_blocks and not table.choices.empty:
        try:
            found |= _networks(table)
        except InputError as error:  # a few rows may need their space beside them
            found["no space of its own"] = str(error)
    by_role = table.columns_by_role
    if by_role["metric"]:
        found["metrics"] = {name: _range(table, name) for name in by_role["metric"]}
    else:
        found["measured"] = "nothing yet: add what each row took, as latency_ms, and calibrate"
    if reserved := [each for each in table.columns if each.role == "reserved"]:
        found["reserved"] = ", ".join(
            column.name + f" ({column.why})" * (column.name not in RESERVED) for column in reserved
        )
    return found


def _networks(table: Table) -> dict[str, Any]:
    """How many networks there are, of how many, and which rows repeat earlier ones."""
    space, first = table.space, dict[Architecture, int]()
    again = [
        (row, first[architecture])
        for row, architecture in enumerate(table.architectures, start=2)
        if first.setdefault(architecture, row) != row
    ]
    size = f"{space.size:,}" if math.isfinite(space.size) else "numbers that vary freely"
    found: dict[str, Any] = {"networks": f"{len(first):,} of {size} in its space"}
    if again:
        row, earlier = again[0]
        found["duplicates"] = (
            f"{len(again):,} rows are networks of earlier rows, as row {row} is that of row "
            f"{earlier}; they count once"
        )
    found["choices"] = {choice.name: _options(choice) for choice in space.choices}
    return found


def _options(choice: AnyChoice) -> str:
    if isinstance(choice, NumericChoice):
        return f"a {'whole ' * choice.integer}number from {choice.low:g} to {choice.high:g}"
    kind = "ordered" if is_ordinal(choice.options) else "named"
    when = "" if choice.when is None else ", where it matters"
    return f"{kind}{when}: {', '.join(map(str, choice.options))}"


def _range(table: Table, name: str) -> str:
    cells = table.metrics[in_kept_unit(name)]
    held, unit = cells.dropna(), f" ({in_kept_unit(name)})" * (in_kept_unit(name) != name)
    if held.empty:
        return "no number in any row"
    gaps = "" if len(held) == len(cells) else f"; {len(held)} of {len(cells)} rows have one"
    return f"{held.min():.6g} to {held.max():.6g}{unit}{gaps}"


def columns_in_json(table: Table) -> list[dict[str, str]]:
    """The same for scripts."""
    return [asdict(column) for column in table.columns]


def _doubtful(table: Table, used: Collection[str]) -> list[str]:
    """Columns that are no choices by their names, and look like choices by their values."""
    found = []
    for column in table.columns:
        name, kept = column.name, in_kept_unit(column.name)
        if column.role == "metric" and kept not in used:
            values = table.metrics[kept].dropna()
            whole = bool((values == values.round()).all())
        elif column.role == "reserved" and name not in NEVER_CHOICES:
            values, whole = table.reserved[name], False
        else:
            continue
        different = values.nunique()
        most = len(values) - 1 if whole else len(values) / 2
        if 1 < different <= min(FEW, most):
            found.append(name)
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


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
            f"{choices.path}: has no column 'id'; the table of a plan (nas profile) has it"
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
