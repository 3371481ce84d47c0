"""Transformer layers; N images, C channels, H x W pixels, L context tokens.

Parameters are those of diffusers, which has tokens before channels. Here features keep the form of
images, and projections are 1 x 1 convolutions: what attention looks at is moved once, and back.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

EXPANSION = 4  # of channels inside a feed-forward part


class Attention(nn.Module):
    """Multi-head attention of pixels to tokens of a context, or to one another."""

    def __init__(self, channels: int, heads: int, context_channels: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.asks_context = context_channels is not None
        given = channels if context_channels is None else context_channels
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(given, channels, bias=False)
        self.to_v = nn.Linear(given, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x_NCHW: Tensor, context_NLC: Tensor) -> Tensor:
        """Shape of `x_NCHW` kept."""
        if self.asks_context:
            q = rearrange(at_each_pixel(self.to_q.weight, x_NCHW).flatten(2), _HEADS, m=self.heads)
            weight = torch.cat([self.to_k.weight, self.to_v.weight])
            kv = F.linear(context_NLC, weight)
            k, v = rearrange(kv, "n l (m d) -> n m l d", m=2 * self.heads).chunk(2, dim=1)
        else:
            weight = torch.cat([self.to_q.weight, self.to_k.weight, self.to_v.weight])
            qkv = at_each_pixel(weight, x_NCHW).flatten(2)
            q, k, v = rearrange(qkv, _HEADS, m=3 * self.heads).chunk(3, dim=1)
        mixed = rearrange(F.scaled_dot_product_attention(q, k, v), "n m p d -> n (m d) p")
        mixed = torch.unflatten(mixed, 2, tuple(x_NCHW.shape[2:]))
        way_out: nn.Linear = self.to_out[0]  # type: ignore[assignment]
        return at_each_pixel(way_out.weight, mixed, way_out.bias)


_HEADS = "n (m d) p -> n m p d"


class GatedGELU(nn.Module):
    """Half of a projection gates the other, "GLU Variants Improve Transformer"."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels_in, 2 * channels_out)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels_out, H, W)."""
        h, gate = at_each_pixel(self.proj.weight, x_NCHW, self.proj.bias).chunk(2, dim=1)
        out: Tensor = h * F.gelu(gate)
        return out


class FeedForward(nn.Module):
    """Feed-forward layer (a gated perceptron) of each pixel on its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = EXPANSION * channels
        # The middle entry keeps the names of diffusers, where a dropout stands.
        self.net = nn.Sequential(
            GatedGELU(channels, inner), nn.Identity(), nn.Linear(inner, channels)
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Shape kept."""
        way_out: nn.Linear = self.net[2]  # type: ignore[assignment]
        return at_each_pixel(way_out.weight, self.net[0](x_NCHW), way_out.bias)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation of each pixel's channels."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Shape kept."""
        # On its way to Core ML, which normalises any axis, `latency.graph_passes` takes the turns
        # out.
        return super().forward(x_NCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TransformerBlock(nn.Module):
    """Transformer block: self-attention of pixels, cross-attention to the context, feed-forward."""

    def __init__(self, channels: int, heads: int, context_channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.attn1 = Attention(channels, heads)
        self.norm2 = ChannelNorm(channels)
        self.attn2 = Attention(channels, heads, context_channels)
        self.norm3 = ChannelNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, x_NCHW: Tensor, context_NLC: Tensor) -> Tensor:
        """Shape of `x_NCHW` kept."""
        h = x_NCHW + self.attn1(self.norm1(x_NCHW), context_NLC)
        h = h + self.attn2(self.norm2(h), context_NLC)
        out: Tensor = h + self.ff(self.norm3(h))
        return out


class Transformer(nn.Module):
    """Transformer blocks over the pixels of an image."""

    def __init__(
        self,
        channels: int,
        heads: int,
        context_channels: int,
        layers: int,
        groups: int,
        *,
        linear: bool,
    ) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = _projection(channels, linear=linear)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, heads, context_channels) for _ in range(layers)
        )
        self.proj_out = _projection(channels, linear=linear)

    def forward(self, x_NCHW: Tensor, context_NLC: Tensor) -> Tensor:
        """Shape of `x_NCHW` kept."""
        h = at_each_pixel(self.proj_in.weight, self.norm(x_NCHW), self.proj_in.bias)
        for block in self.transformer_blocks:
            h = block(h, context_NLC)
        return x_NCHW + at_each_pixel(self.proj_out.weight, h, self.proj_out.bias)


def at_each_pixel(weight: Tensor, x_NCHW: Tensor, bias: Tensor | None = None) -> Tensor:
    """Pointwise (1 x 1) convolution by a linear layer's weight, (out, in) or (out, in, 1, 1)."""
    return F.conv2d(x_NCHW, weight if weight.dim() == 4 else weight[:, :, None, None], bias)


def _projection(channels: int, *, linear: bool) -> nn.Linear | nn.Conv2d:
    return nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
