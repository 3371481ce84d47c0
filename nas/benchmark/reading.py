"""Tables to benchmarks: which rows and columns one is made of, and what makes none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nas.benchmark.lookup import Lookup
from nas.benchmark.reference import REFERENCES
from nas.benchmark.tabular import Benchmark, judged_by
from nas.problem.goal import Goal
from nas.problem.problem import Matrix, Objective, Problem, Vector, signs_of
from search_spaces import Architecture, InputError, SearchSpace, Table, read_table
from search_spaces.tables.columns import factor_of, in_kept_unit

LARGEST = 1e100  # products of several such numbers are still numbers


def of_table(
    table: Table | Path | str,
    objectives: Sequence[str],
    known: Sequence[str] = (),
    *,
    space: SearchSpace | None = None,
    reference: Sequence[float] | str = "wanted",
    at_most: Mapping[str, float] | None = None,
    front: Table | Path | str | None = None,
    goal: str | None = None,
) -> Benchmark:
    """A benchmark on the whole networks of a table.

    Args:
        table: a table, or its file.
        objectives: its columns that are traded off; less is better, but for `COLUMN:max`.
        known: those of them that are known before anything is evaluated.
        space: of the architectures; by default what the table's rows make.
        reference: the corner of the box that is judged: `wanted`, `front` or `corner` (see
            `nas.benchmark.reference`), or a limit for each objective that is judged, in the unit of
            its name.
        at_most: hard budgets on columns that are known beforehand.
        front: a table of the true front, where this one holds only a part of its space; by
            default the rows that no other beats.
        goal: what strategies are told that counts (see `nas.problem.goal`); by default `region`
            where the reference is numbers, which are told, and else `front`, which tells nothing
            that is made from the table. Of `best`, the first objective that is not known is judged
            alone.

    Raises:
        InputError: a column that is not there, nothing to trade off, nothing to find out, another
            goal, a budget or a reference that no row reaches.
    """
    if not isinstance(table, Table):
        table = read_table(table, space)
    if table.of_blocks:
        raise InputError(f"{table.path}: is a table of blocks; bench needs whole networks")
    asked = _objectives(objectives, known)
    Problem(table.space, asked, _nothing_known)  # refuses what nobody could search
    values = np.stack([_column(table, each.name) for each in asked], axis=1)
    lookup = Lookup(table)
    kept = _distinct(table, lookup, values, asked)
    _check_trade(table.path, values[kept], asked)
    over = _over(table, at_most or {}, asked)
    inside = np.logical_and.reduce([kept, *(each <= 0 for each in over.values())])
    if not inside.any():
        raise InputError(f"{table.path}: no row keeps all of the budgets; allow more")
    limits = {in_kept_unit(name): v * factor_of(name) for name, v in (at_most or {}).items()}
    kind = goal or ("front" if isinstance(reference, str) else "region")
    judged = judged_by(kind, asked)
    places = [asked.index(each) for each in judged]
    if isinstance(reference, str):
        corner = _named(reference)(values[inside][:, places], judged)
    else:
        corner = _corner(reference, [objectives[place] for place in places])
    named = zip((each.name for each in judged), corner.tolist(), strict=True)
    told = Goal(kind, dict(named) if kind == "region" else {})
    benchmark = Benchmark(
        table.path, table.space, asked, values, limits, over, corner, lookup, goal=told
    )
    if not len(benchmark.front):
        _refuse_corner(benchmark, given=not isinstance(reference, str))
    return benchmark if front is None else _with_front(benchmark, front)


def _with_front(benchmark: Benchmark, table: Table | Path | str) -> Benchmark:
    """The benchmark, judged by a given front."""
    if not isinstance(table, Table):
        table = read_table(table)
    given = np.stack([_column(table, each.name) for each in benchmark.objectives], axis=1)
    less, signs = benchmark.less(given), signs_of(benchmark.judged)
    for row in benchmark.front:
        if not (less <= row * signs).all(axis=1).any():
            found = ", ".join(
                f"{each.name} {value:g}" for each, value in zip(benchmark.judged, row, strict=True)
            )
            raise InputError(
                f"{table.path}: is no true front; none of it is as good as a network of "
                f"{benchmark.path} ({found})"
            )
    return replace(benchmark, given_front=given)


def _nothing_known(architectures: Sequence[Architecture]) -> Matrix:
    return np.empty((len(architectures), 0))


def _objectives(columns: Sequence[str], known: Sequence[str]) -> tuple[Objective, ...]:
    if not columns or not all(columns):
        raise InputError("`objectives=` names no column; give one or more, as error_pct,latency_ms")
    before = {in_kept_unit(name) for name in known}
    names = [in_kept_unit(name) for name in columns]
    if extra := sorted(before - set(names)):
        raise InputError(f"`known={extra[0]}`: is no objective; they are {', '.join(names)}")
    return tuple(
        Objective(name, name in before, column.endswith(":max"))
        for name, column in zip(names, columns, strict=True)
    )


def _distinct(
    table: Table, lookup: Lookup, values: Matrix, objectives: Sequence[Objective]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows stand for their architecture; a row that is repeated counts once.

    Of a space with graphs that is the row without dead edges; other spellings may differ from it.
    """
    first = lookup.first
    respelled = lookup.has_dead_edges & ~lookup.has_dead_edges[first]
    differing = np.flatnonzero((values != values[first]).any(axis=1) & ~respelled)
    if differing.size:
        row = int(differing[0])
        column = int(np.flatnonzero(values[row] != values[first[row]])[0])
        raise InputError(
            f"{table.path}, rows {first[row] + 2} and {row + 2}: are one architecture with two "
            f"values of {objectives[column].name}; keep one, or their mean, or name the choice "
            "that tells them apart, as `choice_columns=NAME` (choices are now "
            f"{', '.join(table.columns_by_role['choice'])})"
        )
    return np.asarray(first == np.arange(len(values)))


