"""Backbone: the image U-Net that is trained on single frames, with hooks at its temporal slots.

A backbone of another kind gives what `Backbone` asks for; `supernet.backbones.building` chooses by
shape.

N images, C channels, H x W pixels, L context tokens, E embedding channels.
"""

import itertools
import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_spaces import AnyUNetShape, UNetShape

# A hook: called with a slot's name and the features there; returns features of the same shape.
AtSlot = Callable[[str, Tensor], Tensor]
EMBEDDING = 64
TIME_SCALE = 1000.0  # flow time runs from 0 to 1, the sinusoids from 1 to 1000 steps


def no_operator(slot: str, h_NCHW: Tensor) -> Tensor:  # noqa: ARG001
    """The identity hook, which leaves an image network as it is."""
    return h_NCHW


class Backbone(nn.Module):
    """An image U-Net that calls a hook at each of its shape's slots, in their order."""

    shape: AnyUNetShape

    def forward(
        self, x_NCHW: Tensor, time_N: Tensor, context_NLC: Tensor, at_slot: AtSlot = no_operator
    ) -> Tensor:
        """Predict for each image, (N, channels out, H, W); time runs from 0 to 1."""
        raise NotImplementedError

    def embedding(self, time_N: Tensor, context_NLC: Tensor) -> Tensor:
        """Embed time and context for the blocks, (N, E)."""
        raise NotImplementedError

    def features(
        self,
        x_NCHW: Tensor,
        embedding_NE: Tensor,
        context_NLC: Tensor,
        at_slot: AtSlot = no_operator,
    ) -> list[Tensor]:
        """Extract the features at each slot down and in the middle, highest resolution first."""
        raise NotImplementedError

    def up_path(self) -> Iterator[nn.Module]:
        """The children that `features` does not need."""
        raise NotImplementedError


class ResBlock(nn.Module):
    """Residual block: two 3 x 3 convolutions with the embedding added between them."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(math.gcd(8, channels_in), channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.embed = nn.Linear(EMBEDDING, channels_out)
        self.norm2 = nn.GroupNorm(math.gcd(8, channels_out), channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        same = channels_in == channels_out
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x_NCHW: Tensor, embedding_NE: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels_out, H, W)."""
        h = self.conv1(F.silu(self.norm1(x_NCHW)))
        h = h + self.embed(embedding_NE)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = self.skip(x_NCHW) + h
        return out


class ContextAttention(nn.Module):
    """Cross-attention of each pixel to the context tokens."""

    def __init__(self, channels: int, context_channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 16)
        self.norm = nn.GroupNorm(math.gcd(8, channels), channels)
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(context_channels, 2 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x_NCHW: Tensor, context_NLC: Tensor) -> Tensor:
        """Shape kept."""
        height = x_NCHW.shape[2]
        q = self.q(rearrange(self.norm(x_NCHW), "n c h w -> n (h w) c"))
        k, v = self.kv(context_NLC).chunk(2, dim=-1)
        q, k, v = (rearrange(part, "n s (m d) -> n m s d", m=self.heads) for part in (q, k, v))
        mixed = rearrange(F.scaled_dot_product_attention(q, k, v), "n m s d -> n s (m d)")
        out: Tensor = x_NCHW + rearrange(self.out(mixed), "n (h w) c -> n c h w", h=height)
        return out


class ImageUNet(Backbone):
    """A small U-Net of our own, with a slot after each stage down, the middle, and up."""

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.shape = shape
        widths, deepest = shape.channels, shape.channels[-1]
        self.embed_time = nn.Sequential(
            nn.Linear(EMBEDDING, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING)
        )
        self.embed_context = nn.Linear(shape.context_channels, EMBEDDING)
        self.enter = nn.Conv2d(shape.in_channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(ResBlock(width, width) for width in widths[:-1])
        self.shrink = nn.ModuleList(
            nn.Conv2d(wide, deep, 3, stride=2, padding=1)
            for wide, deep in itertools.pairwise(widths)
        )
        self.mid = ResBlock(deepest, deepest)
        self.mid_context = ContextAttention(deepest, shape.context_channels)
        self.up = nn.ModuleList(
            ResBlock(deep + wide, wide) for wide, deep in itertools.pairwise(widths)
        )
        self.leave_norm = nn.GroupNorm(math.gcd(8, widths[0]), widths[0])
        self.leave = nn.Conv2d(widths[0], shape.in_channels, 3, padding=1)

    def forward(
        self, x_NCHW: Tensor, time_N: Tensor, context_NLC: Tensor, at_slot: AtSlot = no_operator
    ) -> Tensor:
        """Predict the velocity of each image, (N, in_channels, H, W)."""
        embedding = self.embedding(time_N, context_NLC)
        *skips, h = self.features(x_NCHW, embedding, context_NLC, at_slot)
        for stage, skip in reversed(list(enumerate(skips))):
            h = F.interpolate(h, scale_factor=2.0, mode="nearest")
            h = self.up[stage](torch.cat([h, skip], dim=1), embedding)
            h = at_slot(f"up{stage}", h)
        velocity: Tensor = self.leave(F.silu(self.leave_norm(h)))
        return velocity

    def embedding(self, time_N: Tensor, context_NLC: Tensor) -> Tensor:
        """Embed time and pooled context, (N, EMBEDDING)."""
        half = EMBEDDING // 2
        steps = torch.arange(half, device=time_N.device, dtype=time_N.dtype) / half
        rates = torch.exp(steps * -math.log(10_000.0)) * TIME_SCALE
        angles = time_N[:, None] * rates
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
        context = self.embed_context(context_NLC).sum(dim=1)
        embedding: Tensor = F.silu(self.embed_time(waves) + context)
        return embedding

    def features(
        self,
        x_NCHW: Tensor,
        embedding_NE: Tensor,
        context_NLC: Tensor,
        at_slot: AtSlot = no_operator,
    ) -> list[Tensor]:
        """The down path: features after each stage, highest resolution first, the middle last."""
        h = self.enter(x_NCHW)
        found = []
        for stage, (block, shrink) in enumerate(zip(self.down, self.shrink, strict=True)):
            h = at_slot(f"down{stage}", block(h, embedding_NE))
            found.append(h)
            h = shrink(h)
        h = self.mid_context(self.mid(h, embedding_NE), context_NLC)
        found.append(at_slot("mid", h))
        return found

    def up_path(self) -> Iterator[nn.Module]:
        """The modules that `features` does not need."""
        yield from (self.up, self.leave_norm, self.leave)
