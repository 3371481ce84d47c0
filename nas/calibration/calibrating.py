"""Tables to a device: whose columns are measurements, whose are other devices' to borrow from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import latency
from latency import Device, Measurement, Source, Sources, Workload
from latency.measurement.drift import Drift, drift_of
from latency.measurement.measurement import LEAST_MS, MOST_MS
from nas.calibration import block_tables, judging, profiling
from nas.calibration.residuals import Judged
from nas.costs.workloads import SpaceCosts, Workloads, workloads_of
from search_spaces import (
    InputError,
    NumericChoice,
    SearchSpace,
    Table,
    TemporalSpace,
    joined,
    load,
    read_table,
)
from search_spaces.tables.columns import in_kept_unit

PREDICTED = ("predicted_ms", "low_ms", "high_ms")  # columns of a table of costs

Built = tuple[SearchSpace, Workloads]


@dataclass(frozen=True)
class Given:
    """What tables hold of one device, and of those that it may borrow from."""

    column: str
    tables: tuple[Table, ...]
    blocks: list[Measurement]
    networks: list[Measurement]
    sources: Sources | None
    launch_ms: float | None
    space: SearchSpace | None  # that was given
    always_ms: float  # what every network has beside the options of named choices
    unmeasured: tuple[str, ...]  # options of named choices that are in no table, as `stage0=skip`
    drift: Drift | None  # of the machine, where its tables say when their rounds were


def read(
    paths: Sequence[Path],
    space: str | None,
    column: str,
    borrow: Sequence[str] = (),
    choice_columns: Sequence[str] = (),
    built: Built | None = None,
) -> Given:
    """Tables of blocks and of networks as measurements.

    A table of networks without `column` may stand there for what it lends. `choice_columns` are
    choices whatever their names end in. `built` is for networks that a function builds: their
    space, and their workloads.

    Raises:
        InputError: a broken table, a column that no table has, or nothing to calibrate with.
    """
    chosen: SearchSpace | None = load(space) if space else None
    costs: Workloads | None = SpaceCosts(chosen) if isinstance(chosen, TemporalSpace) else None
    if built is not None:
        chosen, costs = built
    column, borrow = in_kept_unit(column), [in_kept_unit(name) for name in borrow]
    _check_names(paths, column, borrow)
    found = [read_table(path, chosen, choice_columns=choice_columns) for path in paths]
    _check_choice_columns(found, choice_columns)
    for table in found:
        _check_columns(table, column, borrow)
        if table.of_blocks and chosen is None:
            raise InputError(
                f"{table.path}: holds blocks; say whose slots they stand in, as "
                "`space=moving_digits`, or the file of a space whose choices they are"
            )
    blocks = [table for table in found if table.of_blocks]
    whole = [table for table in found if not table.of_blocks]
    whole = joined(whole) if whole else []
    networks = {
        table.path: profiling.measurements_of(table, column, costs)
        for table in whole
        if not borrow or table.has_metric(column)
    }
    if borrow and not networks and not blocks:
        raise InputError(f"no table has a metric column {column!r}; name one as `column=NAME`")
    launches = [block_tables.launch_ms(table, column) for table in blocks]
    launch_ms = [ms for ms in launches if ms is not None]
    of_blocks = [m for table in blocks for m in profiling.measurements_of(table, column, costs)]
    of_networks = [m for measured in networks.values() for m in measured]
    of_names = costs is None and bool(blocks)
    return Given(
        column=column,
        tables=tuple(found),
        blocks=of_blocks,
        networks=of_networks,
        sources=_sources(_lent(whole, borrow, networks, costs)) if borrow else None,
        launch_ms=float(np.median(launch_ms)) if launch_ms else None,
        space=chosen,
        always_ms=block_tables.always_ms(blocks, column) if of_names else 0.0,
        unmeasured=tuple(block_tables.unmeasured(chosen, [*of_blocks, *of_networks]))
        if of_names and chosen
        else (),
        drift=drift_of([profiling.rounds_in(table) for table in found])
        if column == "latency_ms"
        else None,
    )


def _check_names(paths: Sequence[Path], column: str, borrow: Sequence[str]) -> None:
    if column in borrow:
        raise InputError(f"`borrow={column}`: that is the column to calibrate")
    if doubled := [name for name in borrow if list(borrow).count(name) > 1]:
        raise InputError(f"`borrow={doubled[0]}`: named twice")
    resolved = [path.resolve() for path in paths]
    if again := [path for path in paths if resolved.count(path.resolve()) > 1]:
        raise InputError(f"{again[0]}: given twice; give each table once")


def _check_choice_columns(tables: Sequence[Table], named: Sequence[str]) -> None:
    held = {column.name for table in tables for column in table.columns}
    if unknown := [name for name in named if name not in held]:
        paths = ", ".join(str(table.path) for table in tables)
        raise InputError(f"`choice_columns={unknown[0]}`: {paths} has no such column")


def _check_columns(table: Table, column: str, borrow: Sequence[str]) -> None:
    """Refuse what is neither time nor energy, and a table that would be read for nothing."""
    if {"strategy", "trial"} <= set(table.reserved) and not borrow:
        raise InputError(
            f"{table.path}: was written by a search or a bench (it has the columns strategy and "
            "trial), which predict or repeat what was measured; calibrate on the table that was "
            "measured, or remove the two columns if this one was"
        )
    if set(PREDICTED) <= set(map(str, table.metrics)) and column in (*PREDICTED, "latency_ms"):
        raise InputError(
            f"{table.path}: {', '.join(PREDICTED)} are predictions of a device, and no "
            "measurements; measure the blocks, and calibrate on that"
        )
    if not borrow and not table.has_metric(column):
        raise InputError(f"{table.path}: {_no_column(table, column)}")
    held = [name for name in (column, *borrow) if table.has_metric(name)]
    if others := [name for name in held if not name.endswith(("_ms", "_mj"))]:
        raise InputError(
            f"{table.path}: column {others[0]!r} holds no times (_ms, _us or _s), nor energies "
            "(_mj)"
        )
    if borrow and not held:
        raise InputError(
            f"{table.path}: has neither {column} nor a column to borrow ({', '.join(borrow)}); its "
            f"metrics: {', '.join(map(str, table.metrics.columns)) or 'none'}"
        )
    for name in held:
        latency_ms = table.metric(name).to_numpy()
        short = latency_ms < LEAST_MS
        if table.of_blocks and not isinstance(table.given_space, TemporalSpace):
            short &= latency_ms > 0  # an option that skips costs nothing
        wrong = np.flatnonzero(short | (latency_ms > MOST_MS))
        if wrong.size:
            raise InputError(
                f"{table.path}, row {wrong[0] + 2}, column {name!r}: {latency_ms[wrong[0]]:g} "
                f"{'mJ is no energy' if name.endswith('_mj') else 'ms is no time'} of a network; "
                "mend or remove the row"
            )


def _no_column(table: Table, column: str) -> str:
    """What to do about a table that lacks the column to calibrate."""
    timed = [name for name in map(str, table.metrics) if name.endswith(("_ms", "_mj"))]
    if any(in_kept_unit(name) == column for name in table.columns_by_role["choice"]):
        return f"{column} is a choice here; name what was measured, as `column=NAME`"
    if timed:
        likely = min(timed, key=lambda name: "latency" not in name)
        return f"has no column {column}; name what was measured, as `column={likely}`"
    return f"nothing is measured in it; add what each row took, as {column}"


def _lent(
    tables: Sequence[Table],
    columns: Sequence[str],
    networks: Mapping[Path, Sequence[Measurement]],
    costs: Workloads | None,
) -> list[Source]:
    """The borrowed columns, each with the networks of its tables."""
    workloads: dict[Path, list[Workload]] = {}
    for table in tables:
        if table.path in networks:
            workloads[table.path] = [m.workload for m in networks[table.path]]
        else:
            workloads[table.path] = workloads_of(table, costs)
    sources = []
    for column in columns:
        holders = [table for table in tables if table.has_metric(column)]
        if not holders:
            paths = ", ".join(str(table.path) for table in tables) or "any table of networks"
            raise InputError(f"`borrow={column}`: found no such metric column in {paths}")
        sources.append(_source(column, holders, workloads))
    return sources


def _sources(lent: Sequence[Source]) -> Sources:
    try:
        return latency.learn_sources(lent)
    except InputError as error:
        raise InputError(f"`borrow=` {error}") from None


def _source(column: str, holders: Sequence[Table], workloads: dict[Path, list[Workload]]) -> Source:
    if len(holders) == 1:  # the list itself: sources of one table are learned together
        latency_ms = [float(ms) for ms in holders[0].metric(column)]
        return Source(column, workloads[holders[0].path], latency_ms)
    return Source(
        column,
        [workload for table in holders for workload in workloads[table.path]],
        [float(ms) for table in holders for ms in table.metric(column)],
    )


def calibrated(
    given: Given, name: str, samples: int | None, seed: int, prior: Device | None = None
) -> tuple[Device, list[Judged]]:
    """A device, and each network that judges it with what was predicted without it.

    With `samples`, so many networks drawn by `seed` fit it and the others judge it; else each
    is judged by what the others say of it. What work costs starts from `prior`, a device like
    this one.
    """
    networks, unseen = given.networks, list[Measurement]()
    if samples is not None:
        if samples > len(networks):
            raise InputError(f"{samples} samples asked for, {len(networks)} networks measured")
        kept = set(chosen_rows(len(networks), samples, seed))
        unseen = [m for index, m in enumerate(networks) if index not in kept]
        networks = [m for index, m in enumerate(networks) if index in kept]

    def fit(kept: Sequence[Measurement]) -> Device:
        return _fitted(given, kept, name, prior)

    device = _of_space(fit(networks), given)
    if unseen:
        device, judged = judging.held_out(device, unseen)
    else:
        device, judged = judging.left_out(device, networks, fit, seed)
    return replace(device, drift=given.drift), judged  # judged are networks of the same hour


def _fitted(
    given: Given, networks: Sequence[Measurement], name: str, prior: Device | None
) -> Device:
    try:
        return latency.calibrate(
            [*given.blocks, *networks],
            name,
            {"column": given.column},
            borrow=given.sources,
            launch_ms=given.launch_ms,
            like=prior,
            always_ms=given.always_ms,
        )
    except InputError as error:
        tables = ", ".join(str(table.path) for table in given.tables)
        raise InputError(f"{tables}, column {given.column!r}: {error}") from None


def _of_space(device: Device, given: Given) -> Device:
    """The device, knowing all choices of a space whose blocks were measured, and its graphs."""
    space = given.space
    if space is None or isinstance(space, TemporalSpace):
        return device
    device = replace(device, graphs=space.graphs)
    if not given.blocks:
        return device
    numeric = {choice.name for choice in space.choices if isinstance(choice, NumericChoice)}
    names = tuple(choice.name for choice in space.choices)
    return replace(device, choices=names, numeric=tuple(n for n in names if n in numeric))


def chosen_rows(count: int, samples: int, seed: int) -> list[int]:
    """Which rows a calibration of so many samples sees."""
    return [int(row) for row in np.random.default_rng(seed).permutation(count)[:samples]]
