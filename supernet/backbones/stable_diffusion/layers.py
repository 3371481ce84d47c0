"""Convolutional layers; N images, C channels, H x W pixels, E embedding channels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PERIOD = 10_000.0


class Resnet(nn.Module):
    """Residual block: two 3 x 3 convolutions with the embedding added between them."""

    def __init__(
        self, channels_in: int, channels_out: int, embedding: int, groups: int, eps: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in, eps)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, channels_out)
        self.norm2 = nn.GroupNorm(groups, channels_out, eps)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        same = channels_in == channels_out
        self.conv_shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x_NCHW: Tensor, embedding_NE: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels_out, H, W)."""
        h = self.conv1(F.silu(self.norm1(x_NCHW)))
        h = h + self.time_emb_proj(embedding_NE)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = self.conv_shortcut(x_NCHW) + h
        return out


class Downsample(nn.Module):
    """Downsample to half the resolution, rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, ceil(H / 2), ceil(W / 2))."""
        out: Tensor = self.conv(x_NCHW)
        return out


class Upsample(nn.Module):
    """Upsample to twice the resolution, or one less where the way down had rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_NCHW: Tensor, height: int, width: int) -> Tensor:
        """(N, C, ceil(height / 2), ceil(width / 2)) to (N, C, height, width)."""
        h = F.interpolate(x_NCHW, scale_factor=2.0, mode="nearest")
        # Nearest pixels of an odd size are those of the even one without its last; Core ML knows
        # no other factor than 2, and no slice of everything.
        if h.shape[2] != height:
            h = h[:, :, :height]
        if h.shape[3] != width:
            h = h[:, :, :, :width]
        out: Tensor = self.conv(h)
        return out


class TimeEmbedding(nn.Module):
    """Time embedding: a perceptron over the sinusoids of a time."""

    def __init__(self, waves: int, channels: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(waves, channels)
        self.linear_2 = nn.Linear(channels, channels)

    def forward(self, waves_NW: Tensor) -> Tensor:
        """(N, waves) to (N, E)."""
        out: Tensor = self.linear_2(F.silu(self.linear_1(waves_NW)))
        return out


def sinusoids(time_N: Tensor, channels: int, shift: int, *, cosine_first: bool) -> Tensor:
    """Sinusoidal embedding (N, channels) of times, always in float32: times reach 1000.

    "Denoising Diffusion Probabilistic Models", appendix B, after "Attention Is All You Need".
    """
    half = channels // 2
    steps = torch.arange(half, device=time_N.device, dtype=torch.float32) / (half - shift)
    angles = time_N.float()[:, None] * torch.exp(steps * -math.log(PERIOD))
    waves = (angles.cos(), angles.sin()) if cosine_first else (angles.sin(), angles.cos())
    return torch.cat(waves, dim=-1)
