"""Temporal convolutions: 1-D, full 3-D, and separable (2+1-D)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces import Slot
from supernet.operators.base import Settings, TemporalOperator
from supernet.operators.neighbours import stack_neighbours
from supernet.operators.sizes import (
    central,
    group_norm,
    inner_channels,
    kernel_frames,
    leading,
    zero_initialised,
)


class Convolution(TemporalOperator):
    """A temporal convolution, computed as a Conv2d over neighbouring frames in the channels.

    The weight is (inner, kernel * channels, side, side), the earliest frame's channels first.
    """

    side = 1  # of the square, in pixels

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        inner, kernel = inner_channels(slot, settings), kernel_frames(settings)
        self.norm = group_norm(slot.channels)
        self.conv = nn.Conv2d(kernel * slot.channels, inner, self.side)
        self.out = zero_initialised(nn.Conv2d(inner, slot.channels, 1))

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        w = self.weights(settings)
        h = F.silu(self.norm(x_NCHW))
        h = stack_neighbours(h, frames, w["conv.weight"].shape[1] // h.shape[1])
        h = F.silu(F.conv2d(h, w["conv.weight"], w["conv.bias"], padding=self.side // 2))
        return x_NCHW + F.conv2d(h, w["out.weight"], w["out.bias"])

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        inner = inner_channels(self.slot, settings)
        return {
            "conv.weight": _central_in_time(
                leading(self.conv.weight, inner), self.settings, settings
            ),
            "conv.bias": _bias(self.conv, inner),
            "out.weight": leading(self.out.weight, inner, dim=1),
        }


class Conv1D(Convolution):
    """1-D convolution over time at each pixel."""


class Conv3D(Convolution):
    """Full 3-D convolution over time and a 3 x 3 neighbourhood of pixels."""

    side = 3


class SeparableConv3D(TemporalOperator):
    """Separable 3-D convolution, (2+1)-D: 3 x 3 over the pixels and then over time.

    The factorisation of Tran et al. 2018 (arXiv:1711.11248).
    """

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        inner, kernel = inner_channels(slot, settings), kernel_frames(settings)
        self.norm = group_norm(slot.channels)
        self.space = nn.Conv2d(slot.channels, inner, 3)
        self.time = nn.Conv2d(kernel * inner, inner, 1)
        self.out = zero_initialised(nn.Conv2d(inner, slot.channels, 1))

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        w = self.weights(settings)
        h = F.silu(self.norm(x_NCHW))
        h = F.conv2d(h, w["space.weight"], w["space.bias"], padding=1)
        h = stack_neighbours(h, frames, w["time.weight"].shape[1] // h.shape[1])
        h = F.silu(F.conv2d(h, w["time.weight"], w["time.bias"]))
        return x_NCHW + F.conv2d(h, w["out.weight"], w["out.bias"])

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        inner = inner_channels(self.slot, settings)
        kernel = kernel_frames(self.settings)
        time = torch.unflatten(leading(self.time.weight, inner), 1, (kernel, -1))
        time = leading(central(time, kernel_frames(settings), dim=1), inner, dim=2)
        return {
            "space.weight": leading(self.space.weight, inner),
            "space.bias": _bias(self.space, inner),
            "time.weight": time.flatten(1, 2),
            "time.bias": _bias(self.time, inner),
            "out.weight": leading(self.out.weight, inner, dim=1),
        }


def _central_in_time(weight: Tensor, built: Settings, settings: Settings) -> Tensor:
    """Slice the central frames of a weight whose channels are those of several frames."""
    kernel, wanted = kernel_frames(built), kernel_frames(settings)
    if kernel == wanted:
        return weight
    return central(torch.unflatten(weight, 1, (kernel, -1)), wanted, dim=1).flatten(1, 2)


def _bias(layer: nn.Conv2d, channels: int) -> Tensor:
    assert layer.bias is not None
    return leading(layer.bias, channels)
