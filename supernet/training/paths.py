"""Paths of a supernet: what recipes ask of any module whose forward takes an architecture.

`Paths` decide by the choices of a space; those of the supernet of temporal blocks, in
`temporal_paths`, by its blocks and slots.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces import Architecture, InputError, NumericChoice, Option, SearchSpace
from search_spaces.space.choice import AnyChoice
from supernet.training.fairness import Unit, units_of
from supernet.training.minibatches import AnyBatch, squared_error

Criterion = Callable[[Any, Any], Tensor]  # (output, what it should be) -> one number


@dataclass(frozen=True)
class PathPolicy:
    """What recipes cannot know of a user's paths.

    Args:
        size: of the network of an architecture, in any unit (parameters, FLOPs): says which path
            is the largest. Without it numbers are ordered by value, other options as listed: the
            first is taken for the smallest and the last for the largest.
        opening: choices in the order in which a curriculum opens them; the rest, in the order of
            the space, after them.
        closed: what a choice stands at before a curriculum opens it; else its first option.
        learns: whether anything is trained on a path, where parts of the module are frozen; else
            something is on all.
    """

    size: Callable[[Architecture], float] | None = None
    opening: Sequence[str] = ()
    closed: Mapping[str, Option] = field(default_factory=dict)
    learns: Callable[[Architecture], bool] = lambda _: True


@dataclass(frozen=True)
class Paths:
    """The paths of a module, and how they are judged: the `supernet` that a recipe is given.

    A path is `module(*inputs, architecture)`; `criterion` makes a loss of its output and the
    batch's target, `distillation` one of its output and that of the largest path.
    """

    module: nn.Module
    space: SearchSpace
    criterion: Criterion = squared_error
    distillation: Criterion = squared_error
    policy: PathPolicy = field(default_factory=PathPolicy)

    def __post_init__(self) -> None:
        known = {choice.name: choice for choice in self.space.choices}
        for name in (*self.policy.opening, *self.policy.closed):
            if name not in known:
                raise InputError(
                    f"space {self.space.name!r} has no choice {name!r} that a curriculum could "
                    f"open; its choices: {', '.join(known)}"
                )
        for name, option in self.policy.closed.items():
            known[name].resolve(option)

    def predict(self, batch: AnyBatch, architecture: Architecture) -> Any:
        """Compute the output of one path.

        Raises:
            InputError: the module takes no architecture beside the inputs.
        """
        inputs = batch.inputs if isinstance(batch.inputs, tuple) else (batch.inputs,)
        try:
            return self.module(*inputs, architecture)
        except TypeError:
            _check_call(self.module, len(inputs))
            raise

    def loss(self, output: Any, batch: AnyBatch) -> Tensor:
        """Judge the output of a path by the batch's target."""
        return self.criterion(output, batch.target)

    def checked(self, loss: Tensor, architecture: Architecture) -> Tensor:
        """The loss; InputError where it trains nothing."""
        if isinstance(loss, Tensor) and torch.is_grad_enabled() and not loss.requires_grad:
            raise InputError(
                f"nothing learns on path {architecture}: its loss depends on no weight that is "
                "trained; unfreeze some, or leave such paths out by the policy's `learns`"
            )
        return loss

    def learns(self, architecture: Architecture) -> bool:
        """Whether a path has anything to learn."""
        return self.policy.learns(architecture)

    def units(self) -> tuple[Unit, ...]:
        """What strict fairness is between."""
        return units_of(self.space)

    @functools.cached_property
    def extremes(self) -> tuple[Architecture, Architecture]:
        """The largest and the smallest path."""
        largest, smallest = (_outermost(self.space, last=last) for last in (True, False))
        size = self.policy.size
        if size is None:
            return largest, smallest
        largest = _ascent(self.space, largest, size)
        return largest, _ascent(self.space, smallest, lambda architecture: -size(architecture))

    def opening(self) -> list[tuple[str, Option]]:
        """Choices in the order in which they open, with what each stands at before."""
        choices, closed = {c.name: c for c in self.space.choices}, self.policy.closed
        order = dict.fromkeys((*self.policy.opening, *choices))
        return [(n, choices[n].resolve(closed.get(n, _first(choices[n])))) for n in order]


@dataclass(frozen=True)
class _Decider:
    """Stands in for an Optuna trial: says what is given, and picks the rest."""

    given: Mapping[str, Option]
    pick: Callable[[Sequence[Option]], Option]
    between: Callable[[float, float], float]

    def suggest_categorical(self, name: str, choices: Sequence[Option]) -> Option:
        """See search_spaces.space.space.Trial."""
        return self.given[name] if name in self.given else self.pick(choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """See search_spaces.space.space.Trial."""
        return int(self.suggest_categorical(name, range(low, high + 1)))

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """See search_spaces.space.space.Trial."""
        return float(self.given[name]) if name in self.given else self.between(low, high)


def completed(
    space: SearchSpace, given: Mapping[str, Option], rng: np.random.Generator
) -> Architecture:
    """Make the architecture of these decisions; what matters beside them is drawn."""

    def drawn(options: Sequence[Option]) -> Option:
        return options[int(rng.integers(len(options)))]

    return space.suggest(_Decider(given, drawn, lambda low, high: float(rng.uniform(low, high))))


def _first(choice: AnyChoice) -> Option:
    return choice.low if isinstance(choice, NumericChoice) else choice.options[0]


def _outermost(space: SearchSpace, *, last: bool) -> Architecture:
    """Every choice at its last, or first, option, numbers ordered by value."""

    def pick(options: Sequence[Option]) -> Option:
        numbers = all(isinstance(option, (int, float)) for option in options)
        ordered = sorted(options, key=float) if numbers else options
        return ordered[-1 if last else 0]

    return space.suggest(_Decider({}, pick, max if last else min))


def _ascent(
    space: SearchSpace, start: Architecture, size: Callable[[Architecture], float]
) -> Architecture:
    """Local search: the neighbour of largest size, for as long as one is larger."""
    best, largest = start, size(start)
    while True:
        near = max(space.neighbours(best), key=size, default=best)
        if size(near) <= largest:
            return best
        best, largest = near, size(near)


def _check_call(module: nn.Module, inputs: int) -> None:
    """Refuse a module whose forward cannot be called with so many inputs and an architecture."""
    try:
        inspect.signature(module.forward).bind(*itertools.repeat(None, inputs + 1))
    except TypeError:
        taken = ", ".join(inspect.signature(module.forward).parameters)
        raise InputError(
            f"{type(module).__name__}.forward({taken}) does not take {inputs} "
            f"input{'s' * (inputs > 1)} and an architecture after them"
        ) from None
