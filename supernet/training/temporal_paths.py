"""Paths of the supernet of temporal blocks: slots are decided by whole blocks."""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from search_spaces import Architecture, Block, InputError, Option, Slot, TemporalSpace
from supernet.networks.supernet import Supernet
from supernet.networks.video_unet import parameter_count
from supernet.operators import build
from supernet.training.fairness import Unit, Variant
from supernet.training.minibatches import AnyBatch
from supernet.training.paths import Paths

AnySupernet = Supernet | Paths  # what a recipe is given


@dataclass(frozen=True)
class TemporalPaths(Paths):
    """The paths of a `Supernet`."""

    module: Supernet
    space: TemporalSpace

    def learns(self, architecture: Architecture) -> bool:
        """Whether a path has anything to learn: on a frozen backbone, an empty one has not."""
        return any(p.requires_grad for p in self.module.backbone.parameters()) or any(
            self.space.block(architecture, slot).operator.module for slot in self.space.slots
        )

    def checked(self, loss: Tensor, architecture: Architecture) -> Tensor:
        """The loss as it is: `learns` knows without computing, and recipes may ignore it."""
        return loss

    def units(self) -> tuple[Unit, ...]:
        """A slot's operators; their settings take turns."""
        return _units(self.space)

    @functools.cached_property
    def extremes(self) -> tuple[Architecture, Architecture]:
        """See `extremes`."""
        return extremes(self.space)

    def opening(self) -> list[tuple[str, Option]]:
        """The deepest slots first: they see the whole image at little cost."""
        space = self.space
        empty = next((o.name for o in space.operators if not o.module), None)
        if empty is None:
            raise InputError(
                f"recipe 'curriculum' leaves slots empty at first, which space {space.name!r} does "
                "not allow; choose another recipe, or add the operator 'none'"
            )
        return [(slot.name, empty) for slot in sorted(space.slots, key=lambda slot: -slot.stage)]


def paths_of(supernet: AnySupernet) -> Paths:
    """The paths of what a recipe is given."""
    if isinstance(supernet, Paths):
        return supernet
    return TemporalPaths(supernet, supernet.space)


def predict(supernet: AnySupernet, batch: AnyBatch, architecture: Architecture) -> Any:
    """Compute the output of one path."""
    return paths_of(supernet).predict(batch, architecture)


def path_loss(supernet: AnySupernet, batch: AnyBatch, architecture: Architecture) -> Tensor:
    """Compute the loss of one path."""
    paths = paths_of(supernet)
    return paths.checked(paths.loss(paths.predict(batch, architecture), batch), architecture)


@functools.lru_cache(maxsize=8)
def extremes(space: TemporalSpace) -> tuple[Architecture, Architecture]:
    """The architectures of the most and of the fewest parameters; of equals, the later block."""
    largest, smallest = [], []
    for slot in space.slots:
        with torch.device("meta"):  # counted, never computed with
            built = [(block, build(block, slot)) for block in reversed(space.blocks())]
        sizes = {block: parameter_count(module) if module else 0 for block, module in built}
        largest.append(max(sizes, key=lambda block: sizes[block]))
        smallest.append(min(sizes, key=lambda block: sizes[block]))
    return space.arranged(largest), space.arranged(smallest)


@functools.lru_cache(maxsize=8)
def _units(space: TemporalSpace) -> tuple[Unit, ...]:
    def variant(slot: Slot, block: Block) -> Variant:
        settings = {f"{slot.name}.{name}": value for name, value in block.settings}
        return {slot.name: block.operator.name, **settings}

    return tuple(
        Unit(
            tuple(
                tuple(variant(slot, b) for b in space.blocks() if b.operator == operator)
                for operator in space.operators
            )
        )
        for slot in space.slots
    )
