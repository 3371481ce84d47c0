"""Minibatches of any supernet: what a step sees, and what its outputs should be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from search_spaces import InputError
from supernet.training.training import Randomness


class AnyBatch(Protocol):
    """A batch: what a module is given beside the architecture, and what its output should be."""

    @property
    def inputs(self) -> Any:
        """A tensor, or a tuple of what forward takes before the architecture."""

    @property
    def target(self) -> Any:
        """What the loss compares the output with."""


class Pair(NamedTuple):
    """A batch of a user's own."""

    inputs: Any
    target: Any


# (randomness of the step, which examples of its batch are wanted) -> (inputs, target)
Draw = Callable[[Randomness, Sequence[int]], Any]


@dataclass(frozen=True)
class Minibatches:
    """The batches of a training.

    Args:
        draw: gives the wanted examples of a step's batch, as (inputs, target). All that it draws
            comes from the randomness, each example by `randomness.clip_seed(index)`, so that a
            training resumes exactly and workers who split a batch draw no example twice. Inputs
            are what forward takes before the architecture: a tensor, or a tuple.
        size: examples in a step's batch.
    """

    draw: Draw
    size: int

    def pair(self, randomness: Randomness, wanted: Sequence[int]) -> Pair:
        """Draw a batch; InputError where it is no pair of inputs and target."""
        drawn = self.draw(randomness, wanted)
        if not isinstance(drawn, (tuple, list)) or len(drawn) != 2:
            raise InputError(
                f"a batch is a pair (inputs, target); what draws it gave a {type(drawn).__name__}"
            )
        return Pair(*drawn)


def squared_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error, in float32 at least whatever the network computed in."""
    wide = torch.promote_types(found.dtype, torch.float32)
    return (found.to(wide) - wanted.to(wide)).square().mean()


def mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """Apply a change to the tensors in tuples, lists and dicts, and leave all else."""
    if isinstance(value, tuple):
        parts = [mapped(change, each) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [mapped(change, each) for each in value]
    if isinstance(value, dict):
        return {key: mapped(change, each) for key, each in value.items()}
    return change(value) if isinstance(value, Tensor) else value
