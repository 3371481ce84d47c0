"""How the shared weights are trained: which paths one step of a supernet takes.

A recipe is a callable (supernet, batch, randomness) that yields a loss for each path of a step;
the step follows the gradient of their mean. All that it draws comes from `randomness`, so that a
training resumes exactly. A recipe may also be one of yours as package.module:name; written with
`path_loss` and `sampled` it serves every supernet, of temporal blocks and of a user's own.

Recipes are compared at equal numbers of passes: a step of `uniform` and `curriculum` takes one,
of `sandwich` four, of `fair` as many as there are operators, or options of the longest choice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from search_spaces import Architecture, InputError, Option
from search_spaces.shipped.loading import named_or_imported
from supernet.training.fairness import rounds
from supernet.training.minibatches import AnyBatch, mapped
from supernet.training.paths import completed
from supernet.training.temporal_paths import AnySupernet, extremes, path_loss, paths_of
from supernet.training.training import Randomness

__all__ = [  # what recipes of a user's own are written with stands here, too
    "RECIPES",
    "Recipe",
    "curriculum",
    "extremes",
    "fair",
    "load_recipe",
    "path_loss",
    "recipe_name",
    "sampled",
    "sandwich",
    "step_losses",
    "uniform",
]

# (supernet, batch, randomness) -> losses; the batch is a `Batch` of clips, or a user's own.
Recipe = Callable[[Any, Any, Randomness], Iterable[Tensor]]
RANDOM_PATHS = 2  # of a sandwich, between the largest and the smallest
OPENING = 0.5  # the share of a curriculum after which every choice is open
TRIES = 1000  # for a random path on which something learns


def uniform(supernet: AnySupernet, batch: AnyBatch, randomness: Randomness) -> Iterator[Tensor]:
    """Single path, drawn uniformly: every option of a choice equally often, then its settings.

    Guo et al. 2020 (arXiv:1904.00420).
    """
    yield path_loss(supernet, batch, sampled(supernet, randomness.numpy()))


def fair(supernet: AnySupernet, batch: AnyBatch, randomness: Randomness) -> Iterator[Tensor]:
    """Strictly fair: a step takes every operator of every slot exactly once.

    Chu et al. 2021 (FairNAS, arXiv:1907.01845, algorithm 1): one permutation of the operators a
    slot, gradients gathered over the whole round, so that no path is trained on weights that
    another path of its round has changed. Settings share their operator's weights, so fairness is
    between operators; an operator's settings take turns, each once before any comes again.

    On a space of a user's own: every option of every choice that always matters. The round is as
    long as the longest of these choices; of one with fewer options, each stands as often as any
    other or once more, and over rounds equally often. What depends on one such choice alone takes
    turns within its option. Choices that depend on several, and edges of a graph, are dealt out as
    fairly, but count only where they matter. Numbers that vary freely are drawn.
    """
    paths = paths_of(supernet)
    free = randomness.of_training(randomness.step)
    for decisions in rounds(paths.units(), randomness):
        architecture = completed(paths.space, decisions, free)
        if paths.learns(architecture):
            yield path_loss(supernet, batch, architecture)


def sandwich(supernet: AnySupernet, batch: AnyBatch, randomness: Randomness) -> Iterator[Tensor]:
    """The largest path learns from data; the smallest and two random ones learn from the largest.

    Yu and Huang 2019 (arXiv:1903.05134) and Yu et al. 2020 (BigNAS, arXiv:2003.11142), with the
    squared difference to the largest path's output as the distillation, or one that is given.
    Temporal operators are no nested sizes of each other: largest means the block of most parameters
    in every slot, smallest of fewest. `PathPolicy.size` says what it means on other spaces.
    """
    paths = paths_of(supernet)
    largest, smallest = paths.extremes
    taught = paths.predict(batch, largest)
    yield paths.checked(paths.loss(taught, batch), largest)
    target = mapped(Tensor.detach, taught)
    rng = randomness.numpy()
    for architecture in (smallest, *(sampled(supernet, rng) for _ in range(RANDOM_PATHS))):
        if paths.learns(architecture):
            loss = paths.distillation(paths.predict(batch, architecture), target)
            yield paths.checked(loss, architecture)


def curriculum(supernet: AnySupernet, batch: AnyBatch, randomness: Randomness) -> Iterator[Tensor]:
    """Single path over choices that open one after another: progressive training.

    A closed choice stands at its first option, or at one that is given; all are open after half of
    the passes, and from then on it is `uniform`. Slots of temporal blocks open from the deepest
    resolution on, and are empty before: deep slots see the whole image at little cost, and give
    the others something to build on.
    """
    opening = paths_of(supernet).opening()
    count = 1 + int(randomness.progress / OPENING * len(opening))
    yield path_loss(supernet, batch, sampled(supernet, randomness.numpy(), dict(opening[count:])))


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
    supernet: AnySupernet, rng: np.random.Generator, fixed: Mapping[str, Option] | None = None
) -> Architecture:
    """Sample a random path that has something to learn, with these choices fixed.

    Raises:
        InputError: there seems to be none.
    """
    paths = paths_of(supernet)
    for _ in range(TRIES):
        drawn = completed(paths.space, {**paths.space.sample(rng), **(fixed or {})}, rng)
        if paths.learns(drawn):
            return drawn
    raise InputError(f"of {TRIES} random paths none has anything to learn: too much is frozen")


def step_losses(
    recipe: Recipe, supernet: AnySupernet, batch: AnyBatch, randomness: Randomness
) -> Iterable[Tensor]:
    """The losses of one step by a recipe; InputError where it returns a loss."""
    found = recipe(supernet, batch, randomness)
    if isinstance(found, Tensor) or not isinstance(found, Iterable):
        raise InputError(f"recipe {recipe_name(recipe)}: must yield its losses, not return one")
    return found


def recipe_name(recipe: Recipe) -> str:
    """As checkpoints note it."""
    return str(getattr(recipe, "__qualname__", recipe))
