"""What was asked for, as one vector of the size that heads learn from.

Token states of a text encoder are dozens of numbers near 1, most of which every caption
has: summed up, they would drown how much noise there is, which heads are told beside them.
"""

import torch
from torch import Tensor, nn

from adversarial_finetune.data import ClipFiles

USUAL = 0.43  # of one-hot tokens for one or two things of ten, with which the training was tuned
EXAMPLES = 256


class Pooling(nn.Module):
    """Contexts (B, L, C) summed over tokens, beside nothing, in a usual size: (B, C).

    Args:
        nothing_LC: the context that asks for nothing.
        examples_NLC: contexts that say how large they are; of no size, they stay as they are.
    """

    nothing_C: Tensor
    scale: Tensor

    def __init__(self, nothing_LC: Tensor, examples_NLC: Tensor) -> None:
        super().__init__()
        nothing_C = nothing_LC.sum(0)
        size = (examples_NLC.sum(1) - nothing_C).square().mean().sqrt()
        # They follow from the data, so no checkpoint needs them.
        self.register_buffer("nothing_C", nothing_C, persistent=False)
        scale = torch.where(size > 0, USUAL / size, 1.0)
        self.register_buffer("scale", scale, persistent=False)

    @classmethod
    def of(cls, data: ClipFiles) -> "Pooling":
        """For the contexts of these clips."""
        index_N = torch.linspace(0, len(data) - 1, min(EXAMPLES, len(data))).long()
        return cls(data.nothing, data.contexts_at(index_N))

    def forward(self, context_BLC: Tensor) -> Tensor:
        """The vectors."""
        return (context_BLC.sum(1) - self.nothing_C) * self.scale
