"""Temporal blocks that convolve."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_spaces import Slot
from supernet.operators.base import Settings, TemporalOperator
from supernet.operators.sizes import (
    first,
    group_norm,
    inner_channels,
    kernel_frames,
    middle,
    zeroed,
)


class Conv1D(TemporalOperator):
    """Convolution over time at each pixel, as a (kernel, 1) Conv2d over (frames, pixels).

    So spelled it converts to Core ML as one convolution and two reshapes; a Conv1d over
    (pixels, channels, frames) needs two transposes more.
    """

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        inner, kernel = inner_channels(slot, settings), kernel_frames(settings)
        self.norm = group_norm(slot.channels)
        self.conv = nn.Conv2d(slot.channels, inner, (kernel, 1))
        self.out = zeroed(nn.Conv2d(inner, slot.channels, 1))

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        w = self.weights(settings)
        h = F.silu(self.norm(x_NCHW))
        h = rearrange(h, "(b t) c h w -> b c t (h w)", t=frames)
        h = F.silu(over_time(h, w["conv.weight"], w["conv.bias"]))
        h = F.conv2d(h, w["out.weight"], w["out.bias"])
        out: Tensor = x_NCHW + rearrange(h, "b c t (h w) -> (b t) c h w", h=x_NCHW.shape[2])
        return out

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        return _cut(self.conv, self.out, inner_channels(self.slot, settings), settings)


class Conv3D(TemporalOperator):
    """A full convolution over time and a 3 x 3 neighbourhood of pixels."""

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        inner, kernel = inner_channels(slot, settings), kernel_frames(settings)
        self.norm = group_norm(slot.channels)
        self.conv = nn.Conv3d(slot.channels, inner, (kernel, 3, 3))
        self.out = zeroed(nn.Conv2d(inner, slot.channels, 1))

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        w = self.weights(settings)
        h = rearrange(F.silu(self.norm(x_NCHW)), "(b t) c h w -> b c t h w", t=frames)
        weight = w["conv.weight"]
        h = F.conv3d(h, weight, w["conv.bias"], padding=(weight.shape[2] // 2, 1, 1))
        h = rearrange(F.silu(h), "b c t h w -> (b t) c h w")
        return x_NCHW + F.conv2d(h, w["out.weight"], w["out.bias"])

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        return _cut(self.conv, self.out, inner_channels(self.slot, settings), settings)


class SeparableConv3D(TemporalOperator):
    """Conv3D in two steps, 3 x 3 over the pixels and then over time: rank 4 throughout.

    The factorisation of Tran et al. 2018 (arXiv:1711.11248).
    """

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        inner, kernel = inner_channels(slot, settings), kernel_frames(settings)
        self.norm = group_norm(slot.channels)
        self.space = nn.Conv2d(slot.channels, inner, 3)
        self.time = nn.Conv2d(inner, inner, (kernel, 1))
        self.out = zeroed(nn.Conv2d(inner, slot.channels, 1))

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        w = self.weights(settings)
        h = F.silu(self.norm(x_NCHW))
        h = F.conv2d(h, w["space.weight"], w["space.bias"], padding=1)
        h = rearrange(h, "(b t) c h w -> b c t (h w)", t=frames)
        h = F.silu(over_time(h, w["time.weight"], w["time.bias"]))
        h = F.conv2d(h, w["out.weight"], w["out.bias"])
        out: Tensor = x_NCHW + rearrange(h, "b c t (h w) -> (b t) c h w", h=x_NCHW.shape[2])
        return out

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        inner = inner_channels(self.slot, settings)
        time = first(first(self.time.weight, inner), inner, dim=1)
        return {
            "space.weight": first(self.space.weight, inner),
            "space.bias": _bias(self.space, inner),
            "time.weight": middle(time, kernel_frames(settings)),
            "time.bias": _bias(self.time, inner),
            "out.weight": first(self.out.weight, inner, dim=1),
        }


def over_time(x_BCTS: Tensor, weight: Tensor, bias: Tensor | None, groups: int = 1) -> Tensor:
    """A convolution over time of (batch, channels, frames, pixels); frames are kept."""
    return F.conv2d(x_BCTS, weight, bias, padding=(weight.shape[2] // 2, 0), groups=groups)


def _cut(
    conv: nn.Conv2d | nn.Conv3d, out: nn.Conv2d, inner: int, settings: Settings
) -> dict[str, Tensor]:
    """The parts of a convolution and of the way out that `inner` channels use."""
    return {
        "conv.weight": middle(first(conv.weight, inner), kernel_frames(settings)),
        "conv.bias": _bias(conv, inner),
        "out.weight": first(out.weight, inner, dim=1),
    }


def _bias(layer: nn.Conv2d | nn.Conv3d, channels: int) -> Tensor:
    assert layer.bias is not None
    return first(layer.bias, channels)
