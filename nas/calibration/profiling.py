"""What of a space is measured, and what comes of that as rows; and tables as measurements."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import nn

import latency
from latency import Measurement, Workload, from_choices
from latency.measurement.rounds import Round, rounds_of, rounds_text
from latency.sources.contract import Inputs, Job, Notes, Protocol, Source
from latency.sources.journal import Journal
from latency.sources.visits import Measured, gather, notes_text, visits
from nas.calibration import block_tables
from nas.calibration.block_tables import BlockName
from nas.costs.block_costs import layout
from nas.costs.modules import block_inputs, block_run, clip_inputs, image_inputs
from nas.costs.workloads import (
    BACKBONE_OPTION,
    BACKBONE_SLOT,
    SpaceCosts,
    Workloads,
    workload_of,
    workloads_of,
)
from nas.tables import Row, choice_columns
from search_spaces import (
    Architecture,
    Block,
    InputError,
    SearchSpace,
    Slot,
    Table,
    TemporalSpace,
)
from search_spaces.files.document import Json
from supernet import Backbone, VideoUNet, build_backbone

Build = Callable[[Architecture], tuple[nn.Module, Inputs]]
Exists = Callable[[Architecture], bool]
CANDIDATES = 1000  # networks that a choice among them looks at
MOST_CHOSEN = 100  # the rest are random: what a hundred leave unknown is noise


def block_names(space: TemporalSpace) -> list[BlockName]:
    """The image U-Net, and every block of every slot that does anything."""
    held = [str(block) for block in space.blocks() if block.operator.module]
    blocks = [(slot.name, option) for slot in space.slots for option in held]
    return [(BACKBONE_SLOT, BACKBONE_OPTION), *blocks]


def worth_measuring(
    space: SearchSpace, count: int, seed: int, exists: Exists | None = None
) -> list[Architecture]:
    """The networks whose measurement teaches most about all others, the most telling first.

    Everything that chooses networks to measure asks here. `exists` says which can be built.

    Raises:
        InputError: the space has fewer architectures than asked for.
    """
    found = spread_out(space, max(count, int(min(CANDIDATES, space.size))), seed)
    workloads = [_by_decisions(space, architecture) for architecture in found]
    told = latency.worth_measuring(workloads, min(count, MOST_CHOSEN))
    rest = [index for index in range(len(found)) if index not in set(told)]
    ordered = (found[index] for index in (*told, *rest))
    return _so_many((each for each in ordered if exists is None or exists(each)), count)


def _by_decisions(space: SearchSpace, architecture: Architecture) -> Workload:
    """By the names of (slot, block) of a U-Net's space, of (choice, option) of any other."""
    if isinstance(space, TemporalSpace):
        return from_choices(str(architecture), list(layout(space, architecture).items()))
    return workload_of(space, architecture, None)


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
    space: SearchSpace,
    seen: Sequence[Architecture],
    count: int,
    seed: int,
    exists: Exists | None = None,
) -> list[Architecture]:
    """Random architectures other than those seen, to judge predictions by."""
    if exists is None:
        return _different(space, seen, len(seen) + count, seed)[len(seen) :]
    some = int(min(space.size, len(seen) + max(CANDIDATES, count)))
    fresh = _different(space, seen, some, seed)[len(seen) :]
    return _so_many((each for each in fresh if exists(each)), count)


def _so_many(networks: Iterable[Architecture], count: int) -> list[Architecture]:
    """The first so many, looked for no further than needed; InputError where there are fewer."""
    found = list(itertools.islice(networks, count))
    if len(found) < count:
        raise InputError(f"{len(found)} networks can be built, and {count} are to be measured")
    return found


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

    def measured_rows(
        self, measured: Mapping[str, Measured], source: Source, state: Notes | None = None
    ) -> list[Row]:
        """The rows of the table; notes end in the `state` of the machine."""
        columns = {**source.facts(), "source": source.name}
        told = notes_text(state or {})
        return [
            {
                **row,
                **measured[row["id"]].timing.columns(),
                **_steady_column(measured[row["id"]]),
                **columns,
                "notes": "; ".join(filter(None, (measured[row["id"]].notes, told))),
                **_rounds_column(measured[row["id"]].rounds),
            }
            for row in self.rows
        ]


def _steady_column(found: Measured) -> dict[str, float]:
    """The latency once the clock had settled, where that was waited for."""
    return {"steady_latency_ms": found.steady.latency_ms} if found.steady else {}


def _rounds_column(found: Sequence[Round]) -> dict[str, str]:
    return {"round_times": rounds_text(found)} if found else {}


def rounds_in(table: Table) -> list[tuple[Round, ...]]:
    """What each row of a table took in each round; nothing where a table does not say.

    Raises:
        InputError: a cell holds anything else.
    """
    if "round_times" not in table.reserved:
        return []
    return [
        rounds_of(cell, f"{table.path}, row {row}, column 'round_times'")
        for row, cell in enumerate(table.reserved["round_times"], start=2)
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
    return gather(journal.visits, protocol.rounds)


def settings_of(space: SearchSpace, source: Source, planned: Planned, protocol: Protocol) -> Json:
    """What a measurement must agree in to be gone on with."""
    content = [json.dumps(space.to_json(), sort_keys=True), *sorted(planned.jobs)]
    space_digest, jobs_digest = (
        hashlib.sha256(text.encode()).hexdigest()[:8] for text in (content[0], str(content[1:]))
    )
    sustained = {"sustain_s": protocol.sustain_s} if protocol.sustain_s else {}
    return {
        "space": f"{space.name} {space_digest}",
        "seed": protocol.seed,
        "rounds": protocol.rounds,
        "runs_per_visit": protocol.runs_per_visit,
        "source": source.name,
        **source.facts(),
        "jobs": f"{len(planned.jobs)} ({jobs_digest})",
        **sustained,
    }


def measurements_of(table: Table, column: str, costs: Workloads | None) -> list[Measurement]:
    """The rows of a table as measurements, those of chains as their block's.

    The time of a row is divided by its `repeats`.

    Raises:
        InputError: blocks, where networks are built whole.
    """
    if table.of_blocks:
        if costs is not None and not isinstance(costs, SpaceCosts):
            raise InputError(
                f"{table.path}: holds blocks, which are known by their names; leave what builds "
                "whole networks out (`build=`, `task=`)"
            )
        return block_tables.measurements_of(table, column, costs)
    latency_ms, repeats = table.metric(column), block_tables.repeats_of(table)
    times_ms = [float(ms) / count for ms, count in zip(latency_ms, repeats, strict=True)]
    workloads = workloads_of(table, costs)
    return [Measurement(w, ms) for w, ms in zip(workloads, times_ms, strict=True)]
