"""Temporal cross-attention: queries mixed over frames attend to the context tokens."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_spaces import InputError, Slot
from supernet.operators.base import Settings, TemporalOperator
from supernet.operators.neighbours import temporal_shifts
from supernet.operators.sizes import (
    central,
    group_norm,
    head_count,
    inner_channels,
    kernel_frames,
    leading,
    leading_of_each,
    zero_initialised,
)


class CrossAttention1D(TemporalOperator):
    """Cross-attention of each pixel, seen over neighbouring frames, to the context tokens.

    Queries are mixed over time first by a depthwise convolution: attention to the context alone
    would treat every frame as an image does.
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
        self.time = nn.Conv1d(slot.channels, slot.channels, kernel, groups=slot.channels)
        self.q = nn.Conv2d(slot.channels, inner, 1)
        self.kv = nn.Linear(slot.context_channels, 2 * inner)
        self.out = zero_initialised(nn.Conv2d(inner, slot.channels, 1))

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        w = self.weights(settings)
        heads = head_count(self.slot, self.settings if settings is None else settings)
        q = F.conv2d(self.temporal_queries(x_NCHW, frames, w), w["q.weight"], w["q.bias"])
        q = rearrange(q.flatten(2), "n (m d) p -> n m p d", m=heads)
        kv = F.linear(context_BLC, w["kv.weight"], w["kv.bias"])
        kv = rearrange(kv, "b l (m d) -> b m l d", m=2 * heads)
        # Frames stay in the batch: all pixels of a clip at once can be more than a dimension holds.
        kv = kv.unsqueeze(1).expand(-1, frames, -1, -1, -1).flatten(0, 1)
        k, v = kv.chunk(2, dim=1)
        h = rearrange(F.scaled_dot_product_attention(q, k, v), "n m p d -> n (m d) p")
        h = torch.unflatten(h, 2, tuple(x_NCHW.shape[2:]))
        return x_NCHW + F.conv2d(h, w["out.weight"], w["out.bias"])

    def temporal_queries(self, x_NCHW: Tensor, frames: int, w: dict[str, Tensor]) -> Tensor:
        """Mix the queries over time (a depthwise convolution), shaped as the input."""
        taps_CK = w["time.weight"].squeeze(1)
        h = w["time.bias"].unsqueeze(1)
        for place, x_BTCS in enumerate(
            temporal_shifts(self.norm(x_NCHW), frames, taps_CK.shape[1])
        ):
            h = h + taps_CK.narrow(1, place, 1) * x_BTCS
        return h.reshape(x_NCHW.shape)

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        inner = inner_channels(self.slot, settings)
        assert self.q.bias is not None
        return {
            "time.weight": central(self.time.weight, kernel_frames(settings)),
            "out.weight": leading(self.out.weight, inner, dim=1),
            "q.weight": leading(self.q.weight, inner),
            "q.bias": leading(self.q.bias, inner),
            "kv.weight": leading_of_each(self.kv.weight, 2, inner),
            "kv.bias": leading_of_each(self.kv.bias, 2, inner),
        }


class CrossAttention3D(CrossAttention1D):
    """Cross-attention whose queries also see the 3 x 3 neighbourhood of the pixel."""

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        self.space = nn.Conv2d(slot.channels, slot.channels, 3, padding=1, groups=slot.channels)

    def temporal_queries(self, x_NCHW: Tensor, frames: int, w: dict[str, Tensor]) -> Tensor:
        """See CrossAttention1D."""
        out: Tensor = self.space(super().temporal_queries(x_NCHW, frames, w))
        return out
