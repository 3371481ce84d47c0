"""Column roles: which columns of a table are choices, metrics or reserved, and why.

A space that is given decides, then whoever names a column a choice, then the column's own name.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from search_spaces.files.errors import InputError
from search_spaces.space.space import SearchSpace

# unit suffix -> (the suffix it is kept under, factor)
UNITS = {
    "_ms": ("_ms", 1.0),
    "_us": ("_ms", 1e-3),
    "_s": ("_ms", 1e3),
    "_pct": ("_pct", 1.0),
    "_mb": ("_mb", 1.0),
    "_mj": ("_mj", 1.0),
    "_count": ("_count", 1.0),
    "_loss": ("_loss", 1.0),
}
SPELLED = {"_pct": "%", "_ms": "ms", "_mj": "mJ", "_mb": "MB"}
RESERVED = frozenset(
    {"id", "strategy", "seed", "trial", "device", "soc", "compute_unit", "os", "precision"}
    | {"samples", "std_ms", "p10_ms", "p90_ms", "repeats", "source", "notes", "round_times"}
)
SAID = OF_THE_SPACE, SAID_TO_BE = "a choice of the space", "said to be one"
BLOCK_COLUMNS = ("slot", "option")
Role = Literal["choice", "metric", "reserved"]


@dataclass(frozen=True)
class Column:
    """A column of a table, spelled as the file has it, and what it was taken for."""

    name: str
    role: Role
    why: str


def roles_of(
    path: Path, names: Iterable[str], space: SearchSpace | None, choice_columns: Collection[str]
) -> tuple[Column, ...]:
    """What each column is.

    Raises:
        InputError: a latency in a unit that nobody knows.
    """
    of_space = {choice.name for choice in space.choices} if space is not None else set()
    return tuple(_role_of(path, name, of_space, choice_columns) for name in names)


def _role_of(
    path: Path, name: str, of_space: Collection[str], choice_columns: Collection[str]
) -> Column:
    if name in of_space:
        return Column(name, "choice", OF_THE_SPACE)
    if name in choice_columns:
        return Column(name, "choice", SAID_TO_BE)
    if name in RESERVED:
        return Column(name, "reserved", "a reserved name")
    if (suffix := suffix_of(name)) is not None:
        return Column(name, "metric", f"ends in {suffix}")
    if "latency" in name.lower():
        raise InputError(
            f"{path}: column {name!r} does not end in a unit we know; spell it latency_ms, "
            "latency_us or latency_s"
        )
    return Column(name, "choice", "ends in no unit and is not reserved")


def named(columns: Sequence[Column], role: Role) -> tuple[str, ...]:
    """The names of the columns that have a role."""
    return tuple(column.name for column in columns if column.role == role)


def of_blocks(choice_names: Iterable[str], space: SearchSpace | None) -> bool:
    """Whether rows are blocks: slot and option, where no given space has choices of these names."""
    of_space = {choice.name for choice in space.choices} if space is not None else set()
    return set(BLOCK_COLUMNS) <= set(choice_names) - of_space


def in_kept_unit(name: str) -> str:
    """How a metric is called once its unit was converted."""
    name = name.removesuffix(":max")
    suffix = suffix_of(name)
    return name if suffix is None else name.removesuffix(suffix) + UNITS[suffix][0]


def factor_of(name: str) -> float:
    """By what a number in the unit of a metric's name is multiplied to be in the kept unit."""
    suffix = suffix_of(name.removesuffix(":max"))
    return 1.0 if suffix is None else UNITS[suffix][1]


def suffix_of(name: str) -> str | None:
    """The unit that a name ends in; None where it ends in none."""
    return next((s for s in sorted(UNITS, key=len, reverse=True) if name.endswith(s)), None)


def in_words(name: str) -> str:
    """The name of a column as people read it, with its unit: error_pct is error (%)."""
    for suffix, unit in SPELLED.items():
        if name.endswith(suffix):
            return f"{name.removesuffix(suffix).replace('_', ' ')} ({unit})"
    return name.removesuffix("_count").replace("_", " ")
