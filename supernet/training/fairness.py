"""Strict fairness (FairNAS): rounds of paths in which options stand equally often."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from search_spaces import Choice, InputError, Option, SearchSpace
from search_spaces.space.dependencies import leaves
from supernet.training.training import Randomness

MOST_VARIANTS = 1024  # settings of one option that take turns together

Variant = Mapping[str, Option]  # decisions of some choices


@dataclass(frozen=True)
class Unit:
    """Decisions that are made together: an option of one choice, with what depends on it alone.

    `kinds` holds for each option its variants: the settings that only matter because of it.
    """

    kinds: tuple[tuple[Variant, ...], ...]


def rounds(units: tuple[Unit, ...], randomness: Randomness) -> Iterator[dict[str, Option]]:
    """A step's round: as many paths as the longest unit has kinds, each a dict of decisions.

    Of a unit with as many kinds, each stands once; of one with fewer, each as often as any other
    or once more, and over rounds equally often. A kind's variants take turns: each once before any
    comes again. Which stand together is drawn anew each step.
    """
    if not units:
        raise InputError("recipe 'fair' deals out options, and no choice of this space has any")
    rng, length = randomness.numpy(), max(len(unit.kinds) for unit in units)
    columns = []
    for number, unit in enumerate(units):
        column = _turns(unit, number, length, randomness)
        columns.append([column[int(place)] for place in rng.permutation(length)])
    for row in zip(*columns, strict=True):
        yield {name: option for variant in row for name, option in variant.items()}


def _turns(unit: Unit, number: int, length: int, randomness: Randomness) -> list[Variant]:
    """What a unit adds to a round, in the order of its kinds."""
    kinds = len(unit.kinds)

    def order(cycle: int, kind: int, among: int) -> np.ndarray:
        return randomness.of_training(cycle, number, kind).permutation(among)

    # An endless sequence of shuffled cycles of kinds, of which each round takes the next.
    (full, rest), stop = divmod(randomness.step * length, kinds), (randomness.step + 1) * length
    used = np.full(kinds, full)
    used[order(full, kinds, kinds)[:rest]] += 1
    ended = np.full(kinds, stop // kinds)
    ended[order(stop // kinds, kinds, kinds)[: stop % kinds]] += 1
    found = []
    for kind, variants in enumerate(unit.kinds):
        for use in range(int(used[kind]), int(ended[kind])):
            cycle, place = divmod(use, len(variants))
            found.append(variants[int(order(cycle, kind, len(variants))[place])])
    return found


@functools.lru_cache(maxsize=8)
def units_of(space: SearchSpace) -> tuple[Unit, ...]:
    """The units of a space's choices; numbers that vary freely have none."""
    found = []
    owners = _owners(space)
    for choice in space.choices:
        if not isinstance(choice, Choice) or owners[choice.name] != choice.name:
            continue
        inner = tuple(
            c for c in space.choices if owners.get(c.name) == choice.name and c is not choice
        )
        alone = Choice(choice.name, choice.options)
        variants = SearchSpace(space.name, (alone, *inner)).enumerate()
        of_option: dict[Option, list[Variant]] = {option: [] for option in choice.options}
        for variant in variants:
            of_option[variant[choice.name]].append(variant)
        found.append(Unit(tuple(map(tuple, of_option.values()))))
    return tuple(found)


def _owners(space: SearchSpace) -> dict[str, str]:
    """The choice whose option alone decides whether another matters; else the choice itself."""
    owners = {name: name for graph in space.graphs for name in graph.choices}
    variants: dict[str, int] = {}
    for choice in space.steps:
        if not isinstance(choice, Choice):
            continue
        asked = {owners[leaf.choice] for leaf in leaves(choice)}
        owner = asked.pop() if len(asked) == 1 else choice.name
        if variants.get(owner, 1) * len(choice.options) > MOST_VARIANTS:
            owner = choice.name
        owners[choice.name] = owner
        if owner != choice.name:
            variants[owner] = variants.get(owner, 1) * len(choice.options)
    return owners
