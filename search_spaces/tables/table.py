"""Tables of measurements: CSV, CSV.gz or Parquet, one row an architecture or a block.

`columns.py` says which columns are choices, metrics or reserved. Times are converted to ms at the
door.
"""

import csv
import gzip
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from search_spaces.files.errors import InputError
from search_spaces.files.git_lfs import refuse_pointer
from search_spaces.space.architecture import Architecture
from search_spaces.space.space import SearchSpace
from search_spaces.tables.columns import (
    BLOCK_COLUMNS,
    SAID,
    UNITS,
    Column,
    Role,
    factor_of,
    in_kept_unit,
    named,
    of_blocks,
    roles_of,
    suffix_of,
)
from search_spaces.tables.table_space import choices_of, typed

MAY_BE_NEGATIVE = ("_loss",)
NAMELESS = ("", "unnamed: 0")  # as pandas writes an index, and reads it again
INDEX_NAMES = (*NAMELESS, "index", "idx", "row")
SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")


@dataclass(frozen=True)
class Table:
    """A checked table; metrics carry canonical units, rows keep the order of the file."""

    path: Path
    metrics: pd.DataFrame  # not a number where a cell is none; `metric` refuses that
    choices: pd.DataFrame  # choice columns, or slot and option
    reserved: pd.DataFrame
    given_space: SearchSpace | None
    columns: tuple[Column, ...]  # of the file, in its order: what each was taken for, and why
    cells: pd.DataFrame  # of the metrics, as the file spells them
    measured: bool = True  # whether a metric that is asked for must be there in every row

    @property
    def of_blocks(self) -> bool:
        """Whether a row is a block (slot, option) and not a whole network."""
        return of_blocks(self.choices.columns, self.given_space)

    @property
    def columns_by_role(self) -> dict[Role, tuple[str, ...]]:
        """The columns as the file spells them: choices, metrics, reserved names."""
        return {role: named(self.columns, role) for role in get_args(Role)}

    @cached_property
    def space(self) -> SearchSpace:
        """The space that was given, or the one that the choices' values make."""
        if self.given_space is not None:
            return self.given_space
        return _own_space([self])

    @cached_property
    def decisions(self) -> list[dict[str, Any]]:
        """What each row decides; an empty cell is of a choice that doesn't matter there."""
        return [
            {str(name): value for name, value in row.items() if value != ""}
            for row in self.choices.to_dict("records")
        ]

    @cached_property
    def architectures(self) -> list[Architecture]:
        """The architecture of each row; InputError names the row that is none of the space."""
        found, space = [], self.space
        for row, decided in enumerate(self.decisions, start=2):
            try:
                found.append(space.architecture(decided))
            except InputError as error:
                raise InputError(f"{self.path}, row {row}: {error}") from None
        return found

    def has_metric(self, name: str) -> bool:
        """Whether there is a metric column of that name, in whichever unit."""
        return in_kept_unit(name) in self.metrics

    def metric(self, name: str) -> "pd.Series[float]":
        """A metric column by its name, in the unit that the name ends in (ms for every time).

        Raises:
            InputError: no such column, or a row in which it is no number. Columns that nobody
                asks for may have gaps.
        """
        name = in_kept_unit(name)
        if name not in self.metrics:
            listed = ", ".join(map(str, self.metrics.columns)) or "none"
            raise InputError(f"{self.path}: no metric column {name!r}; its metrics: {listed}")
        found = self.metrics[name]
        if self.measured and found.isna().any():
            self._refuse_gap(name, int(np.flatnonzero(found.isna())[0]))
        return found

    def _refuse_gap(self, name: str, row: int) -> None:
        spelled = next(n for n in self.columns_by_role["metric"] if in_kept_unit(n) == name)
        cell = str(self.cells[spelled].iloc[row])
        rule = "a number" if suffix_of(name) in MAY_BE_NEGATIVE else "a number of at least 0"
        mend = "mend or remove the row" if cell.strip() else "measure or remove the row"
        raise InputError(
            f"{self.path}, row {row + 2}, column {spelled!r}: {cell!r} is not {rule}; {mend}"
        )


