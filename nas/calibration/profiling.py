"""What of a space is measured, and what comes of that as rows; and tables as measurements."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import nn

import latency
from latency import Measurement, from_choices
from latency.sources.contract import Inputs, Job, Protocol, Source
from latency.sources.journal import Journal
from latency.sources.visits import Measured, gather, visits
from nas.costs.block_costs import layout
from nas.costs.modules import block_inputs, block_run, clip_inputs, image_inputs
from nas.costs.workloads import (
    BACKBONE_OPTION,
    BACKBONE_SLOT,
    SpaceCosts,
    numeric_choices,
    workload_of,
)
from nas.tables import Row, choice_columns
from search_spaces import Architecture, Block, InputError, SearchSpace, Slot, Table, TemporalSpace
from search_spaces.files.document import Json
from supernet import Backbone, VideoUNet, build_backbone

BlockName = tuple[str, str]  # slot, option
Build = Callable[[Architecture], tuple[nn.Module, Inputs]]
CANDIDATES = 1000  # networks that a choice among them looks at
MOST_CHOSEN = 100  # the rest are random: what a hundred leave unknown is noise
HIDDEN = 0.01  # of a chain's time a block: a slope below that is noise


def block_names(space: TemporalSpace) -> list[BlockName]:
    """The image U-Net, and every block of every slot that does anything."""
    held = [str(block) for block in space.blocks() if block.operator.module]
    blocks = [(slot.name, option) for slot in space.slots for option in held]
    return [(BACKBONE_SLOT, BACKBONE_OPTION), *blocks]


def worth_measuring(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """The networks whose measurement teaches most about all others, the most telling first.

    Everything that chooses networks to measure asks here.

    Raises:
        InputError: the space has fewer architectures than asked for.
    """
    found = spread_out(space, max(count, int(min(CANDIDATES, space.size))), seed)
    numeric = numeric_choices(space)
    parts = [list(_decisions(space, architecture)) for architecture in found]
    workloads = [from_choices(str(a), each, numeric) for a, each in zip(found, parts, strict=True)]
    told = latency.worth_measuring(workloads, min(count, MOST_CHOSEN))
    rest = [index for index in range(len(found)) if index not in set(told)]
    return [found[index] for index in (*told, *rest)][:count]


def _decisions(space: SearchSpace, architecture: Architecture) -> Iterable[tuple[str, object]]:
    """(slot, block) of a U-Net's space, (choice, option) of any other."""
    if isinstance(space, TemporalSpace):
        return layout(space, architecture).items()
    return architecture.items()


def enough_networks(space: SearchSpace) -> int:
    """How many networks to measure first: ten, and two for each thing that may add its time."""
    options = {str(o) for choice in space.choices for o in getattr(choice, "options", [choice])}
    return int(min(10 + 2 * len(options), space.size))


