"""Tables to a device: whose columns are measurements, whose are other devices' to borrow from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import latency
from latency import Device, Measurement, Source, Sources, Workload
from nas import profiling
from nas.calibration_report import Judged
from nas.costs import SpaceCosts, workload_of
from search_spaces import InputError, SearchSpace, Table, TemporalSpace, joined, load, read_table


@dataclass(frozen=True)
class Given:
    """What tables hold of one device, and of those that it may borrow from."""

    column: str
    blocks: list[Measurement]
    networks: list[Measurement]
    sources: Sources | None
    launch_ms: float | None


def read(
    paths: Sequence[Path], space: str | None, column: str, borrow: Sequence[str] = ()
) -> Given:
    """Tables of blocks and of networks as measurements.

    A table of networks without `column` may stand there for what it lends.

    Raises:
        InputError: a broken table, a column that no table has, or nothing to calibrate with.
    """
    chosen: SearchSpace | None = load(space) if space else None
    costs = SpaceCosts(chosen) if isinstance(chosen, TemporalSpace) else None
    if column in borrow:
        raise InputError(f"--borrow {column}: that is the column to calibrate")
    found = [read_table(path, chosen) for path in paths]
    whole = [table for table in found if not table.of_blocks]
    whole = joined(whole) if whole else []
    measured = [table for table in whole if not borrow or _has(table, column)]
    if borrow and not measured and not any(table.of_blocks for table in found):
        raise InputError(f"no table has a metric column {column!r}; give --column")
    launches = [
        ms
        for table in found
        if table.of_blocks and (ms := profiling.launch_ms(table, column)) is not None
    ]
    return Given(
        column=column,
        blocks=[
            measurement
            for table in found
            if table.of_blocks
            for measurement in profiling.measurements_of(table, column, costs)
        ],
        networks=[m for t in measured for m in profiling.measurements_of(t, column, costs)],
        sources=latency.learn_sources(_lent(whole, borrow, costs)) if borrow else None,
        launch_ms=float(np.median(launches)) if launches else None,
    )


def _has(table: Table, column: str) -> bool:
    try:
        table.metric(column)
    except InputError:
        return False
    return True


def _lent(
    tables: Sequence[Table], columns: Sequence[str], costs: SpaceCosts | None
) -> list[Source]:
    """The borrowed columns, each with the networks of its table."""
    found = []
    for column in columns:
        holders = [table for table in tables if _has(table, column)]
        if not holders:
            paths = ", ".join(str(table.path) for table in tables) or "no table of networks"
            raise InputError(f"--borrow {column}: no such metric column in {paths}")
        found.append((column, holders))
    workloads = {
        table.path: [workload_of(table.space, a, costs) for a in table.architectures]
        for _, holders in found
        for table in holders
    }
    return [_source(column, holders, workloads) for column, holders in found]


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
    given: Given, name: str, samples: int | None, seed: int
) -> tuple[Device, list[Judged]]:
    """A device, and each network that judges it with what was predicted without it.

    With `samples`, so many networks drawn by `seed` fit it and the others judge it; else each
    is judged by what the others say of it.
    """
    networks, unseen = given.networks, list[Measurement]()
    if samples is not None:
        if samples > len(networks):
            raise InputError(f"{samples} samples asked for, {len(networks)} networks measured")
        kept = set(chosen_rows(len(networks), samples, seed))
        unseen = [m for index, m in enumerate(networks) if index not in kept]
        networks = [m for index, m in enumerate(networks) if index in kept]
    device = latency.calibrate(
        [*given.blocks, *networks],
        name,
        {"column": given.column},
        borrow=given.sources,
        launch_ms=given.launch_ms,
    )
    if unseen:
        device = device.validated(unseen, "held out")
        return device, [Judged(m, device.predict(m.workload)) for m in unseen]
    judged = [
        Judged(measurement, seen.left_out)
        for measurement, seen in zip(networks, device.measurements, strict=True)
        if seen.left_out is not None
    ]
    return device, judged


def chosen_rows(count: int, samples: int, seed: int) -> list[int]:
    """Which rows a calibration of so many samples sees."""
    return [int(row) for row in np.random.default_rng(seed).permutation(count)[:samples]]
