"""Measures the blocks and networks of a space on this machine, and what comes of that as tables."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from latency import Measurement, Timing
from latency.sources.torch_host import Protocol, host_facts, measure
from nas.costs import (
    BACKBONE_OPTION,
    BACKBONE_SLOT,
    SpaceCosts,
    block_inputs,
    block_run,
    clip_inputs,
    image_inputs,
    workload_of,
)
from search_spaces import Architecture, InputError, SearchSpace, Table, TemporalSpace
from search_spaces.document import write_atomically
from supernet import ImageUNet, VideoUNet

BlockName = tuple[str, str]  # slot, option
OnVisit = Callable[[], None] | None


def block_names(space: TemporalSpace) -> list[BlockName]:
    """The image U-Net, and every block of every slot that does anything."""
    held = [str(block) for block in space.blocks() if block.operator.module]
    blocks = [(slot.name, option) for slot in space.slots for option in held]
    return [(BACKBONE_SLOT, BACKBONE_OPTION), *blocks]


def spread_out(space: TemporalSpace, count: int, seed: int) -> list[Architecture]:
    """Different random architectures, with the image network and each uniform one to begin with.

    Raises:
        InputError: the space has fewer architectures than asked for.
    """
    if count > space.size:
        raise InputError(
            f"space {space.name!r} has {space.size} networks; {count} cannot be measured"
        )
    found = dict.fromkeys(space.uniform(block) for block in space.blocks())
    rng = np.random.default_rng(seed)
    while len(found) < count:
        found.setdefault(space.sample(rng))
    return list(found)[:count]


def measure_space(
    space: TemporalSpace,
    blocks: Sequence[BlockName],
    networks: Sequence[Architecture],
    protocol: Protocol,
    on_visit: OnVisit = None,
) -> tuple[dict[BlockName, Timing], dict[Architecture, Timing]]:
    """Time blocks and networks of random weights, interleaved, one clip at a time.

    Blocks of equal shape in different slots are timed once.
    """
    slots = {slot.name: slot for slot in space.slots}
    runs: dict[str, Callable[[], object]] = {}
    alike: dict[BlockName, str] = {}
    for slot_name, option in blocks:
        if slot_name == BACKBONE_SLOT:
            alike[slot_name, option] = BACKBONE_SLOT
            runs[BACKBONE_SLOT] = _run(ImageUNet(space.unet).eval(), image_inputs(space))
            continue
        slot = slots[slot_name]
        key = f"{option} {slot.channels} {slot.height} {slot.width} {slot.frames}"
        alike[slot_name, option] = key
        if key not in runs:
            module = block_run(slot, space.parse_block(option))
            runs[key] = _run(module, block_inputs(space, slot))
    for architecture in networks:
        network = VideoUNet(space, architecture).eval()
        runs[architecture.digest] = _run(network, clip_inputs(space))
    timings = measure(runs, protocol, on_visit)
    return (
        {name: timings[key] for name, key in alike.items()},
        {architecture: timings[architecture.digest] for architecture in networks},
    )


def visits(space: TemporalSpace, blocks: int, networks: int, protocol: Protocol) -> int:
    """How often `measure_space` will call `on_visit`."""
    shapes = {(s.channels, s.height, s.width) for s in space.slots}
    held = sum(bool(block.operator.module) for block in space.blocks())
    return ((1 + len(shapes) * held if blocks else 0) + networks) * protocol.rounds


def _run(module: Any, inputs: tuple[Any, ...]) -> Callable[[], object]:
    return lambda: module(*inputs)


def write_blocks(path: Path, timings: dict[BlockName, Timing]) -> None:
    """A table of blocks."""
    rows = [
        {"slot": slot, "option": option, **_timing_columns(timing)}
        for (slot, option), timing in timings.items()
    ]
    _write(path, rows)


def write_networks(
    path: Path,
    space: SearchSpace,
    timings: dict[Architecture, Timing],
    extra: dict[str, list[float]] | None = None,
) -> None:
    """A table of whole networks; choices that don't matter stay empty."""
    names = [choice.name for choice in space.choices]
    rows = [
        {
            **{name: architecture.get(name, "") for name in names},
            **_timing_columns(timing),
            **{column: values[index] for column, values in (extra or {}).items()},
        }
        for index, (architecture, timing) in enumerate(timings.items())
    ]
    _write(path, rows)


def _timing_columns(timing: Timing) -> dict[str, Any]:
    return {
        "latency_ms": timing.latency_ms,
        "samples": timing.samples,
        "std_ms": timing.std_ms,
        "p10_ms": timing.p10_ms,
        "p90_ms": timing.p90_ms,
        "repeats": 1,
        **host_facts(),
    }


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    write_atomically(path, pd.DataFrame(rows).to_csv(index=False))


def measurements_of(table: Table, column: str, costs: SpaceCosts | None) -> list[Measurement]:
    """The rows of a table as measurements; a chain's time is divided by its `repeats`."""
    latency_ms = table.metric(column)
    repeats = _repeats(table)
    workloads: Iterable[Any]
    if table.of_blocks:
        if costs is None:
            raise InputError(f"{table.path}: blocks need a space with a U-Net; give --space")
        workloads = []
        for row, (slot, option) in enumerate(table.choices.itertuples(index=False), start=2):
            try:
                workloads.append(costs.block_workload(str(slot), str(option)))
            except InputError as error:
                raise InputError(f"{table.path}, row {row}: {error}") from None
    else:
        workloads = [workload_of(table.space, a, costs) for a in table.architectures]
    return [
        Measurement(workload, float(ms) / count)
        for workload, ms, count in zip(workloads, latency_ms, repeats, strict=True)
    ]


def _repeats(table: Table) -> list[float]:
    if "repeats" not in table.reserved:
        return [1.0] * len(table.metrics)
    found = []
    for row, cell in enumerate(table.reserved["repeats"], start=2):
        try:
            count = float(cell)
        except ValueError:
            count = math.nan
        if not count >= 1:
            raise InputError(f"{table.path}, row {row}: repeats {cell!r} is not 1 or more")
        found.append(count)
    return found
