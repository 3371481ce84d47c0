"""Temporal blocks in which frames look at frames."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_spaces import InputError, Slot
from supernet.operators.base import Settings, TemporalOperator
from supernet.operators.sizes import first, group_norm, head_count, inner_channels, zeroed

WINDOW = 6  # pixels on a side of a space-time window, at most


class SelfAttention(TemporalOperator):
    """What both kinds of self-attention share: the norm, the projections, and how they are cut.

    Queries start equal to keys: attention then begins as a comparison of what frames look like,
    which is what averages the same content over time (non-local means, Buades et al. 2005).
    """

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        inner = inner_channels(slot, settings)
        head_count(slot, settings)  # refuses what does not divide
        self.norm = group_norm(slot.channels)
        self.q = nn.Linear(slot.channels, inner)
        self.k = nn.Linear(slot.channels, inner)
        self.v = nn.Linear(slot.channels, inner)
        self.out = zeroed(nn.Linear(inner, slot.channels))
        nn.init.orthogonal_(self.q.weight)
        nn.init.zeros_(self.q.bias)
        self.k.load_state_dict(self.q.state_dict())

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        inner = inner_channels(self.slot, settings)
        parts = {"out.weight": first(self.out.weight, inner, dim=1)}
        for name, layer in (("q", self.q), ("k", self.k), ("v", self.v)):
            parts[f"{name}.weight"] = first(layer.weight, inner)
            parts[f"{name}.bias"] = first(layer.bias, inner)
        return parts

    def attend(self, x_PSC: Tensor, settings: Settings | None) -> Tensor:
        """Attention over the S tokens of each of P groups, (P, S, C)."""
        w = self.weights(settings)
        heads = head_count(self.slot, self.settings if settings is None else settings)
        q, k, v = (
            rearrange(
                F.linear(x_PSC, w[f"{name}.weight"], w[f"{name}.bias"]),
                "p s (n d) -> p n s d",
                n=heads,
            )
            for name in ("q", "k", "v")
        )
        mixed = rearrange(F.scaled_dot_product_attention(q, k, v), "p n s d -> p s (n d)")
        return F.linear(mixed, w["out.weight"], w["out.bias"])


class SelfAttention1D(SelfAttention):
    """Attention over the frames of each pixel."""

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        height, width = x_NCHW.shape[2:]
        h = rearrange(self.norm(x_NCHW), "(b t) c h w -> (b h w) t c", t=frames)
        h = self.attend(h + frame_positions(frames, h), settings)
        out: Tensor = x_NCHW + rearrange(h, "(b h w) t c -> (b t) c h w", h=height, w=width)
        return out


class SelfAttention3D(SelfAttention):
    """Attention over all frames of a window of pixels; windows tile the image."""

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__(slot, settings)
        self.window = (_window(slot, slot.height), _window(slot, slot.width))
        self.place = nn.Parameter(_places(*self.window, slot.channels))

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        windows = self._split(self.norm(x_NCHW))
        h_PTSC = rearrange(windows, "(b t) c g s -> (b g) t s c", t=frames)
        positions = frame_positions(frames, h_PTSC).unsqueeze(1) + self.place
        h = self.attend(rearrange(h_PTSC + positions, "p t s c -> p (t s) c"), settings)
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


def _places(rows: int, columns: int, channels: int) -> Tensor:
    """Sinusoids (rows * columns, channels): where in its window a pixel lies, to begin with."""
    across = torch.zeros(1, (channels + 1) // 2)
    y = frame_positions(rows, across.expand(rows, -1))[:, None].expand(-1, columns, -1)
    x = frame_positions(columns, across.expand(columns, -1))[None].expand(rows, -1, -1)
    return torch.cat([y, x], dim=-1).reshape(rows * columns, -1)[:, :channels].clone()


def _window(slot: Slot, size: int) -> int:
    """The largest side of at most WINDOW pixels that tiles `size`."""
    window = max(side for side in range(1, WINDOW + 1) if size % side == 0)
    if window == 1 < size:
        raise InputError(
            f"slot {slot.name!r}: {size} pixels have no divisor from 2 to {WINDOW}, so windows "
            "cannot tile them; choose a size with small factors"
        )
    return window
