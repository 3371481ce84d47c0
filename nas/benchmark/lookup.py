"""Which row of a table an architecture is, for tables of a million rows too.

Rows are kept as codes (`search_spaces.space.integer_encoding`) and found by a 64-bit hash of them,
so that no row needs an object of its own.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from search_spaces import Architecture, InputError, NumericChoice, Table
from search_spaces.space.choice import Choice
from search_spaces.space.conditions import Mask, Option
from search_spaces.space.integer_encoding import Codes, IntegerEncoder, scaled

Rows = npt.NDArray[np.int64]
UNKNOWN = -2.0  # a cell that is no option; canonical rows hold none


class Lookup:
    """The rows of a table of whole networks, found by architecture.

    Raises:
        InputError: a row is no architecture of the table's space.
    """

    def __init__(self, table: Table) -> None:
        self._path = table.path
        self._coder = IntegerEncoder(table.space)
        self._numbers = _numbers(table)
        self.codes, self.has_dead_edges = self._codes_of(table)
        keys = self._coder.keys(self.codes)
        # What is built has no dead edges, so that its row comes before other spellings of it.
        self._order = np.lexsort((self.has_dead_edges, keys))
        self._sorted = keys[self._order]

    def rows(self, architectures: Sequence[Architecture]) -> Rows:
        """The row of each architecture, the first without dead edges where several are alike.

        Raises:
            InputError: the table holds no such architecture.
        """
        if not architectures:
            return np.empty(0, dtype=np.int64)
        wanted = self._coder.codes(architectures)
        places = np.searchsorted(self._sorted, self._coder.keys(wanted))
        rows = self._order[np.minimum(places, len(self._order) - 1)]
        coder = self._coder
        absent = (coder.rounded(wanted) != coder.rounded(self.codes[rows])).any(axis=1)
        if absent.any():
            lost = architectures[int(np.flatnonzero(absent)[0])]
            raise InputError(f"{self._path}: holds no row for {lost}")
        return np.asarray(rows, dtype=np.int64)

    @cached_property
    def first(self) -> Rows:
        """For each row the row that stands for its architecture, as `rows` finds it, (n,)."""
        begins = np.r_[True, self._sorted[1:] != self._sorted[:-1]]
        first = np.empty(len(self._order), dtype=np.int64)
        first[self._order] = self._order[np.flatnonzero(begins)[np.cumsum(begins) - 1]]
        return first

    def architectures(self, rows: Rows) -> tuple[Architecture, ...]:
        """The architectures of some rows; what they decide is shared between them."""
        columns = [self._decisions(place, rows) for place in range(self.codes.shape[1])]
        name = self._coder.space.name
        return tuple(
            Architecture(name, tuple(item for item in items if item is not None))
            for items in zip(*columns, strict=True)
        )

    def _decisions(self, place: int, rows: Rows) -> list[tuple[str, Option] | None]:
        choice = self._coder.choices[place]
        if isinstance(choice, NumericChoice):
            values = self._numbers[choice.name][rows].tolist()
            whole = choice.integer
            return [(choice.name, int(v) if whole and v.is_integer() else v) for v in values]
        shared = [*((choice.name, option) for option in choice.options), None]  # -1 is the last
        return [shared[code] for code in self.codes[rows, place].astype(int).tolist()]

    def _codes_of(self, table: Table) -> tuple[Codes, Mask]:
        """Canonical codes, and which rows spell edges that are off every path of a graph."""
        codes = np.empty((len(table.choices), len(self._coder.choices)))
        for place, choice in enumerate(self._coder.choices):
            if isinstance(choice, NumericChoice):
                values = self._numbers[choice.name]
                inside = (values >= choice.low) & (values <= choice.high)
                codes[:, place] = np.where(inside, scaled(choice, values), UNKNOWN)
            else:
                codes[:, place] = _places(choice, table.choices[choice.name])
        spelled = codes.copy() if table.space.graphs else codes
        self._coder.canonical(codes)
        wrong = np.flatnonzero((codes == UNKNOWN).any(axis=1))
        if wrong.size:
            row = int(wrong[0])
            cells = table.choices.iloc[row].to_dict()
            decided = {str(name): value for name, value in cells.items() if value != ""}
            try:
                table.space.architecture(decided)
            except InputError as error:
                raise InputError(f"{table.path}, row {row + 2}: {error}") from None
            raise AssertionError(f"row {row + 2} is an architecture, and was not found to be one")
        return codes, self._coder.has_dead_edges(spelled, codes)


def _numbers(table: Table) -> dict[str, npt.NDArray[np.float64]]:
    """The columns of choices that vary freely; NaN where a cell is no number."""
    return {
        choice.name: pd.to_numeric(table.choices[choice.name], errors="coerce").to_numpy(float)
        for choice in table.space.choices
        if isinstance(choice, NumericChoice)
    }


def _places(choice: Choice, cells: "pd.Series[Any]") -> npt.NDArray[np.float64]:
    """The place of each cell's option."""
    numbers, distinct = pd.factorize(cells)
    found = np.array([_place(choice, value) for value in distinct])
    return np.asarray(found[numbers])


def _place(choice: Choice, value: object) -> float:
    try:
        return float(choice.options.index(choice.resolve(value)))
    except InputError:
        return UNKNOWN
