"""The temporal blocks as modules.

Shapes: N = B*T images of a batch of clips, T frames, C channels, H and W pixels, L context tokens.
Every block keeps its input's shape and starts as the identity: its last projection is zero, so a
fresh supernet equals its image backbone. Nothing here exceeds rank 5, which Core ML refuses.
"""

import importlib
import math
from collections.abc import Mapping
from typing import TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_spaces import Block, InputError, Option, Slot

M = TypeVar("M", bound=nn.Module)
Settings = Mapping[str, Option]
HEAD_CHANNELS = 16
WINDOW = 6  # pixels on a side of a space-time window, at most


class TemporalOperator(nn.Module):
    """A temporal block of one slot.

    A supernet builds it once at its largest settings and passes the settings of a path to
    `forward`; a plain network builds it at its own settings and passes none.
    """

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__()
        self.slot = slot
        self.settings = dict(settings)

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """The block's output, shaped as its input; `settings` None means as built."""
        raise NotImplementedError

    def state_for(self, settings: Settings) -> dict[str, Tensor]:
        """The parameters that a block built at `settings` inherits from this one.

        An elastic block overrides this with slices of its own.
        """
        if dict(settings) != self.settings:
            raise NotImplementedError(f"{type(self).__name__} has no elastic settings")
        return dict(self.state_dict())


class Conv1D(TemporalOperator):
    """Convolution over time at each pixel, as a (3, 1) Conv2d over (frames, pixels)."""

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        self.norm = _group_norm(slot.channels)
        self.conv = nn.Conv2d(slot.channels, slot.channels, (3, 1), padding=(1, 0))
        self.out = _zero(nn.Conv2d(slot.channels, slot.channels, 1))

    def forward(
        self,
        x_NCHW: Tensor,
        frames: int,
        context_BLC: Tensor,
        settings: Settings | None = None,
    ) -> Tensor:
        """See TemporalOperator."""
        h = F.silu(self.norm(x_NCHW))
        h = rearrange(h, "(b t) c h w -> b c t (h w)", t=frames)
        h = self.out(F.silu(self.conv(h)))
        out: Tensor = x_NCHW + rearrange(h, "b c t (h w) -> (b t) c h w", h=x_NCHW.shape[2])
        return out


class Conv3D(TemporalOperator):
    """A full 3 x 3 x 3 convolution over time and space."""

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        self.norm = _group_norm(slot.channels)
        self.conv = nn.Conv3d(slot.channels, slot.channels, 3, padding=1)
        self.out = _zero(nn.Conv2d(slot.channels, slot.channels, 1))

    def forward(
        self,
        x_NCHW: Tensor,
        frames: int,
        context_BLC: Tensor,
        settings: Settings | None = None,
    ) -> Tensor:
        """See TemporalOperator."""
        h = F.silu(self.norm(x_NCHW))
        h = F.silu(self.conv(rearrange(h, "(b t) c h w -> b c t h w", t=frames)))
        out: Tensor = x_NCHW + self.out(rearrange(h, "b c t h w -> (b t) c h w"))
        return out


