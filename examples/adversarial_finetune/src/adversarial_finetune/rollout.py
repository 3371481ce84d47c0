"""Clips on the sampler's way: what the tuned network will be shown when it samples.

Those are guesses of its own, noised again, and not data. "Backward simulation" of Yin et al. 2024
(DMD2, arXiv:2405.14867) samples them anew for every step; here they are carried from one training
step to the next, a call of the network further each time, which costs no call at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Rollout:
    """Guesses of clips, and before which of the sampler's calls each stands.

    Attributes:
        x_BCTHW: the guesses; before the first call they do not count, that one sees noise alone.
        context_BLC: what was asked for in each.
        call_B: the number of the next call, from 0.
    """

    x_BCTHW: Tensor
    context_BLC: Tensor
    call_B: Tensor

    @classmethod
    def begin(cls, x_BCTHW: Tensor, context_BLC: Tensor, calls: int) -> "Rollout":
        """Stand before all calls evenly; data serves as the first guesses."""
        return cls(x_BCTHW, context_BLC, torch.arange(len(x_BCTHW)) % calls)

    def move(self, made_BCTHW: Tensor, fresh_BLC: Tensor, calls: int) -> None:
        """Take what the network made of the guesses; those before the last call begin anew.

        Args:
            made_BCTHW: its guesses.
            fresh_BLC: what is asked for in those that begin.
            calls: of the sampler.
        """
        done_B = self.call_B == calls - 1
        self.x_BCTHW = made_BCTHW.detach().cpu()
        self.context_BLC = torch.where(done_B[:, None, None], fresh_BLC, self.context_BLC)
        self.call_B = torch.where(done_B, 0, self.call_B + 1)

    def state(self) -> dict[str, Tensor]:
        """Everything that a checkpoint needs, by name."""
        return {"x": self.x_BCTHW, "context": self.context_BLC, "call": self.call_B}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`."""
        self.x_BCTHW, self.context_BLC = state["x"], state["context"]
        self.call_B = state["call"]
