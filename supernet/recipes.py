"""How the shared weights are trained: what one step of a supernet does.

A recipe is a callable (supernet, batch, randomness) -> loss; `nas train --recipe` also takes one
of yours as package.module:name.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from search_spaces import Architecture
from search_spaces.loading import named_or_imported
from supernet.digits import MovingDigits
from supernet.flow_matching import drop_context, logit_normal_times, velocity_loss
from supernet.supernet import Supernet
from supernet.training import Randomness

CONTEXT_DROPPED = 0.1


@dataclass(frozen=True)
class Batch:
    """What every path of a step is trained on."""

    x_BCTHW: Tensor
    noise_BCTHW: Tensor
    time_B: Tensor
    context_BLC: Tensor


Recipe = Callable[[Supernet, Batch, np.random.Generator], Tensor]


def draw_batch(data: MovingDigits, clips: int, randomness: Randomness) -> Batch:
    """The batch of a step: fresh clips, noise, logit-normal times, the context dropped at times."""
    generator = randomness.torch()
    drawn = data.clips(clips, randomness.data_seed)
    return Batch(
        drawn.x_BCTHW,
        torch.randn(drawn.x_BCTHW.shape, generator=generator),
        logit_normal_times(clips, generator),
        drop_context(drawn.context_BLC, CONTEXT_DROPPED, generator),
    )


def path_loss(supernet: Supernet, batch: Batch, architecture: Architecture) -> Tensor:
    """The mean flow-matching loss of one path."""
    losses = velocity_loss(
        supernet.path(architecture),
        batch.x_BCTHW,
        batch.noise_BCTHW,
        batch.time_B,
        batch.context_BLC,
    )
    return losses.mean()


def uniform(supernet: Supernet, batch: Batch, rng: np.random.Generator) -> Tensor:
    """Single path, every option of every slot equally often (Guo et al. 2020, arXiv:1904.00420).

    On a frozen backbone the path without any temporal block has nothing to learn; it is redrawn.
    """
    space = supernet.space
    frozen = not any(p.requires_grad for p in supernet.backbone.parameters())
    architecture = space.sample(rng)
    while frozen and not any(space.block(architecture, s).operator.module for s in space.slots):
        architecture = space.sample(rng)
    return path_loss(supernet, batch, architecture)


RECIPES: dict[str, Recipe] = {"uniform": uniform}


def load_recipe(name: str) -> Recipe:
    """A recipe by name, or from Python as package.module:name; InputError for any other."""
    return named_or_imported(name, RECIPES, "recipe")
