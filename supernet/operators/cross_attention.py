"""Temporal blocks that ask the context: what the clip is said to show."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_spaces import InputError, Slot
from supernet.operators.base import Settings, TemporalOperator
from supernet.operators.convolution import over_time
from supernet.operators.sizes import (
    first,
    group_norm,
    head_count,
    inner_channels,
    kernel_frames,
    middle,
    zeroed,
)


class CrossAttention1D(TemporalOperator):
    """Each pixel, seen over neighbouring frames, asks the context tokens.

    The questions are mixed over time first, by a depthwise convolution: attention to the context
    alone would treat every frame as an image does.
    """

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        if not slot.context_channels:
            raise InputError(
                f"slot {slot.name!r}: cross-attention needs context tokens, and the U-Net has none"
            )
        inner, kernel = inner_channels(slot, settings), kernel_frames(settings)
        head_count(slot, settings)  # refuses what does not divide
        self.norm = group_norm(slot.channels)
        self.time = nn.Conv2d(slot.channels, slot.channels, (kernel, 1), groups=slot.channels)
        self.q = nn.Conv2d(slot.channels, inner, 1)
        self.k = nn.Linear(slot.context_channels, inner)
        self.v = nn.Linear(slot.context_channels, inner)
        self.out = zeroed(nn.Conv2d(inner, slot.channels, 1))

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        w = self.weights(settings)
        heads = head_count(self.slot, self.settings if settings is None else settings)
        q = F.conv2d(self.mixed(x_NCHW, frames, w), w["q.weight"], w["q.bias"])
        q = rearrange(q, "n (m d) h w -> n m (h w) d", m=heads)
        # Frames stay in the batch: all pixels of a clip at once can be more than a dimension holds.
        batch, tokens, channels = context_BLC.shape
        context = context_BLC[:, None].expand(batch, frames, tokens, channels)
        context = context.reshape(-1, tokens, channels)
        k, v = (
            rearrange(
                F.linear(context, w[f"{name}.weight"], w[f"{name}.bias"]),
                "n l (m d) -> n m l d",
                m=heads,
            )
            for name in ("k", "v")
        )
        h = F.scaled_dot_product_attention(q, k, v)
        h = rearrange(h, "n m (h w) d -> n (m d) h w", h=x_NCHW.shape[2])
        return x_NCHW + F.conv2d(h, w["out.weight"], w["out.bias"])

    def mixed(self, x_NCHW: Tensor, frames: int, w: dict[str, Tensor]) -> Tensor:
        """The questions before their projection, shaped as the input."""
        h = rearrange(self.norm(x_NCHW), "(b t) c h w -> b c t (h w)", t=frames)
        h = over_time(h, w["time.weight"], w["time.bias"], groups=h.shape[1])
        out: Tensor = rearrange(h, "b c t (h w) -> (b t) c h w", h=x_NCHW.shape[2])
        return out

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        inner = inner_channels(self.slot, settings)
        parts = {
            "time.weight": middle(self.time.weight, kernel_frames(settings)),
            "out.weight": first(self.out.weight, inner, dim=1),
        }
        for name, layer in (("q", self.q), ("k", self.k), ("v", self.v)):
            assert layer.bias is not None
            parts[f"{name}.weight"] = first(layer.weight, inner)
            parts[f"{name}.bias"] = first(layer.bias, inner)
        return parts


class CrossAttention3D(CrossAttention1D):
    """The same, with questions that also see the 3 x 3 neighbourhood of the pixel."""

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        self.space = nn.Conv2d(slot.channels, slot.channels, 3, padding=1, groups=slot.channels)

    def mixed(self, x_NCHW: Tensor, frames: int, w: dict[str, Tensor]) -> Tensor:
        """See CrossAttention1D."""
        out: Tensor = self.space(super().mixed(x_NCHW, frames, w))
        return out
