"""Clips on the sampler's way: what the tuned network will be shown when it samples.

Those are guesses of its own, noised again, and not data. "Backward simulation" of Yin et al. 2024
(DMD2, arXiv:2405.14867) samples them anew for every step; here they are carried from one training
step to the next, a call of the network further each time, which costs no call at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from adversarial_finetune.parallel import summed

ALL = slice(None)


@dataclass
class Rollout:
    """Guesses of clips, and before which of the sampler's calls each stands.

    Attributes:
        x_BCTHW: the guesses; before the first call they do not count, that one sees noise alone.
        context_BLC: what was asked for in each.
        call_B: the number of the next call, from 0.
        place_B: where in the batch each stands; the others are with other processes.
        places: how many there are with all processes.
    """

    x_BCTHW: Tensor
    context_BLC: Tensor
    call_B: Tensor
    place_B: Tensor
    places: int

    @classmethod
    def begin(
        cls, x_BCTHW: Tensor, context_BLC: Tensor, calls: int, place_B: Tensor, places: int
    ) -> "Rollout":
        """Stand before all calls evenly; data serves as the first guesses."""
        return cls(x_BCTHW, context_BLC, place_B % calls, place_B, places)

    def move(self, made_BCTHW: Tensor, fresh_BLC: Tensor, calls: int, rows: slice = ALL) -> None:
        """Take what the network made of the guesses; those before the last call begin anew.

        Args:
            made_BCTHW: its guesses.
            fresh_BLC: what is asked for in those that begin.
            calls: of the sampler.
            rows: which of the guesses moved.
        """
        done_B = self.call_B[rows] == calls - 1
        self.x_BCTHW[rows] = made_BCTHW.detach().cpu()
        kept = self.context_BLC[rows]
        self.context_BLC[rows] = torch.where(done_B[:, None, None], fresh_BLC, kept)
        self.call_B[rows] = torch.where(done_B, 0, self.call_B[rows] + 1)

    def state(self) -> dict[str, Tensor]:
        """Everything that a checkpoint needs, by name: the guesses of all processes."""
        own = {"x": self.x_BCTHW, "context": self.context_BLC, "call": self.call_B}
        return {name: summed(self._placed(tensor)) for name, tensor in own.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`."""
        self.x_BCTHW, self.context_BLC, self.call_B = (
            state[name][self.place_B] for name in ("x", "context", "call")
        )

    def _placed(self, tensor: Tensor) -> Tensor:
        found = torch.zeros(self.places, *tensor.shape[1:], dtype=tensor.dtype)
        found[self.place_B] = tensor
        return found
