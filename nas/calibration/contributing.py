"""A contribution of a device: its rows out of the tables that it was calibrated on."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from latency import Device, Workload
from latency.measurement.anonymous import check_names_nobody, own_names
from latency.predictor.contribution import (
    BLOCK,
    NETWORK,
    Contribution,
    Machine,
    MeasuredRow,
)
from latency.sources.machine_state import NOT_KNOWN
from nas.calibration.block_tables import repeats_of
from nas.calibration.calibrating import Given
from nas.costs.workloads import SpaceCosts, Workloads, workloads_of
from search_spaces import InputError, Table

MACHINE_COLUMNS = ("device", "soc", "compute_unit", "os", "precision", "source")
MOMENT = ("power", "thermal", "tools")  # notes of rows on the machine, not on the network
SYSTEM = re.compile(r"[A-Za-z]+ \d+(?:\.\d+){0,2}")  # what follows may be a kernel of one's own


def contribution(device: Device, given: Given, costs: Workloads | None, name: str) -> Contribution:
    """What a pull request needs of a device, and of the tables that it was calibrated on.

    Args:
        device: as `nas calibrate` wrote it.
        given: those tables, read as it read them.
        costs: the workloads of their rows.
        name: of the device's file, for errors.

    Raises:
        InputError: networks of which the names of options are all that is known; tables of several
            machines, or of others than the device's; text that may name a specimen or its owner.
    """
    if device.choices or costs is None:
        raise InputError(
            f"{name}: was calibrated on the names of options, which say nothing of other networks; "
            "contribute one whose networks are built here: of a U-Net's `space=`, or by `build=`"
        )
    if device.unit != "ms":
        raise InputError(f"{name}: predicts {device.unit}; a contribution is of latencies")
    rows: list[MeasuredRow] = []
    workloads: dict[str, Workload] = {}
    for table in given.tables:
        found = _workloads(table, costs)
        rows += _rows(table, found, given.column)
        workloads |= {workload.name: workload.compact() for workload in found}
    machine = _machine(device, given.tables, given.column)
    bare = replace(
        device,
        facts={
            "soc": machine.soc,
            "compute_unit": machine.compute_unit,
            "precision": machine.precision,
            "os": machine.os,
            "column": given.column,
            "status": f"contributed: {sum(row.of == NETWORK for row in rows)} networks measured",
        },
        extra={},
    )
    found_all = Contribution(machine, tuple(rows), workloads, bare)
    _check_own(found_all, name)
    return found_all


def _check_own(found: Contribution, where: str) -> None:
    """Refuse what this machine, or its user, is called; where it is read that is not known."""
    own = own_names()
    for field, text in vars(found.machine).items():
        check_names_nobody(text, f"{where}, {field}", own)
    for model in found.workloads:
        check_names_nobody(model, f"{where}, network {model[:20]}", own)


def _workloads(table: Table, costs: Workloads) -> list[Workload]:
    """What each row of a table ran."""
    if not table.of_blocks:
        return workloads_of(table, costs)
    if not isinstance(costs, SpaceCosts):
        raise InputError(f"{table.path}: holds blocks, and the networks are built whole")
    return [
        costs.block_workload(str(slot), str(option))
        for slot, option in table.choices.itertuples(index=False)
    ]


def _rows(table: Table, workloads: Sequence[Workload], column: str) -> list[MeasuredRow]:
    latency_ms, repeats = table.metric(column), repeats_of(table)
    notes = _notes(table)
    return [
        MeasuredRow(
            model=workload.name,
            of=BLOCK if table.of_blocks else NETWORK,
            repeats=repeats[row],
            latency_ms=float(latency_ms.iloc[row]),
            **{
                name: _cell(table, name, row) if column == "latency_ms" else None
                for name in ("samples", "std_ms", "p10_ms", "p90_ms")
            },
            ran_on=notes[row].get("ran_on", ""),
        )
        for row, workload in enumerate(workloads)
    ]


def _cell(table: Table, name: str, row: int) -> float | None:
    """A number of a reserved column; None where it has none."""
    cell: Any = table.reserved[name].iloc[row] if name in table.reserved else None
    found = pd.to_numeric(cell, errors="coerce")
    return None if found is None or pd.isna(found) else float(found)


def _notes(table: Table) -> list[dict[str, str]]:
    """The notes of each row by their names."""
    if "notes" not in table.reserved:
        return [{} for _ in range(len(table.metrics))]
    return [_parsed(str(cell)) for cell in table.reserved["notes"]]


def _parsed(text: str) -> dict[str, str]:
    pairs = (each.partition("=") for each in text.split("; "))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _machine(device: Device, tables: Sequence[Table], column: str) -> Machine:
    """What all rows say of the machine; `not known` where none does."""
    said = {name: _said(tables, name) for name in MACHINE_COLUMNS}
    notes = [row for table in tables for row in _notes(table)]
    moment = {name: _together(row.get(name, "") for row in notes) for name in MOMENT}
    system = SYSTEM.match(said["os"])
    if said["device"] in ("host", NOT_KNOWN):
        said["device"] = device.name
    said["os"] = system[0] if system else said["os"]
    return Machine(name=device.name, column=column, **said, **moment)


def _said(tables: Sequence[Table], name: str) -> str:
    """The one thing that a column says, in every row of every table.

    Raises:
        InputError: it says two things: they are of two machines, or of two ways to run.
    """
    texts = {
        str(cell).strip(): table.path
        for table in tables
        if name in table.reserved
        for cell in table.reserved[name].dropna()
    }
    if len(texts) > 1:
        one, other = sorted(texts)[:2]
        raise InputError(
            f"{texts[other]}, column {name!r}: {one!r} and {other!r}; a contribution is of one "
            "machine, measured in one way"
        )
    return next(iter(texts), "") or NOT_KNOWN


def _together(texts: Iterable[str]) -> str:
    """What rows say of the moment, each once in their order."""
    return "; ".join(dict.fromkeys(text for text in texts if text)) or NOT_KNOWN
