"""Temporal self-attention: frames attend to frames, at a pixel or in a space-time window.

Projections are 1 x 1 convolutions where the features lie, so that only the tokens are moved: once
to where attention wants them, and once back.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_spaces import Slot
from supernet.operators.base import Settings, TemporalOperator
from supernet.operators.sizes import (
    group_norm,
    head_count,
    inner_channels,
    leading,
    leading_of_each,
    window_sides,
    zero_initialised,
)


class SelfAttention(TemporalOperator):
    """Self-attention: the norm, the projections and the weight slices that both kinds share.

    Queries start equal to keys: attention then begins as a comparison of what frames look like,
    which is what averages the same content over time (non-local means, Buades et al. 2005).
    """

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        inner = inner_channels(slot, settings)
        head_count(slot, settings)  # refuses what does not divide
        self.norm = group_norm(slot.channels)
        self.qkv = nn.Conv2d(slot.channels, 3 * inner, 1)
        self.out = zero_initialised(nn.Conv2d(inner, slot.channels, 1))
        assert self.qkv.bias is not None
        with torch.no_grad():
            q, k, _ = self.qkv.weight.chunk(3)
            nn.init.orthogonal_(q.view(inner, slot.channels))
            k.copy_(q)
            self.qkv.bias[: 2 * inner] = 0.0

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        w = self.weights(settings)
        sizes = self.settings if settings is None else settings
        waves_TC = sinusoidal_positions(frames, x_NCHW.shape[1], x_NCHW)
        # By expand and not by repeat: of one clip nothing is left to do.
        waves_BTC = waves_TC.expand(context_BLC.shape[0], -1, -1)
        h = self.norm(x_NCHW) + waves_BTC.reshape(x_NCHW.shape[0], -1, 1, 1)
        h = F.conv2d(self.with_positions(h, w, sizes), w["qkv.weight"], w["qkv.bias"])
        tokens_PMSD = self.tokens(h, frames, 3 * head_count(self.slot, sizes), sizes)
        q, k, v = tokens_PMSD.chunk(3, dim=1)
        h = self.images(F.scaled_dot_product_attention(q, k, v), x_NCHW, frames, sizes)
        return x_NCHW + F.conv2d(h, w["out.weight"], w["out.bias"])

    def with_positions(
        self, h_NCHW: Tensor, weights: dict[str, Tensor], settings: Settings
    ) -> Tensor:
        """Add spatial position embeddings, where the operator has some."""
        return h_NCHW

    def tokens(self, h_NCHW: Tensor, frames: int, heads: int, settings: Settings) -> Tensor:
        """Arrange features as tokens that attend to each other, (groups, heads, tokens, d)."""
        raise NotImplementedError

    def images(self, h_PMSD: Tensor, like_NCHW: Tensor, frames: int, settings: Settings) -> Tensor:
        """Arrange tokens as images again."""
        raise NotImplementedError

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        inner = inner_channels(self.slot, settings)
        assert self.qkv.bias is not None
        return {
            "qkv.weight": leading_of_each(self.qkv.weight, 3, inner),
            "qkv.bias": leading_of_each(self.qkv.bias, 3, inner),
            "out.weight": leading(self.out.weight, inner, dim=1),
        }


class SelfAttention1D(SelfAttention):
    """Temporal attention: over the frames of each pixel."""

    def tokens(self, h_NCHW: Tensor, frames: int, heads: int, settings: Settings) -> Tensor:
        """See SelfAttention; a group a pixel."""
        h_NCP = h_NCHW.flatten(2)
        return rearrange(h_NCP, "(b t) (m d) p -> (b p) m t d", t=frames, m=heads)

    def images(self, h_PMSD: Tensor, like_NCHW: Tensor, frames: int, settings: Settings) -> Tensor:
        """See SelfAttention."""
        height, width = like_NCHW.shape[2:]
        h = rearrange(h_PMSD, "(b p) m t d -> (b t) (m d) p", p=height * width)
        return torch.unflatten(h, 2, (height, width))


class SelfAttention3D(SelfAttention):
    """Space-time window attention: over all frames of a window; windows tile the image."""

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        rows, columns = window_sides(slot, settings)
        # Half of the channels begin by saying the row, the others the column.
        half = (slot.channels + 1) // 2
        down, across = torch.zeros(slot.channels, rows), torch.zeros(slot.channels, columns)
        down[:half] = sinusoidal_positions(rows, half, down).T
        across[half:] = sinusoidal_positions(columns, half, across).T[: slot.channels - half]
        self.rows, self.columns = nn.Parameter(down), nn.Parameter(across)

    def with_positions(
        self, h_NCHW: Tensor, weights: dict[str, Tensor], settings: Settings
    ) -> Tensor:
        """See SelfAttention; where in its window a pixel stands."""
        height, width = h_NCHW.shape[2:]
        down_CH, across_CW = weights["rows"], weights["columns"]
        if down_CH.shape[1] < height:
            down_CH = down_CH.repeat(1, height // down_CH.shape[1])
        if across_CW.shape[1] < width:
            across_CW = across_CW.repeat(1, width // across_CW.shape[1])
        return h_NCHW + (down_CH.unsqueeze(2) + across_CW.unsqueeze(1))

    def tokens(self, h_NCHW: Tensor, frames: int, heads: int, settings: Settings) -> Tensor:
        """See SelfAttention; a group a window."""
        n, channels, height, width = h_NCHW.shape
        rows, columns = window_sides(self.slot, settings)
        h = h_NCHW
        if columns < width:  # else whole rows are a window, and lie as they should
            h = h.reshape(n, channels * (height // rows), rows, width // columns, columns)
            h = h.transpose(2, 3)
        h_NCGS = h.reshape(n, channels, -1, rows * columns)
        return rearrange(h_NCGS, "(b t) (m d) g s -> (b g) m (t s) d", t=frames, m=heads)

    def images(self, h_PMSD: Tensor, like_NCHW: Tensor, frames: int, settings: Settings) -> Tensor:
        """See SelfAttention."""
        height, width = like_NCHW.shape[2:]
        rows, columns = window_sides(self.slot, settings)
        windows = (height // rows) * (width // columns)
        h = rearrange(h_PMSD, "(b g) m (t s) d -> (b t) (m d) g s", g=windows, t=frames)
        n, channels = h.shape[:2]
        if columns < width:
            h = h.reshape(n, channels * (height // rows), width // columns, rows, columns)
            h = h.transpose(2, 3)
        return h.reshape(n, channels, height, width)

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        rows, columns = window_sides(self.slot, settings)
        return {
            **super().cuts(settings),
            "rows": leading(self.rows, rows, dim=1),
            "columns": leading(self.columns, columns, dim=1),
        }


def sinusoidal_positions(frames: int, channels: int, like: Tensor) -> Tensor:
    """Sinusoidal position embeddings (frames, channels), for any number of frames.

    "Attention Is All You Need", section 3.5, with wavelengths up to 64 frames; of the type and on
    the device of `like`.
    """
    half = (channels + 1) // 2
    steps = torch.arange(half, device=like.device, dtype=like.dtype) / half
    rates = torch.exp(steps * -math.log(64.0 / (2 * math.pi)))
    angles = torch.arange(frames, device=like.device).to(like.dtype).unsqueeze(1) * rates
    waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
    # A slice of everything becomes an alias in the graph, which coremltools does not know.
    return waves if channels == 2 * half else waves[:, :channels]