class _Attention(nn.Module):
    """Multi-head self-attention over (batch, tokens, channels), with a zero-initialised way out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD_CHANNELS)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = _zero(nn.Linear(channels, channels))

    def forward(self, x_BSC: Tensor) -> Tensor:
        q, k, v = (
            rearrange(part, "b s (n d) -> b n s d", n=self.heads)
            for part in self.qkv(x_BSC).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        attended: Tensor = self.out(rearrange(mixed, "b n s d -> b s (n d)"))
        return attended


class SelfAttention1D(TemporalOperator):
    """Attention over the frames of each pixel."""

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        self.norm = _group_norm(slot.channels)
        self.attention = _Attention(slot.channels)

    def forward(
        self,
        x_NCHW: Tensor,
        frames: int,
        context_BLC: Tensor,
        settings: Settings | None = None,
    ) -> Tensor:
        """See TemporalOperator."""
        height, width = x_NCHW.shape[2:]
        h = rearrange(self.norm(x_NCHW), "(b t) c h w -> (b h w) t c", t=frames)
        h = self.attention(h + frame_positions(frames, h))
        out: Tensor = x_NCHW + rearrange(h, "(b h w) t c -> (b t) c h w", h=height, w=width)
        return out


class SelfAttention3D(TemporalOperator):
    """Attention over all frames of a window of pixels; windows tile the image."""

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        self.window = (_window(slot, slot.height), _window(slot, slot.width))
        self.norm = _group_norm(slot.channels)
        self.attention = _Attention(slot.channels)
        self.place = nn.Parameter(torch.randn(math.prod(self.window), slot.channels) * 0.02)

    def forward(
        self,
        x_NCHW: Tensor,
        frames: int,
        context_BLC: Tensor,
        settings: Settings | None = None,
    ) -> Tensor:
        """See TemporalOperator."""
        windows = self._split(self.norm(x_NCHW))
        h_PTSC = rearrange(windows, "(b t) c g s -> (b g) t s c", t=frames)
        positions = frame_positions(frames, h_PTSC).unsqueeze(1) + self.place
        h = self.attention(rearrange(h_PTSC + positions, "p t s c -> p (t s) c"))
        groups = windows.shape[2]
        h = rearrange(h, "(b g) (t s) c -> (b t) c g s", g=groups, t=frames)
        return x_NCHW + self._join(h, x_NCHW)

    def _split(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, windows, pixels of a window), by way of rank 5."""
        n, c, height, width = x_NCHW.shape
        rows, columns = self.window
        x = x_NCHW.reshape(n * c, height // rows, rows, width // columns, columns)
        return x.transpose(2, 3).reshape(n, c, -1, rows * columns)

    def _join(self, x_NCGS: Tensor, like_NCHW: Tensor) -> Tensor:
        n, c, height, width = like_NCHW.shape
        rows, columns = self.window
        x = x_NCGS.reshape(n * c, height // rows, width // columns, rows, columns)
        return x.transpose(2, 3).reshape(n, c, height, width)


def build(block: Block, slot: Slot) -> TemporalOperator | None:
    """The module of a block in a slot; None for the operator that leaves the slot as it is.

    Raises:
        InputError: the declared module does not exist or is no TemporalOperator.
    """
    if not block.operator.module:
        return None
    module_name, _, class_name = block.operator.module.partition(":")
    try:
        operator_class = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        name = block.operator.name
        raise InputError(f"operator {name!r}: {block.operator.module}: {error}") from None
    if not (isinstance(operator_class, type) and issubclass(operator_class, TemporalOperator)):
        raise InputError(f"operator {block.operator.name!r}: {class_name} is no TemporalOperator")
    return operator_class(slot, dict(block.settings))


def frame_positions(frames: int, like: Tensor) -> Tensor:
    """Sinusoids (frames, channels) that tell frames apart, for any number of frames.

    "Attention Is All You Need", section 3.5, with wavelengths up to 64 frames.
    """
    channels = like.shape[-1]
    half = (channels + 1) // 2
    steps = torch.arange(half, device=like.device, dtype=like.dtype) / half
    rates = torch.exp(steps * -math.log(64.0 / (2 * math.pi)))
    angles = torch.arange(frames, device=like.device).to(like.dtype).unsqueeze(1) * rates
    waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
    # A slice of everything becomes an alias in the graph, which coremltools does not know.
    return waves if channels == 2 * half else waves[:, :channels]


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)


def _zero(module: M) -> M:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def _window(slot: Slot, size: int) -> int:
    """The largest side of at most WINDOW pixels that tiles `size`."""
    window = max(side for side in range(1, WINDOW + 1) if size % side == 0)
    if window == 1 < size:
        raise InputError(
            f"slot {slot.name!r}: {size} pixels have no divisor from 2 to {WINDOW}, so windows "
            "cannot tile them; choose a size with small factors"
        )
    return window
