"""How the shared weights are trained: which paths one step of a supernet takes.

A recipe is a callable (supernet, batch, randomness) that yields a loss for each path of a step;
the step follows the gradient of their mean. All that it draws comes from `randomness`, so that a
training resumes exactly. A recipe may also be one of yours as package.module:name.

Recipes are compared at equal numbers of passes: a step of `uniform` and `curriculum` takes one,
of `sandwich` four, of `fair` as many as there are operators.
"""

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from search_spaces import Architecture, Block, InputError, TemporalSpace
from search_spaces.shipped.loading import named_or_imported
from supernet.networks.supernet import Supernet
from supernet.networks.video_unet import parameter_count
from supernet.operators import build
from supernet.training.batches import Batch, path_loss, predict, squared_error
from supernet.training.training import Randomness

Recipe = Callable[[Supernet, Batch, Randomness], Iterable[Tensor]]
RANDOM_PATHS = 2  # of a sandwich, between the largest and the smallest
OPENING = 0.5  # the share of a curriculum after which every slot is open


def uniform(supernet: Supernet, batch: Batch, randomness: Randomness) -> Iterator[Tensor]:
    """Single path, every operator of every slot equally often, then each of its settings.

    Guo et al. 2020 (arXiv:1904.00420).
    """
    yield path_loss(supernet, batch, sampled(supernet, randomness.numpy()))


def fair(supernet: Supernet, batch: Batch, randomness: Randomness) -> Iterator[Tensor]:
    """Strictly fair: a step takes every operator of every slot exactly once.

    Chu et al. 2021 (FairNAS, arXiv:1907.01845, algorithm 1): one permutation of the operators a
    slot, gradients gathered over the whole round, so that no path is trained on weights that
    another path of its round has changed. Settings share their operator's weights, so fairness is
    between operators; an operator's settings take turns, each once before any comes again.
    """
    space, rng = supernet.space, randomness.numpy()
    rounds = [_shuffled(_turns(space, slot, randomness), rng) for slot in range(len(space.slots))]
    for blocks in zip(*rounds, strict=True):
        architecture = space.arranged(blocks)
        if trains(supernet, architecture):
            yield path_loss(supernet, batch, architecture)


def sandwich(supernet: Supernet, batch: Batch, randomness: Randomness) -> Iterator[Tensor]:
    """The largest path learns from data; the smallest and two random ones learn from the largest.

    Yu and Huang 2019 (arXiv:1903.05134) and Yu et al. 2020 (BigNAS, arXiv:2003.11142), with the
    squared difference to the largest path's velocity as the distillation. Operators are no nested
    sizes of each other: largest means the block of most parameters in every slot, smallest of
    fewest.
    """
    largest, smallest = extremes(supernet.space)
    taught = predict(supernet, batch, largest)
    yield squared_error(taught, batch.velocity)
    target = taught.detach()
    rng = randomness.numpy()
    for architecture in (smallest, *(sampled(supernet, rng) for _ in range(RANDOM_PATHS))):
        if trains(supernet, architecture):
            yield squared_error(predict(supernet, batch, architecture), target)


def curriculum(supernet: Supernet, batch: Batch, randomness: Randomness) -> Iterator[Tensor]:
    """Single path over slots that open one after another, the deepest resolution first.

    A closed slot stays empty. All are open after half of the passes; from then on it is `uniform`.
    Deep slots see the whole image at little cost, and give the others something to build on.
    """
    space = supernet.space
    empty = next((o.name for o in space.operators if not o.module), None)
    if empty is None:
        raise InputError(
            f"recipe 'curriculum' leaves slots empty at first, which space {space.name!r} does not "
            "allow; choose another recipe, or add the operator 'none'"
        )
    deepest_first = sorted(space.slots, key=lambda slot: -slot.stage)
    count = 1 + int(randomness.progress / OPENING * len(deepest_first))
    closed = {slot.name: empty for slot in deepest_first[count:]}
    yield path_loss(supernet, batch, sampled(supernet, randomness.numpy(), closed))


RECIPES: dict[str, Recipe] = {
    "uniform": uniform,
    "fair": fair,
    "sandwich": sandwich,
    "curriculum": curriculum,
}


def load_recipe(name: str) -> Recipe:
    """A recipe by name, or from Python as package.module:name; InputError for any other."""
    return named_or_imported(name, RECIPES, "recipe")


def sampled(
    supernet: Supernet, rng: np.random.Generator, fixed: dict[str, str] | None = None
) -> Architecture:
    """A random path that has something to learn, with these slots' operators fixed."""
    space = supernet.space
    while True:
        drawn = space.architecture({**space.sample(rng), **(fixed or {})})
        if trains(supernet, drawn):
            return drawn


def trains(supernet: Supernet, architecture: Architecture) -> bool:
    """Whether a path has anything to learn: on a frozen backbone, an empty one has not."""
    space = supernet.space
    return any(p.requires_grad for p in supernet.backbone.parameters()) or any(
        space.block(architecture, slot).operator.module for slot in space.slots
    )


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


def _turns(space: TemporalSpace, slot: int, randomness: Randomness) -> list[Block]:
    """A block of every operator of a slot: in a cycle of steps, each of its settings once."""
    found = []
    for number, operator in enumerate(space.operators):
        blocks = [block for block in space.blocks() if block.operator == operator]
        cycle, place = divmod(randomness.step, len(blocks))
        order = randomness.of_training(cycle, slot, number).permutation(len(blocks))
        found.append(blocks[int(order[place])])
    return found


def _shuffled(blocks: list[Block], rng: np.random.Generator) -> list[Block]:
    return [blocks[int(place)] for place in rng.permutation(len(blocks))]
