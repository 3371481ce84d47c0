"""The space that the rows of a table make: each column's values are a choice."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from search_spaces.files.errors import InputError
from search_spaces.space.choice import AnyChoice, Choice, NumericChoice
from search_spaces.space.conditions import Condition

Place = tuple[Path, int]  # the file and the line of a row
Rows = npt.NDArray[np.bool_]

FEW_OPTIONS = 16
LARGEST = 1e12  # of a number that varies freely


def typed(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """Cells as numbers where all that are filled are, whole numbers as int; else as text."""
    # Tables have many cells and few values, and each conversion of a word costs.
    places, distinct = pd.factorize(cells.str.strip())
    values = np.asarray(distinct, dtype=object)
    filled = values != ""
    numbers = pd.to_numeric(pd.Series(values[filled]), errors="coerce").astype(float)
    if len(numbers) and np.isfinite(numbers).all():
        whole = (numbers == numbers.round()).all() and (numbers.abs() < 2**53).all()
        values[filled] = (numbers.astype("int64") if whole else numbers).astype(object)
    return pd.Series(values[places], index=cells.index, name=cells.name, dtype=object)


def choices_of(cells: pd.DataFrame, places: Sequence[Place]) -> Iterator[AnyChoice]:
    """A choice for each column, one that is empty in some rows after the one that says when.

    `places` say where each row stands.

    Raises:
        InputError: a column of names, or one that is empty for no reason that another tells.
    """
    empty = {str(name): (cells[name] == "").to_numpy() for name in cells}
    earlier: list[pd.Series[Any]] = []
    for name in sorted(empty, key=lambda name: int(empty[name].sum())):
        column, missing = cells[name], empty[name]
        choice = _choice_of(column[~missing], places[0][0], conditional=bool(missing.any()))
        if missing.any():
            path, row = places[int(np.flatnonzero(missing)[0])]
            choice = _conditional(choice, earlier, missing, f"{path}, row {row}, column {name!r}")
        if isinstance(choice, Choice):
            if len(choice.options) == len(cells) > FEW_OPTIONS and len(cells.columns) > 1:
                raise InputError(
                    f"{places[0][0]}: column {name!r} differs in all {len(cells)} rows, so it is "
                    "a name and no choice; call it id, or remove it"
                )
            earlier.append(column)
        yield choice


def _choice_of(cells: "pd.Series[Any]", path: Path, *, conditional: bool) -> AnyChoice:
    """Few values make options; parts of whole numbers do so where several rows share them."""
    name = str(cells.name)
    distinct = sorted(set(cells), key=_order)
    if not distinct:
        raise InputError(f"{path}: column {name!r} is empty; fill or remove it")
    numeric = not any(isinstance(value, str) for value in distinct)
    broken = any(isinstance(value, float) and not value.is_integer() for value in distinct)
    free = broken and not conditional and 2 * len(distinct) > len(cells)
    if numeric and (len(distinct) > FEW_OPTIONS or free):
        low, high = float(distinct[0]), float(distinct[-1])
        if max(-low, high) > LARGEST:
            wrong = high if high > LARGEST else low
            raise InputError(f"{path}: column {name!r} holds {wrong:g}, which is out of range")
        return NumericChoice(name, low, high, all(isinstance(v, int) for v in distinct))
    return Choice(name, tuple(distinct))


def _conditional(
    choice: AnyChoice, earlier: Sequence["pd.Series[Any]"], missing: Rows, where: str
) -> Choice:
    """The choice with the condition that tells its filled cells from its empty ones."""
    if isinstance(choice, NumericChoice):
        raise InputError(
            f"{where}: is empty where numbers vary freely; write 0 where it doesn't matter"
        )
    for other in earlier:
        held = set(other[~missing])
        if "" not in held and not held & set(other[missing]):
            return replace(choice, when=Condition(str(other.name), tuple(sorted(held, key=_order))))
    raise InputError(
        f"{where}: is empty, and no other column tells when; fill it, with a word (none) where it "
        "doesn't matter"
    )


def _order(value: object) -> tuple[bool, Any]:
    """Numbers, then text."""
    return isinstance(value, str), value