def joined(tables: Sequence[Table]) -> list[Table]:
    """Tables of networks that speak of one space, which all of their rows together make.

    Raises:
        InputError: their choice columns differ.
    """
    first = tables[0]
    for table in tables[1:]:
        if set(table.choices.columns) != set(first.choices.columns):
            differing = sorted(set(table.choices.columns) ^ set(first.choices.columns))
            raise InputError(
                f"{table.path}: its choices are not those of {first.path}: {differing} differ"
            )
    if first.given_space is not None or len(tables) == 1:
        return list(tables)
    space = _own_space(tables)
    return [replace(table, given_space=space) for table in tables]


def _own_space(tables: Sequence[Table]) -> SearchSpace:
    """The space that the rows of all tables make."""
    first = tables[0]
    if first.of_blocks:
        raise InputError(f"{first.path}: holds blocks, so the space must be given")
    if first.choices.empty:
        listed = ", ".join(f"{column.name} ({column.why})" for column in first.columns)
        raise InputError(
            f"{first.path}: no column is a choice: {listed}; name those that are, as "
            "`choice_columns=NAME`"
        )
    rows = first.choices
    if len(tables) > 1:  # a column may be of numbers alone in one of them
        named = [table.choices[list(rows.columns)].astype(str) for table in tables]
        rows = pd.concat(named, ignore_index=True).apply(typed)
    places = [(table.path, row) for table in tables for row in range(2, len(table.choices) + 2)]
    return SearchSpace(first.path.name.split(".")[0], tuple(choices_of(rows, places)))


def read_table(
    path: Path | str,
    space: SearchSpace | None = None,
    *,
    measured: bool = True,
    choice_columns: Collection[str] = (),
) -> Table:
    """Read and check a table.

    Args:
        path: CSV, CSV.gz or Parquet.
        space: its choices must be columns, and nothing unknown may stand beside them.
        measured: False for a table that may hold architectures alone, or be measured in part.
        choice_columns: columns that are choices whatever their names end in.

    Raises:
        InputError: names the file, the column, the row (as a line of the file), and the mend.
    """
    path = Path(path)
    frame = _read_frame(path)
    names = [str(column) for column in frame.columns]
    columns = roles_of(path, names, space, choice_columns)
    columns = tuple(_as_index(each) if _counts_rows(each, frame) else each for each in columns)
    for column in columns:
        if column.role == "choice" and column.why not in SAID and column.name.lower() in NAMELESS:
            raise InputError(
                f"{path}: the first line must name every column; the one without a name counts no "
                "rows"
            )
    metrics: dict[str, pd.Series[float]] = {}
    for name in named(columns, "metric"):
        kept = in_kept_unit(name)
        if kept in metrics:
            raise InputError(f"{path}: two columns hold {kept!r} in different units; keep one")
        metrics[kept] = _numbers(name, frame[name])
    if not metrics and space is None and measured:
        units = ", ".join(UNITS)
        raise InputError(
            f"{path}: no column ends in a unit ({units}), so nothing was measured; add what was, "
            "as latency_ms"
        )
    choice_names = list(named(columns, "choice"))
    if of_blocks(choice_names, space):
        if extra := [name for name in choice_names if name not in BLOCK_COLUMNS]:
            raise InputError(f"{path}: a table of blocks has slot and option, and also {extra}")
        choice_names = list(BLOCK_COLUMNS)
    elif space is not None:
        _check_choices(path, choice_names, space)
    elif odd := [name for name in choice_names if "=" in name]:
        raise InputError(f"{path}: column {odd[0]!r} holds a '='; rename it")
    choices = pd.DataFrame({name: typed(frame[name]) for name in choice_names}, index=frame.index)
    reserved = frame[list(named(columns, "reserved"))]
    held = pd.DataFrame(metrics, index=frame.index)
    cells = frame[list(named(columns, "metric"))]
    return Table(path, held, choices, reserved, space, columns, cells, measured)


