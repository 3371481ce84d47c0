"""An operator of one's own, and a space that offers it: all in one file.

nas search --space examples.own_parts.shift:SPACE --latency-ms 85% --out shift-run
"""

import torch
from torch import Tensor, nn

from search_spaces import NONE, SELF_ATTENTION_1D, Operator, Slot, temporal_space
from search_spaces.shipped.moving_digits import UNET
from supernet import TemporalOperator
from supernet.operators import Settings


class Shift(TemporalOperator):
    """Adds the frame before, weighed by channel (Lin et al. 2019, arXiv:1811.08383)."""

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        self.weight = nn.Parameter(torch.zeros(slot.channels, 1, 1))  # zero: starts as identity

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        x_BTCHW = x_NCHW.reshape(-1, frames, *x_NCHW.shape[1:])
        first = torch.zeros_like(x_BTCHW[:, :1])
        before = torch.cat([first, x_BTCHW], dim=1)[:, :frames]
        return x_NCHW + self.weight * before.reshape(x_NCHW.shape)


SHIFT = Operator("shift", module=f"{__name__}:Shift")
SPACE = temporal_space("digits_with_shift", UNET, (NONE, SHIFT, SELF_ATTENTION_1D))
