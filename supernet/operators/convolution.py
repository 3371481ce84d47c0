"""Temporal blocks that convolve."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces import Slot
from supernet.operators.base import Settings, TemporalOperator
from supernet.operators.neighbours import with_neighbours
from supernet.operators.sizes import (
    first,
    group_norm,
    inner_channels,
    kernel_frames,
    middle,
    zeroed,
)


class Convolution(TemporalOperator):
    """A convolution over time and a square of pixels, as a Conv2d over frames' neighbours.

    The weight is (inner, kernel * channels, side, side), the earliest frame's channels first.
    """

    side = 1  # of the square, in pixels

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        inner, kernel = inner_channels(slot, settings), kernel_frames(settings)
        self.norm = group_norm(slot.channels)
        self.conv = nn.Conv2d(kernel * slot.channels, inner, self.side)
        self.out = zeroed(nn.Conv2d(inner, slot.channels, 1))

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        w = self.weights(settings)
        h = F.silu(self.norm(x_NCHW))
        h = with_neighbours(h, frames, w["conv.weight"].shape[1] // h.shape[1])
        h = F.silu(F.conv2d(h, w["conv.weight"], w["conv.bias"], padding=self.side // 2))
        return x_NCHW + F.conv2d(h, w["out.weight"], w["out.bias"])

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        inner = inner_channels(self.slot, settings)
        return {
            "conv.weight": _in_time(first(self.conv.weight, inner), self.settings, settings),
            "conv.bias": _bias(self.conv, inner),
            "out.weight": first(self.out.weight, inner, dim=1),
        }


class Conv1D(Convolution):
    """A convolution over time at each pixel."""


class Conv3D(Convolution):
    """A full convolution over time and a 3 x 3 neighbourhood of pixels."""

    side = 3


class SeparableConv3D(TemporalOperator):
    """Conv3D in two steps, 3 x 3 over the pixels and then over time.

    The factorisation of Tran et al. 2018 (arXiv:1711.11248).
    """

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        inner, kernel = inner_channels(slot, settings), kernel_frames(settings)
        self.norm = group_norm(slot.channels)
        self.space = nn.Conv2d(slot.channels, inner, 3)
        self.time = nn.Conv2d(kernel * inner, inner, 1)
        self.out = zeroed(nn.Conv2d(inner, slot.channels, 1))

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        w = self.weights(settings)
        h = F.silu(self.norm(x_NCHW))
        h = F.conv2d(h, w["space.weight"], w["space.bias"], padding=1)
        h = with_neighbours(h, frames, w["time.weight"].shape[1] // h.shape[1])
        h = F.silu(F.conv2d(h, w["time.weight"], w["time.bias"]))
        return x_NCHW + F.conv2d(h, w["out.weight"], w["out.bias"])

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        inner = inner_channels(self.slot, settings)
        kernel = kernel_frames(self.settings)
        time = torch.unflatten(first(self.time.weight, inner), 1, (kernel, -1))
        time = first(middle(time, kernel_frames(settings), dim=1), inner, dim=2)
        return {
            "space.weight": first(self.space.weight, inner),
            "space.bias": _bias(self.space, inner),
            "time.weight": time.flatten(1, 2),
            "time.bias": _bias(self.time, inner),
            "out.weight": first(self.out.weight, inner, dim=1),
        }


def _in_time(weight: Tensor, built: Settings, settings: Settings) -> Tensor:
    """The middle frames of a weight whose channels are those of several frames."""
    kernel, wanted = kernel_frames(built), kernel_frames(settings)
    if kernel == wanted:
        return weight
    return middle(torch.unflatten(weight, 1, (kernel, -1)), wanted, dim=1).flatten(1, 2)


def _bias(layer: nn.Conv2d, channels: int) -> Tensor:
    assert layer.bias is not None
    return first(layer.bias, channels)