def _counts_rows(column: Column, frame: pd.DataFrame) -> bool:
    """Whether a column is an index by its name and its cells: it says which row it stands in."""
    if column.role != "choice" or column.why in SAID:
        return False
    if column.name.lower() not in INDEX_NAMES:
        return False
    cells = frame[column.name].str.strip()
    counts = (pd.Series(range(n, n + len(cells)), index=cells.index) for n in (0, 1))
    return any((cells == count.astype(str)).all() for count in counts)


def _as_index(column: Column) -> Column:
    return Column(column.name, "reserved", "counts the rows, so it is left out")


def _check_choices(path: Path, names: list[str], space: SearchSpace) -> None:
    wanted = [choice.name for choice in space.choices]
    if missing := [name for name in wanted if name not in names]:
        raise InputError(f"{path}: space {space.name!r} has choices with no column: {missing}")
    if unknown := [name for name in names if name not in wanted]:
        raise InputError(
            f"{path}: columns {unknown} are no choice of space {space.name!r}, end in no unit and "
            "are not reserved; rename or remove them"
        )


def _read_frame(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    refuse_pointer(path)
    if path.suffix.lower() in SPREADSHEETS:
        raise InputError(f"{path}: is a spreadsheet; save it as CSV")
    try:
        if path.suffix == ".parquet":
            frame = _of_parquet(path)
        else:
            _check_header(path)
            frame = pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",  # spreadsheets mark their UTF-8
                skip_blank_lines=False,  # so that a row's number is its line
            )
    except InputError:
        raise
    # Parsers of damaged files raise many things; all of them mean the same to a person.
    except (OSError, EOFError, ValueError, zlib.error, MemoryError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if isinstance(error, UnicodeDecodeError):
            reason = f"{reason}; save it as UTF-8"
        raise InputError(f"{path}: cannot be read as a table: {reason}") from None
    if isinstance(frame.index, pd.MultiIndex) or not isinstance(frame.index, pd.RangeIndex):
        raise InputError(f"{path}: rows have more cells than the header has columns")
    frame.columns = [str(name).strip() for name in frame.columns]
    return _without_blank_lines(path, frame)


def _of_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(drop=frame.index.name is None)
    names = [str(name) for name in frame.columns]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: columns named twice: {doubled}")
    return frame.astype(str).fillna("")


def _without_blank_lines(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Blank lines at the end go; one in between may be a row that was lost."""
    filled = np.flatnonzero((frame != "").any(axis=1))
    if not filled.size:
        raise InputError(f"{path}: has no rows")
    frame = frame.iloc[: filled[-1] + 1]
    if len(filled) < len(frame):
        row = next(index for index, at in enumerate(filled.tolist()) if index != at)
        raise InputError(f"{path}, row {row + 2}: is blank; fill or remove it")
    return frame


def _check_header(path: Path) -> None:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as stream:
        header = [name.strip() for name in next(csv.reader(stream), [])]
    if not header or not all(header[1:]):
        raise InputError(f"{path}: the first line must name every column")
    if len(header) == 1 and (other := {";", "\t"} & set(header[0])):
        raise InputError(f"{path}: cells are separated by {other.pop()!r}; separate them by commas")
    if doubled := sorted({name for name in header if header.count(name) > 1}):
        raise InputError(f"{path}: columns named twice: {doubled}")


def _numbers(name: str, cells: "pd.Series[str]") -> "pd.Series[float]":
    """A metric in its kept unit; not a number where it is none, or below what it may be."""
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    least = -np.inf if suffix_of(name) in MAY_BE_NEGATIVE else 0.0
    wrong = ~np.isfinite(numbers) | (numbers < least)
    return numbers.mask(wrong) * factor_of(name)