def _check_trade(path: Path, values: Matrix, objectives: Sequence[Objective]) -> None:
    if len(values) < 2:
        raise InputError(f"{path}: holds one architecture, so there is nothing to search")
    for objective, column in zip(objectives, values.T, strict=True):
        if column.min() == column.max():
            raise InputError(
                f"{path}: {objective.name} is {column[0]:g} in every row, so there is nothing to "
                "trade; leave it out of `objectives=`"
            )
        low, high = float(column.min()), float(column.max())
        if max(abs(low), abs(high)) > LARGEST or high - low < 1 / LARGEST:
            raise InputError(
                f"{path}: {objective.name} goes from {low:g} to {high:g}; volumes of such numbers "
                "cannot be counted, so write it in another unit"
            )


def _over(
    table: Table, at_most: Mapping[str, float], objectives: Sequence[Objective]
) -> dict[str, Vector]:
    unknown = {each.name for each in objectives if not each.known}
    over = {}
    for column, limit in at_most.items():
        name = in_kept_unit(column)
        if name in unknown:
            raise InputError(
                f"`at_most={column}`: is what the search is to find out; budgets are on what is "
                "known (`known=`)"
            )
        excess = _column(table, name) - limit * factor_of(column)
        if excess.min() > 0:
            least = (excess.min() / factor_of(column)) + limit
            raise InputError(
                f"{table.path}: no row keeps `at_most={column}={limit:g}`; the least is {least:g}"
            )
        over[name] = excess
    return over


def _column(table: Table, name: str) -> Vector:
    return np.asarray(table.metric(name), dtype=np.float64)


def _named(reference: str) -> Callable[[Matrix, Sequence[Objective]], Vector]:
    if reference not in REFERENCES:
        raise InputError(
            f"`reference={reference}`: is none of {', '.join(REFERENCES)}; or give a number an "
            "objective, as 40,12"
        )
    return REFERENCES[reference]


def _corner(reference: Sequence[float], columns: Sequence[str]) -> Vector:
    if len(reference) != len(columns):
        raise InputError(
            f"`reference=` has {len(reference)} numbers for {len(columns)} objectives; give one "
            "each, in their order"
        )
    factors = [factor_of(column) for column in columns]
    corner = np.asarray(reference, dtype=float) * factors
    if not np.isfinite(corner).all():
        raise InputError(f"`reference={','.join(map(str, reference))}`: must be finite numbers")
    return corner


def _refuse_corner(benchmark: Benchmark, *, given: bool) -> None:
    less = benchmark.less(benchmark.values[benchmark.feasible])
    best = less.min(axis=0) * signs_of(benchmark.judged)
    found = ", ".join(
        f"{each.name} {value:g}" for each, value in zip(benchmark.judged, best, strict=True)
    )
    corner = ",".join(f"{value:g}" for value in benchmark.reference)
    what = f"`reference={corner}`" if given else f"the box that ends at {corner} by default"
    raise InputError(
        f"{benchmark.path}: no row is better than {what} in every objective (the best of each: "
        f"{found}); give a `reference=` that some row beats"
    )