def spread_out(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Different random architectures, with the uniform ones of a U-Net's space to begin with.

    Raises:
        InputError: the space has fewer architectures than asked for.
    """
    uniform = []
    if isinstance(space, TemporalSpace):
        uniform = [space.uniform(block) for block in space.blocks()]
    return _different(space, uniform, count, seed)[:count]


def held_out(
    space: SearchSpace, seen: Sequence[Architecture], count: int, seed: int
) -> list[Architecture]:
    """Random architectures other than those seen, to judge predictions by."""
    return _different(space, seen, len(seen) + count, seed)[len(seen) :]


def _different(
    space: SearchSpace, begin: Iterable[Architecture], count: int, seed: int
) -> list[Architecture]:
    """Architectures to begin with, and random ones until there are so many different ones."""
    if count > space.size:
        raise InputError(
            f"space {space.name!r} has {space.size} networks; {count} cannot be measured"
        )
    found = dict.fromkeys(begin)
    rng = np.random.default_rng(seed)
    while len(found) < count:
        found.setdefault(space.sample(rng))
    return list(found)


@dataclass(frozen=True)
class Planned:
    """What is to be measured: the jobs, and the rows that their times will stand in.

    Blocks of equal shape in several slots are one job and several rows. The column `id` of a row
    is the name of its job.
    """

    jobs: dict[str, Job]
    rows: list[Row]

    def __add__(self, other: "Planned") -> "Planned":
        """Both."""
        return Planned(self.jobs | other.jobs, self.rows + other.rows)

    def measured_rows(self, measured: Mapping[str, Measured], source: Source) -> list[Row]:
        """The rows of the table."""
        columns = {**source.facts(), "source": source.name}
        return [
            {
                **row,
                **measured[row["id"]].timing.columns(),
                **columns,
                "notes": measured[row["id"]].notes,
            }
            for row in self.rows
        ]


def plan_blocks(
    space: TemporalSpace, blocks: Sequence[BlockName], chains: Sequence[int] = (1,)
) -> Planned:
    """Blocks with random weights, at one clip's shapes, each in chains of these lengths.

    The image U-Net is measured alone.
    """
    slots = {slot.name: slot for slot in space.slots}
    jobs: dict[str, Job] = {}
    rows: list[Row] = []
    for slot_name, option in blocks:
        whole = slot_name == BACKBONE_SLOT
        for repeats in (1,) if whole else chains:
            if whole:
                name, job = BACKBONE_SLOT, Job(partial(_image, space))
            else:
                slot, block = slots[slot_name], space.parse_block(option)
                size = f"{slot.channels}x{slot.height}x{slot.width}"
                name = f"{option}-{size}-{slot.frames}f-x{repeats}"
                job = Job(partial(_block, space, slot, block), repeats)
            jobs.setdefault(name, job)
            rows.append({"id": name, "slot": slot_name, "option": option, "repeats": repeats})
    return Planned(jobs, rows)


def plan_networks(
    space: SearchSpace, architectures: Sequence[Architecture], build: Build | None = None
) -> Planned:
    """Whole networks with random weights, for one clip; those of a table have nothing to build.

    `build` makes networks of a space that is no U-Net's.
    """
    if any(choice.name == "id" for choice in space.choices):
        raise InputError(
            f"space {space.name!r} has a choice called 'id', as the column of the networks' names "
            "is; rename it"
        )
    rows = [
        {"id": network_id(architecture), **choice_columns(space, architecture)}
        for architecture in architectures
    ]
    jobs = {}
    if build is None and isinstance(space, TemporalSpace):
        build = partial(_network, space)
    if build is not None:
        jobs = {network_id(a): Job(partial(build, a)) for a in architectures}
    return Planned(jobs, rows)


def network_id(architecture: Architecture) -> str:
    """A name for tables and files; no spreadsheet takes it for a number."""
    return f"net-{architecture.digest}"


def _image(space: TemporalSpace) -> tuple[Backbone, Inputs]:
    return build_backbone(space.unet), image_inputs(space)


def _block(space: TemporalSpace, slot: Slot, block: Block) -> tuple[Any, Inputs]:
    return block_run(slot, block), block_inputs(space, slot)


def _network(space: TemporalSpace, architecture: Architecture) -> tuple[VideoUNet, Inputs]:
    return VideoUNet(space, architecture), clip_inputs(space)


def measure(
    source: Source,
    planned: Planned,
    protocol: Protocol,
    journal: Journal,
    on_visit: Callable[[], None],
) -> dict[str, Measured]:
    """Make the visits that the journal lacks; each stands in it before the next begins."""
    for visit in visits(source, planned.jobs, protocol, journal.done):
        journal.append(visit)
        on_visit()
    return gather(journal.visits)


def settings_of(space: SearchSpace, source: Source, planned: Planned, protocol: Protocol) -> Json:
    """What a measurement must agree in to be gone on with."""
    content = [json.dumps(space.to_json(), sort_keys=True), *sorted(planned.jobs)]
    space_digest, jobs_digest = (
        hashlib.sha256(text.encode()).hexdigest()[:8] for text in (content[0], str(content[1:]))
    )
    return {
        "space": f"{space.name} {space_digest}",
        "seed": protocol.seed,
        "rounds": protocol.rounds,
        "runs_per_visit": protocol.runs_per_visit,
        "source": source.name,
        **source.facts(),
        "jobs": f"{len(planned.jobs)} ({jobs_digest})",
    }


def measurements_of(table: Table, column: str, costs: SpaceCosts | None) -> list[Measurement]:
    """The rows of a table as measurements, those of chains as their block's.

    The time of a chain is divided by its `repeats`. Where a block stands in chains of several
    lengths, its time is what one more of it adds: the launch is left out. Where noise hides that,
    the longest chain counts.
    """
    latency_ms = [float(ms) for ms in table.metric(column)]
    repeats = _repeats(table)
    if not table.of_blocks:
        workloads = [workload_of(table.space, a, costs) for a in table.architectures]
        times_ms = [ms / count for ms, count in zip(latency_ms, repeats, strict=True)]
        return [Measurement(w, ms) for w, ms in zip(workloads, times_ms, strict=True)]
    if costs is None:
        raise InputError(f"{table.path}: holds blocks, which need a space with a U-Net")
    found = []
    for (slot, option), rows in _rows_of_blocks(table).items():
        try:
            workload = costs.block_workload(slot, option)
        except InputError as error:
            raise InputError(f"{table.path}, row {rows[0] + 2}: {error}") from None
        chains = [(repeats[row], latency_ms[row]) for row in rows]
        found += [Measurement(workload, ms) for ms in _block_ms(chains)]
    return found


def launch_ms(table: Table, column: str) -> float | None:
    """What a call costs beside the blocks in it, the median over a table's blocks.

    None where no block stands in chains of several lengths.
    """
    latency_ms, repeats = [float(ms) for ms in table.metric(column)], _repeats(table)
    lines = [
        _line([(repeats[row], latency_ms[row]) for row in rows])
        for rows in (_rows_of_blocks(table) if table.of_blocks else {}).values()
    ]
    found = [line[1] for line in lines if line is not None]
    return max(0.0, float(np.median(found))) if found else None


Chains = Sequence[tuple[float, float]]  # (repeats, ms), all of one block


def _block_ms(chains: Chains) -> list[float]:
    """The block's time: one, or one a chain where all chains are equally long."""
    if (line := _line(chains)) is not None:
        return [line[0]]
    longest = max(count for count, _ in chains)
    return [ms / count for count, ms in chains if count == longest]


def _line(chains: Chains) -> tuple[float, float] | None:
    """What one more block adds, and the rest, in ms, of chains of several lengths.

    None for chains of one length, and where noise lets a longer chain take hardly longer.
    """
    counts, times_ms = zip(*chains, strict=True)
    if len(set(counts)) < 2:
        return None
    slope, intercept = (float(found) for found in np.polyfit(counts, times_ms, 1))
    return (slope, intercept) if slope > HIDDEN * max(times_ms) / max(counts) else None


def _rows_of_blocks(table: Table) -> dict[BlockName, list[int]]:
    found: dict[BlockName, list[int]] = {}
    for row, (slot, option) in enumerate(table.choices.itertuples(index=False)):
        found.setdefault((str(slot), str(option)), []).append(row)
    return found


def _repeats(table: Table) -> list[float]:
    if "repeats" not in table.reserved:
        return [1.0] * len(table.metrics)
    found = []
    for row, cell in enumerate(table.reserved["repeats"], start=2):
        try:
            count = float(cell)
        except ValueError:
            count = math.nan
        if not 1 <= count < math.inf:
            raise InputError(f"{table.path}, row {row}: repeats {cell!r} is not 1 or more")
        found.append(count)
    return found
