"""Workloads of a space: each block traced once, and what architectures add up of them.

Torch loads when something is first traced: what is traced already are numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from latency import Workload, concatenate, from_choices
from search_spaces import (
    Architecture,
    Block,
    InputError,
    NumericChoice,
    SearchSpace,
    Slot,
    Table,
    TemporalSpace,
)

# How a table of blocks spells the image U-Net itself, beside the slots and their options.
BACKBONE_SLOT, BACKBONE_OPTION = "backbone", "image"


@dataclass(frozen=True)
class Part:
    """What one block, or the image U-Net, brings to a network."""

    workload: Workload
    parameters: int


class SpaceCosts:
    """The workloads and parameters of a temporal space, each block traced once and for all.

    Traces are kept in the user's cache (`latency.tracing.cache`): a space of 0.6B networks takes a
    minute or two the first time, and seconds from then on.
    """

    def __init__(self, space: TemporalSpace) -> None:
        self.space = space
        self._alike: dict[tuple[object, ...], Part] = {}

    @cached_property
    def backbone(self) -> Part:
        """The image U-Net over the frames of one clip."""
        from nas.costs.modules import traced_image

        return Part(*traced_image(self.space, BACKBONE_SLOT))

    def trace_all(self, advance: Callable[[int], None] = lambda _: None) -> None:
        """Trace what is not traced yet; `advance` is told after each of `pieces`."""
        _ = self.backbone
        for done, (slot, block) in enumerate(self.pieces, 1):
            self.block(slot, block)
            advance(done)

    @property
    def pieces(self) -> list[tuple[Slot, Block]]:
        """Every block in every slot."""
        return [(slot, block) for slot in self.space.slots for block in self.space.blocks()]

    def block(self, slot: Slot, block: Block) -> Part | None:
        """A block in a slot; None where nothing stands. Slots of one shape are traced once."""
        if not block.operator.module:
            return None
        once, repeats = block.once()
        shape = (slot.channels, slot.height, slot.width, slot.frames)
        key = (block.operator.module, once.settings, *shape)
        if key not in self._alike:
            from nas.costs.modules import traced_block

            self._alike[key] = Part(*traced_block(self.space, slot, once, key))
        one = self._alike[key]
        operations = one.workload.operations * repeats
        parameters = one.parameters * repeats
        named = replace(one.workload, name=f"{slot.name}={block}", operations=operations)
        return Part(replace(named, parameters=parameters), parameters)

    def parts(self, architecture: Architecture) -> list[Part]:
        """The image U-Net and the blocks of an architecture, in the order of the slots."""
        blocks = (
            self.block(slot, self.space.block(architecture, slot)) for slot in self.space.slots
        )
        return [self.backbone, *(part for part in blocks if part is not None)]

    def workload(self, architecture: Architecture) -> Workload:
        """The workload of an architecture's network."""
        parts = (part.workload for part in self.parts(architecture))
        return concatenate(str(architecture), parts)

    def block_workload(self, slot_name: str, option: str) -> Workload:
        """The workload of a row of a table of blocks; InputError for an unknown slot or option."""
        if (slot_name, option) == (BACKBONE_SLOT, BACKBONE_OPTION):
            return self.backbone.workload
        slots = {slot.name: slot for slot in self.space.slots}
        if slot_name not in slots:
            listed = ", ".join([*slots, BACKBONE_SLOT])
            raise InputError(f"no slot {slot_name!r} in space {self.space.name!r}; slots: {listed}")
        part = self.block(slots[slot_name], self.space.parse_block(option))
        if part is None:
            raise InputError(f"option {option!r} of slot {slot_name!r} does nothing to measure")
        return part.workload


class Workloads(Protocol):
    """What networks run, where more is known of them than the names of their options."""

    def workload(self, architecture: Architecture) -> Workload:
        """Of one architecture's network."""


def workload_of(
    space: SearchSpace, architecture: Architecture, costs: Workloads | None
) -> Workload:
    """The workload of any space's architecture; of a tabular one, its decisions by name.

    Edges of a graph that are off every path are absent.
    """
    if costs is not None:
        return costs.workload(architecture)
    return _by_name(space, space.assigned(architecture) if space.graphs else architecture)


def workloads_of(table: Table, costs: Workloads | None) -> list[Workload]:
    """The workloads of the rows of a table of networks.

    What was measured is what a row spells: with edges of a graph that are off every path, which
    some devices run and others skip.

    Raises:
        InputError: a row that is no architecture of the table's space.
    """
    architectures, space = table.architectures, table.space
    if costs is not None or not space.graphs:
        return [workload_of(space, each, costs) for each in architectures]
    return [_by_name(space, space.spelled(decided)) for decided in table.decisions]


def _by_name(space: SearchSpace, decided: Mapping[str, object]) -> Workload:
    name = " ".join(f"{choice}={option}" for choice, option in decided.items())
    dead = space.dead(decided) if space.graphs else None  # type: ignore[arg-type]
    return from_choices(name, list(decided.items()), numeric_choices(space), dead)


def block_of(space: SearchSpace, slot: str, option: object) -> Workload:
    """The part that a row of a table of blocks measured, of a space of named choices.

    Raises:
        InputError: no such choice or option, or a choice whose numbers vary freely.
    """
    by_name = {choice.name: choice for choice in space.choices}
    choice = by_name.get(slot)
    if choice is None:
        listed = ", ".join([*by_name, BACKBONE_SLOT])
        raise InputError(
            f"no choice {slot!r} in space {space.name!r}; slots are its choices, and "
            f"{BACKBONE_SLOT} for what every network has: {listed}"
        )
    if isinstance(choice, NumericChoice):
        raise InputError(
            f"choice {slot!r} varies freely between {choice.low:g} and {choice.high:g}, so no row "
            "is a block of it; give it options, or measure whole networks"
        )
    return from_choices("", [(slot, choice.resolve(option))]).parts[0]


def numeric_choices(space: SearchSpace) -> set[str]:
    """The choices whose numbers vary freely."""
    return {choice.name for choice in space.choices if isinstance(choice, NumericChoice)}
