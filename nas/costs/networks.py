"""Networks that files and names tell of, as workloads: what a device is asked to predict.

A network is an architecture's file, a row of a table, a Core ML package, or a torch module that a
function builds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency import Device, Prediction, Workload, from_choices
from nas.costs.workloads import SpaceCosts, Workloads, workload_of, workloads_of
from nas.tables import Row
from search_spaces import (
    InputError,
    SearchSpace,
    Table,
    TemporalSpace,
    load,
    read_table,
)
from search_spaces.files import document
from search_spaces.space.architecture import FORMAT, MAJOR, choices_of

COREML = frozenset((".mlpackage", ".mlmodel", ".mlmodelc"))


@dataclass(frozen=True)
class Networks:
    """Networks in the order of their file."""

    rows: tuple[Row, ...]  # id, where the file has one, and what each decides
    workloads: tuple[Workload, ...]
    first_row: int = 2  # the line of the file in which the first stands
    table: Table | None = None  # that they were read of

    @property
    def ids(self) -> list[str] | None:
        """What the file calls them; None where it has no ids."""
        found = [row["id"] for row in self.rows if "id" in row]
        return found if len(found) == len(self.rows) else None

    def predicted(self, predictions: Sequence[Prediction], unit: str) -> list[Row]:
        """Rows of a table of predictions; no calibration takes their columns for measurements."""
        return [
            {
                **row,
                f"predicted_{unit}": each.latency_ms,
                f"low_{unit}": each.low_ms,
                f"high_{unit}": each.high_ms,
            }
            for row, each in zip(self.rows, predictions, strict=True)
        ]


def read_architecture(
    path: Path,
    device: Device,
    space: SearchSpace | None = None,
    workloads: Workloads | None = None,
) -> Networks:
    """The network of an architecture's file.

    Args:
        path: the file.
        device: one that was calibrated on a table knows what its choices are.
        space: that the network is of; moving_digits where neither is given.
        workloads: of its networks, where a function builds them.

    Raises:
        InputError: a broken file, or choices and options that the device or the space lacks.
    """
    if space is None and device.choices:
        decided = choices_of(document.read(path, FORMAT, MAJOR), str(path))
        return Networks((dict(decided),), (_tabular(device, decided, str(path)),), 1)
    space = space or load("moving_digits")
    found = space.read_architecture(path)
    return Networks(
        (dict(found.items()),), (workload_of(space, found, known_of(space, workloads)),), 1
    )


def read_architectures(
    path: Path,
    device: Device,
    space: SearchSpace | None = None,
    workloads: Workloads | None = None,
) -> Networks:
    """The networks of a table, in its order; what was measured of them does not matter.

    Raises:
        InputError: as `read_architecture`; a table of blocks, or one without the device's choices.
    """
    if space is None and not device.choices:
        raise InputError(
            f"{path}: device {device.name!r} knows no table's choices; give the `space=` that the "
            "networks are of"
        )
    taken = device.choices if space is None else ()
    table = read_table(path, space, measured=False, choice_columns=taken)
    if table.of_blocks:
        raise InputError(f"{path}: holds blocks; networks are predicted, one a row")
    if space is None:
        return Networks(_rows(table), _of_choices(device, table), table=table)
    known = known_of(space, workloads)
    return Networks(_rows(table), tuple(workloads_of(table, known)), table=table)


def read_model(model: str, inputs: str | None = None) -> Workload:
    """The workload of a Core ML package, or of the torch module that `package.module:function` is.

    Args:
        model: a path, or the name of a module, a class, or a function that returns a module.
        inputs: of a torch module, as `latency.input_shapes` reads them: `1,3,224,224`.

    Raises:
        InputError: as `latency.read_package` and `latency.trace_built`.
    """
    path = Path(model)
    if path.suffix.lower() in COREML or (":" not in model and path.exists()):
        if inputs is not None:
            raise InputError(f"{model}: a package has its shapes; leave `shape=` out")
        if path.suffix == ".py":
            raise InputError(f"{model}: name what builds the network in it, as {path.stem}:build")
        from latency import read_package

        return read_package(path)
    if inputs is None:
        raise InputError(f"{model}: a torch module needs `shape=1,3,224,224`")
    from latency.tracing.building import input_shapes, trace_built  # which load torch
    from search_spaces.shipped.loading import import_object

    return trace_built(import_object(model, "model"), input_shapes(inputs), model)


def known_of(space: SearchSpace, workloads: Workloads | None) -> Workloads | None:
    """What is known of a space's networks: as given, or of a U-Net's blocks; None: names alone."""
    if workloads is None and isinstance(space, TemporalSpace):
        return SpaceCosts(space)
    return workloads


def _rows(table: Table) -> tuple[Row, ...]:
    ids = [str(each) for each in table.reserved["id"]] if "id" in table.reserved else None
    rows = [{str(k): v for k, v in row.items()} for row in table.choices.to_dict("records")]
    if ids is not None and all(ids):
        rows = [{"id": known, **row} for known, row in zip(ids, rows, strict=True)]
    return tuple(rows)


def _of_choices(device: Device, table: Table) -> tuple[Workload, ...]:
    """The rows of a table whose columns are the device's own choices."""
    columns = [str(column) for column in table.choices.columns]
    _check_choices(device, columns, str(table.path))
    if missing := [name for name in device.choices if name not in columns]:
        raise InputError(
            f"{table.path}: has no column {missing[0]!r}, a choice that device {device.name!r} "
            "was calibrated on; add it, empty where it doesn't matter"
        )
    return tuple(
        _tabular(device, decided, f"{table.path}, row {row}")
        for row, decided in enumerate(table.decisions, start=2)
    )


def _check_choices(device: Device, names: Iterable[str], where: str) -> None:
    for name in names:
        if name not in device.choices:
            raise InputError(
                f"{where}: device {device.name!r} knows nothing of {name!r}; it knows "
                f"{', '.join(device.choices)}"
            )


def _tabular(device: Device, decided: Mapping[str, object], where: str) -> Workload:
    """One network by what it decides, numbers as the device was calibrated on them."""
    _check_choices(device, decided, where)
    for name, option in decided.items():
        if not isinstance(option, (str, int, float)):
            raise InputError(f"{where}: choice {name!r} is {option!r}, no string or number")
    for name in device.numeric:
        if isinstance(decided.get(name, 0), (str, bool)):
            raise InputError(f"{where}, column {name!r}: {decided[name]!r} is not a number")
    if not decided:
        raise InputError(f"{where}: decides nothing; fill the columns {', '.join(device.choices)}")
    decided, dead = _on_graphs(device, decided)
    spelled = " ".join(f"{name}={option}" for name, option in decided.items())
    return from_choices(spelled, list(decided.items()), device.numeric, dead)


def _on_graphs(device: Device, decided: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Decisions with edges that are not decided as absent, and which are off every path."""
    found, dead = dict(decided), dict[str, str]()
    for graph in device.graphs:
        if graph.absent:
            found = {**dict.fromkeys(graph.choices, graph.absent[0]), **found}
        dead |= graph.dead({name: found[name] for name in graph.choices if name in found})
    return {name: found[name] for name in device.choices if name in found}, dead
