"""The attention parts; N images, C channels, H x W pixels, S tokens, L context tokens."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

EXPANSION = 4  # of channels inside a feed-forward part


class Attention(nn.Module):
    """Multi-head attention of tokens to others, or to themselves."""

    def __init__(self, channels: int, heads: int, context_channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context_channels, channels, bias=False)
        self.to_v = nn.Linear(context_channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x_NSC: Tensor, context_NLC: Tensor) -> Tensor:
        """Shape of `x_NSC` kept."""
        q, k, v = (
            rearrange(part, "n s (m d) -> n m s d", m=self.heads)
            for part in (self.to_q(x_NSC), self.to_k(context_NLC), self.to_v(context_NLC))
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.to_out[0](rearrange(mixed, "n m s d -> n s (m d)"))
        return out


class GatedGELU(nn.Module):
    """Half of a projection gates the other, "GLU Variants Improve Transformer"."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels_in, 2 * channels_out)

    def forward(self, x_NSC: Tensor) -> Tensor:
        """(N, S, channels_in) to (N, S, channels_out)."""
        h, gate = self.proj(x_NSC).chunk(2, dim=-1)
        out: Tensor = h * F.gelu(gate)
        return out


class FeedForward(nn.Module):
    """Each token on its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = EXPANSION * channels
        # The middle entry keeps the names of diffusers, where a dropout stands.
        self.net = nn.Sequential(
            GatedGELU(channels, inner), nn.Identity(), nn.Linear(inner, channels)
        )

    def forward(self, x_NSC: Tensor) -> Tensor:
        """Shape kept."""
        out: Tensor = self.net(x_NSC)
        return out


class TransformerBlock(nn.Module):
    """Pixels look at one another, at the context, and at themselves."""

    def __init__(self, channels: int, heads: int, context_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, heads, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, heads, context_channels)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, x_NSC: Tensor, context_NLC: Tensor) -> Tensor:
        """Shape of `x_NSC` kept."""
        normed = self.norm1(x_NSC)
        h = x_NSC + self.attn1(normed, normed)
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
        self.linear = linear
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = _projection(channels, linear=linear)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, heads, context_channels) for _ in range(layers)
        )
        self.proj_out = _projection(channels, linear=linear)

    def forward(self, x_NCHW: Tensor, context_NLC: Tensor) -> Tensor:
        """Shape of `x_NCHW` kept."""
        height = x_NCHW.shape[2]
        h = self.norm(x_NCHW)
        h = h if self.linear else self.proj_in(h)
        h = rearrange(h, "n c h w -> n (h w) c")
        h = self.proj_in(h) if self.linear else h
        for block in self.transformer_blocks:
            h = block(h, context_NLC)
        h = self.proj_out(h) if self.linear else h
        h = rearrange(h, "n (h w) c -> n c h w", h=height)
        out: Tensor = x_NCHW + (h if self.linear else self.proj_out(h))
        return out


def _projection(channels: int, *, linear: bool) -> nn.Module:
    return nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
