"""Temporal shifts: stack neighbouring frames in the channels (im2col in time), without transposes.

Features lie as images, (clips * frames, C, H, W). A convolution over time would need frames beside
pixels, which is a transpose there and one back; neighbours that are laid into the channels need
none, and the convolution over them is a plain 2-D one, which the Neural Engine has (it has no 3-D
one).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def temporal_shifts(x_NCHW: Tensor, frames: int, kernel: int) -> list[Tensor]:
    """Shift frames to each tap of a temporal kernel, earliest first; zeros beyond a clip's ends.

    Each is (B, T, C, H*W).
    """
    x_BTCS = x_NCHW.reshape(-1, frames, x_NCHW.shape[1], x_NCHW.shape[2] * x_NCHW.shape[3])
    if kernel == 1:
        return [x_BTCS]
    half = kernel // 2
    padded = F.pad(x_BTCS, (0, 0, 0, 0, half, half))
    return [padded.narrow(1, place, frames) for place in range(kernel)]


def stack_neighbours(x_NCHW: Tensor, frames: int, kernel: int) -> Tensor:
    """Stack each frame's neighbours in its channels: (N, kernel * C, H, W), earliest first."""
    n, channels, height, width = x_NCHW.shape
    beside = torch.cat(temporal_shifts(x_NCHW, frames, kernel), dim=2)
    return beside.reshape(n, kernel * channels, height, width)
