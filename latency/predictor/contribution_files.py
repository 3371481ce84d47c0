"""Contributions as folders: written whole or not at all, and read with suspicion."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from latency.measurement.measurement import LEAST_MS, MOST_MS
from latency.predictor.contribution import (
    BLOCK,
    COLUMNS,
    DEVICE,
    FORMAT,
    MACHINE,
    MAJOR,
    NETWORK,
    ROWS,
    WORK,
    Contribution,
    Machine,
    MeasuredRow,
    check_contribution,
    check_text,
)
from latency.predictor.device import FORMAT as DEVICE_FORMAT
from latency.predictor.device import MAJOR as DEVICE_MAJOR
from latency.predictor.device import Device
from latency.workload.workload import Workload
from search_spaces import InputError
from search_spaces.files import document

WORKLOADS = "temporal-nas/published-workloads"
FILES = (MACHINE, ROWS, WORK, DEVICE)
LARGEST_BYTES = 20_000_000


def save_contribution(found: Contribution, folder: Path) -> None:
    """Write a contribution's folder, whole or not at all.

    Raises:
        InputError: it would be refused.
    """
    check_contribution(found, str(folder))
    with document.replacing_folder(folder) as half:
        (half / MACHINE).write_text(document.dumps(found.machine.to_json()), encoding="utf-8")
        (half / ROWS).write_text(_rows_text(found.rows), encoding="utf-8")
        (half / WORK).write_text(_workloads_text(found.workloads), encoding="utf-8")
        found.device.save(half / DEVICE)


def read_contribution(folder: Path) -> Contribution:
    """Read a contribution, and check it as a pull request is checked.

    Raises:
        InputError: a file is missing, or is one too many; a field or a row that is none; text
            that may name a specimen or its owner; a device that is not of the rows.
    """
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for name in sorted(set(FILES) - found):
        raise InputError(f"{folder / name}: is missing; a contribution is {', '.join(FILES)}")
    for name in sorted(found - set(FILES)):
        raise InputError(f"{folder / name}: is no file of a contribution; take it out")
    for name in FILES:
        if (folder / name).stat().st_size > LARGEST_BYTES:
            raise InputError(f"{folder / name}: is larger than {LARGEST_BYTES / 1e6:g} MB")
    read = Contribution(
        _machine(folder / MACHINE),
        _rows(folder / ROWS),
        _workloads(folder / WORK),
        Device.from_json(
            document.read(folder / DEVICE, DEVICE_FORMAT, DEVICE_MAJOR), str(folder / DEVICE)
        ),
    )
    check_contribution(read, str(folder))
    return read


def _machine(path: Path) -> Machine:
    content = document.read(path, FORMAT, MAJOR)
    known = {field.name for field in fields(Machine)}
    given = content.keys() - {"format", "version"}
    if given != known:
        one = min(given ^ known)
        raise InputError(
            f"{path}: field {one!r} {'is missing' if one in known else 'is not known'}"
        )
    return Machine(**{name: check_text(content[name], f"{path}, {name}") for name in known})


def _rows_text(rows: Sequence[MeasuredRow]) -> str:
    """The rows as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = asdict(row)
        writer.writerow({name: "" if cells[name] is None else cells[name] for name in COLUMNS})
    return stream.getvalue()


def _rows(path: Path) -> tuple[MeasuredRow, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise InputError(f"{path}: expected the columns {','.join(COLUMNS)}")
            return tuple(_row(cells, f"{path}, row {n}") for n, cells in enumerate(reader, 2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table: {error}") from None


def _row(cells: Mapping[str | None, object], where: str) -> MeasuredRow:
    if cells.keys() != set(COLUMNS) or None in cells.values():
        raise InputError(f"{where}: expected {len(COLUMNS)} cells")
    text = {str(name): str(cell) for name, cell in cells.items()}
    if text["of"] not in (NETWORK, BLOCK) or not text["model"]:
        raise InputError(f"{where}: expected a model, and of {NETWORK} or {BLOCK}")
    numbers = {
        name: _number(text[name], f"{where}, {name}")
        for name in ("repeats", "latency_ms", "samples", "std_ms", "p10_ms", "p90_ms")
    }
    repeats, latency_ms = numbers.pop("repeats"), numbers.pop("latency_ms")
    if latency_ms is None or not LEAST_MS <= latency_ms <= MOST_MS:
        raise InputError(f"{where}, latency_ms: {text['latency_ms']!r} is no time of a network")
    if repeats is None or not 1 <= repeats <= MOST_MS:
        raise InputError(f"{where}, repeats: {text['repeats']!r} is not 1 or more")
    return MeasuredRow(
        text["model"], text["of"], repeats, latency_ms, **numbers, ran_on=text["ran_on"]
    )


def _number(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise InputError(f"{where}: {text[:40]!r} is no number of at least 0")
    return found


def _workloads_text(workloads: Mapping[str, Workload]) -> str:
    """A line each, as devices/published/workloads.json has them."""
    head = json.dumps({"format": WORKLOADS, "version": "1.0"}, separators=(",", ":"))
    lines = [
        json.dumps(each.to_json(), separators=(",", ":"), allow_nan=False)
        for each in workloads.values()
    ]
    return f'{head[:-1]},"workloads":[\n' + ",\n".join(lines) + "\n]}\n"


def _workloads(path: Path) -> dict[str, Workload]:
    entries = document.read(path, WORKLOADS, 1).get("workloads")
    if not isinstance(entries, list):
        raise InputError(f"{path}: expected a list of workloads")
    found: dict[str, Workload] = {}
    for entry in entries:
        workload = Workload.from_json(entry, str(path))
        if workload.name in found:
            raise InputError(f"{path}: {workload.name!r} stands there twice")
        if not workload.measurable:
            raise InputError(f"{path}: {workload.name!r}: its operations have no sizes")
        found[workload.name] = workload
    return found
