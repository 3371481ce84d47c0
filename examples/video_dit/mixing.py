"""How tokens are mixed: (B, C, T, S), T frames of S tokens, stays as it lies wherever it can.

As the Neural Engine wants it: projections are 1 x 1 convolutions, heads are slices of the channels,
and no reshape crosses the channel axis.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.video_dit.space import CLIPS, PATCH

CHANNELS = 64
KERNEL = 5  # frames
WINDOW = 4  # frames
STEEPEST = 4.0  # slope of the most local head; its inverse is that of the most global


class Attention(nn.Module):
    """Self-attention; its kinds say which tokens see each other.

    Far tokens count less, by a slope of each head (ALiBi, Press et al. 2022, arXiv:2108.12409):
    attention begins as the local average that noisy clips want first.
    """

    frames = 1  # in which tokens see each other, by softmax
    far_SS: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(CHANNELS, 3 * CHANNELS, 1)
        self.out = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.register_buffer("far_SS", distances(self.frames), persistent=False)

    def forward(self, x_BCTS: Tensor, heads: int | None = None) -> Tensor:
        """Shape kept; with other heads than its own in a supernet."""
        found: Tensor = self.out(self.attended(self.qkv(x_BCTS), heads or self.heads))
        return found

    def attended(self, qkv_BCTS: Tensor, heads: int) -> Tensor:
        """(B, 3 C, T, S) to (B, C, T, S)."""
        raise NotImplementedError

    def attend(self, qkv_BGCS: Tensor, heads: int) -> Tensor:
        """Softmax attention among the tokens of each group: (B, G, 3 C, S) to (B, G, C, S)."""
        size = CHANNELS // heads
        q, k, v = (torch.split(part, size, dim=2) for part in qkv_BGCS.chunk(3, dim=2))
        mixed = []
        for slope, q_BGDS, k_BGDS, v_BGDS in zip(slopes(heads), q, k, v, strict=True):
            scores = (q_BGDS * size**-0.5).transpose(2, 3) @ k_BGDS
            mixed.append(v_BGDS @ (scores - slope * self.far_SS).softmax(3).transpose(2, 3))
        return torch.cat(mixed, dim=2)


class FrameAttention(Attention):
    """The tokens of each frame."""

    def attended(self, qkv_BCTS: Tensor, heads: int) -> Tensor:
        """See Attention."""
        return self.attend(qkv_BCTS.transpose(1, 2), heads).transpose(1, 2)


class WindowAttention(Attention):
    """Space-time windows: the tokens of `WINDOW` frames; every other layer moves them by half."""

    frames = WINDOW

    def __init__(self, heads: int, *, moved: bool) -> None:
        super().__init__(heads)
        self.by = WINDOW // 2 if moved else 0

    def attended(self, qkv_BCTS: Tensor, heads: int) -> Tensor:
        """See Attention; the frames of a window lie in a row, one after another."""
        frames, tokens = qkv_BCTS.shape[2:]
        x = moved(qkv_BCTS, self.by)
        x_BWCS = torch.unflatten(x.flatten(2), 2, (frames // WINDOW, -1)).transpose(1, 2)
        x_BCWS = self.attend(x_BWCS, heads).transpose(1, 2)
        return moved(torch.unflatten(x_BCWS.flatten(2), 2, (frames, tokens)), -self.by)


class FullAttention(Attention):
    """All tokens of the clip."""

    frames = CLIPS.frames

    def attended(self, qkv_BCTS: Tensor, heads: int) -> Tensor:
        """See Attention."""
        frames, tokens = qkv_BCTS.shape[2:]
        x_B1CS = self.attend(qkv_BCTS.flatten(2).unsqueeze(1), heads)
        return torch.unflatten(x_B1CS.squeeze(1), 2, (frames, tokens))


class LinearAttention(Attention):
    """All tokens of the clip, in linear time: Shen et al. 2021, arXiv:1812.01243."""

    frames = 0  # no scores that distances could change

    def attended(self, qkv_BCTS: Tensor, heads: int) -> Tensor:
        """See Attention."""
        frames, tokens = qkv_BCTS.shape[2:]
        q, k, v = qkv_BCTS.flatten(2).chunk(3, dim=1)
        parts = [torch.split(part, CHANNELS // heads, dim=1) for part in (q, k, v)]
        mixed = [
            v_BDN @ k_BDN.softmax(2).transpose(1, 2) @ q_BDN.softmax(1)
            for q_BDN, k_BDN, v_BDN in zip(*parts, strict=True)
        ]
        return torch.unflatten(torch.cat(mixed, dim=1), 2, (frames, tokens))


class TemporalConvolution(nn.Module):
    """Depthwise over frames, then pointwise."""

    def __init__(self) -> None:
        super().__init__()
        self.over_frames = nn.Conv2d(
            CHANNELS, CHANNELS, (KERNEL, 1), padding=(KERNEL // 2, 0), groups=CHANNELS
        )
        self.out = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x_BCTS: Tensor, heads: int | None = None) -> Tensor:
        """Shape kept."""
        found: Tensor = self.out(F.silu(self.over_frames(x_BCTS)))
        return found


def slopes(heads: int) -> list[float]:
    """Of two heads and more: from the most local to the most global."""
    return [STEEPEST ** (1 - 2 * head / (heads - 1)) for head in range(heads)]


def distances(frames: int) -> Tensor:
    """How far tokens lie apart, in frames, rows and columns of patches together: (S, S)."""
    sides = (frames, CLIPS.height // PATCH, CLIPS.width // PATCH)
    place_SA = torch.cartesian_prod(*(torch.arange(side) for side in sides))
    return (place_SA[:, None] - place_SA).abs().sum(2).float()


def moved(x_BCTS: Tensor, frames: int) -> Tensor:
    """Roll the frames, as two slices."""
    if frames == 0:
        return x_BCTS
    return torch.cat([x_BCTS[:, :, frames:], x_BCTS[:, :, :frames]], dim=2)


def mixing(kind: str, heads: int, *, odd: bool) -> nn.Module | None:
    """The module of a kind, in an odd or an even layer; None for the kind that does not mix."""
    made = {
        "none": lambda: None,
        "convolution": TemporalConvolution,
        "frame": lambda: FrameAttention(heads),
        "window": lambda: WindowAttention(heads, moved=odd),
        "full": lambda: FullAttention(heads),
        "linear": lambda: LinearAttention(heads),
    }
    return made[kind]()
