"""Contributions: a device, and the rows that it was calibrated on, as a pull request brings them.

A folder of four files (latency/devices/README.md says what each field means):

- `machine.json`: what was measured, on what, by what; nothing that tells one specimen from another
- `rows.csv`: a line a measured network or block
- `workloads.json`: what the networks and blocks of the rows run, each once
- `device.json`: the device, with its errors on networks that it had not seen
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields

from latency.measurement.anonymous import check_names_nobody
from latency.predictor.device import Device
from latency.workload.workload import Workload
from search_spaces import InputError
from search_spaces.files.document import Json

FORMAT, MAJOR = "temporal-nas/contribution", 1
MACHINE, ROWS, WORK, DEVICE = "machine.json", "rows.csv", "workloads.json", "device.json"
NETWORK, BLOCK = "network", "block"
LEAST_NETWORKS = 10  # with fewer, what a device says of its errors is luck
LONGEST_TEXT = 400
NOT_OF_ROWS = "is not of the rows; give all tables that the device was calibrated on, and no others"
FACTS = {"soc", "compute_unit", "precision", "os", "status", "column"}  # that its device may hold


@dataclass(frozen=True)
class Machine:
    """What was measured: as it is sold, never the specimen. `not known` where nobody told.

    Args:
        name: of the device, as `nas devices` is to list it: `pixel-9`.
        device: the product.
        soc: the chip.
        compute_unit: what ran the networks: `cpu, 1 threads`, `ne`.
        precision: of the numbers: `float16`.
        os: the system and its version.
        source: what timed them.
        tools: versions of what built and ran them.
        power: mains, or battery.
        thermal: what the machine told of its heat.
        column: of the tables that the device predicts: `latency_ms`.
    """

    name: str
    device: str
    soc: str
    compute_unit: str
    precision: str
    os: str
    source: str
    tools: str
    power: str
    thermal: str
    column: str

    def to_json(self) -> Json:
        """As `machine.json` has it."""
        return {"format": FORMAT, "version": f"{MAJOR}.0", **asdict(self)}


@dataclass(frozen=True)
class MeasuredRow:
    """A measured network or block; `None` where a table did not say.

    Args:
        model: the name of its workload.
        of: network, or block.
        repeats: how many of it ran one after another in one call.
        latency_ms: of a call, the median.
        samples: calls.
        std_ms: of the calls.
        p10_ms: a tenth of the calls took less.
        p90_ms: a tenth took more.
        ran_on: the share of its time on each device: `ne:0.97,cpu:0.03`.
    """

    model: str
    of: str
    repeats: float
    latency_ms: float
    samples: float | None = None
    std_ms: float | None = None
    p10_ms: float | None = None
    p90_ms: float | None = None
    ran_on: str = ""


COLUMNS = tuple(field.name for field in fields(MeasuredRow))


@dataclass(frozen=True)
class Contribution:
    """All of it."""

    machine: Machine
    rows: tuple[MeasuredRow, ...]
    workloads: Mapping[str, Workload]
    device: Device


def check_contribution(found: Contribution, where: str) -> None:
    """Check that rows, workloads and device belong together, and that nothing names anybody.

    Raises:
        InputError: says what, and where.
    """
    _check_anonymous(found, where)
    _check_rows(found, where)
    _check_device(found, where)


def _check_rows(found: Contribution, where: str) -> None:
    for row in found.rows:
        if row.model not in found.workloads:
            raise InputError(f"{where}, {ROWS}: {row.model!r} has no workload in {WORK}")
    if unused := sorted(found.workloads.keys() - {row.model for row in found.rows}):
        raise InputError(f"{where}, {WORK}: no row is of {unused[0]!r}")
    networks = {row.model for row in found.rows if row.of == NETWORK}
    if len(networks) < LEAST_NETWORKS:
        raise InputError(
            f"{where}, {ROWS}: {len(networks)} whole networks; a contribution has "
            f"{LEAST_NETWORKS} or more, so that its errors say something"
        )


def _check_device(found: Contribution, where: str) -> None:
    device = found.device
    if device.name != found.machine.name:
        raise InputError(f"{where}: {DEVICE} is {device.name!r}, {MACHINE} {found.machine.name!r}")
    if device.validation is None:
        raise InputError(f"{where}, {DEVICE}: says nothing of its errors on unseen networks")
    if device.extra:
        raise InputError(f"{where}, {DEVICE}: field {min(device.extra)!r} is not of a device")
    if unknown := sorted(device.facts.keys() - FACTS):
        raise InputError(f"{where}, {DEVICE}, facts: {unknown[0]!r} is not to be told")
    rows_ms: dict[str, list[float]] = {}
    for row in found.rows:
        rows_ms.setdefault(row.model, []).append(row.latency_ms / row.repeats)
    for seen in (*device.measurements, *device.judged):
        held = rows_ms.get(seen.name, ())
        if not any(math.isclose(seen.latency_ms, ms, rel_tol=1e-6) for ms in held):
            raise InputError(f"{where}, {DEVICE}: {seen.name!r} {NOT_OF_ROWS}")
    for name, _ in device.blocks.values():
        if name not in rows_ms:
            raise InputError(f"{where}, {DEVICE}: {name!r} {NOT_OF_ROWS}")


def _check_anonymous(found: Contribution, where: str) -> None:
    for name, text in asdict(found.machine).items():
        check_text(text, f"{where}, {MACHINE}, {name}")
    for name, text in found.device.facts.items():
        check_text(text, f"{where}, {DEVICE}, facts, {name}")
    said = {ROWS: {text for row in found.rows for text in (row.model, row.ran_on)}}
    said[WORK] = {o.kind for workload in found.workloads.values() for o in workload.operations}
    content = found.device.to_json()
    said[DEVICE] = set(_texts({**content, "blocks": list(content["blocks"].values())}))
    for file, texts in said.items():
        for text in sorted(texts):
            check_names_nobody(text, f"{where}, {file}")


def _texts(content: object) -> Iterator[str]:
    """Every text in a document, the names of its fields included."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for name, value in content.items():
            yield str(name)
            yield from _texts(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from _texts(value)


def check_text(text: object, where: str) -> str:
    """A line of text that says something and names nobody; InputError else."""
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise InputError(f"{where}: expected a line of text; say 'not known' where it is not")
    if len(text) > LONGEST_TEXT:
        raise InputError(f"{where}: expected {LONGEST_TEXT} letters at most")
    return check_names_nobody(text, where)
