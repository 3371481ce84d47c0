"""Clips of real handwritten digits that move, bounce, cross and hide each other over a ground.

A network of one channel sees pixels; one of 4, 9, ... channels sees squares of 2 x 2, 3 x 3, ...
pixels folded into its channels: latents that lose nothing.

scikit-learn's `load_digits` (1,797 images of the UCI set) comes with the library; nothing is
downloaded. Splits are by digit image, so no image is seen in two of them. The ground is a texture,
new in each clip, that stands still in most clips and pans in the others: what stands still is known
best by who looks at every frame, what moves by who looks at the neighbours in space and time, so
that no kind of temporal block is the best everywhere.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces import AnyUNetShape, InputError
from supernet.data.clips import Clips
from supernet.data.splits import SHARES, Split

CLASSES = 10
GROUND, CONTRAST = 0.3, 0.16  # mean and standard deviation of the texture, black 0 to white 1
PANNING = 0.3  # share of the clips
PAN_SPEED = 1.0  # pixels a frame, at most


@dataclass(frozen=True)
class MovingDigits:
    """A stream of clips of one split, shaped as a network wants them."""

    shape: AnyUNetShape
    split: Split

    def __post_init__(self) -> None:
        shape = self.shape
        tokens = (shape.context_tokens, shape.context_channels)
        if tokens != (2, CLASSES) or self.folded**2 != shape.in_channels:
            raise InputError(
                f"moving digits have 1, 4, 9 ... channels and 2 tokens of {CLASSES} channels; the "
                f"space's U-Net has {shape.in_channels} channels and {tokens[0]} tokens of "
                f"{tokens[1]}"
            )

    @cached_property
    def folded(self) -> int:
        """Pixels on a side of what a latent pixel holds."""
        return math.isqrt(self.shape.in_channels)

    @cached_property
    def _sides(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.shape.height * self.folded, self.shape.width * self.folded

    @cached_property
    def _images(self) -> tuple[Tensor, Tensor]:
        """The split's digit images (n, size, size) in [0, 1], and their labels (n,)."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        start, stop = (round(share * len(order)) for share in SHARES[self.split])
        chosen = order[start:stop]
        small = torch.tensor(digits.images[chosen] / 16.0, dtype=torch.float32)[:, None]
        size = min(self._sides) // 2
        images = F.interpolate(small, size=(size, size), mode="bicubic", align_corners=False)
        return images[:, 0].clamp(0, 1), torch.tensor(digits.target[chosen])

    def clips(self, count: int, seed: int) -> Clips:
        """`count` clips that depend on the seed alone."""
        generator = torch.Generator().manual_seed(seed)
        images, labels = self._images
        (height, width), size = self._sides, images.shape[-1]
        which = torch.randint(len(images), (count, 2), generator=generator)
        both = torch.rand(count, generator=generator) < 0.6
        present = torch.stack([torch.ones(count, dtype=torch.bool), both], dim=1)
        room = torch.tensor([height - size, width - size], dtype=torch.float32)
        start = torch.rand(count, 2, 2, generator=generator) * room
        angle = torch.rand(count, 2, generator=generator) * 2 * torch.pi
        # Pixels a frame; a canvas of folded pixels is larger, and is crossed as fast.
        speed = self.folded * (0.4 + 1.0 * torch.rand(count, 2, generator=generator))
        step = torch.stack([angle.sin(), angle.cos()], dim=-1) * speed[..., None]
        frame = torch.arange(self.shape.frames, dtype=torch.float32)[:, None]
        place = _bounce(start[:, :, None] + step[:, :, None] * frame, room)  # (B, 2, T, 2)
        drawn = _draw(images[which], place, height, width)  # (B, 2, T, H, W)
        drawn = drawn * present[:, :, None, None, None]
        canvas = _ground(count, self.shape.frames, self._sides, PAN_SPEED * self.folded, generator)
        for digit in drawn.unbind(dim=1):  # the second before the first
            canvas = canvas * (1 - (2 * digit).clamp(0, 1)) + digit
        tokens = F.one_hot(labels[which], CLASSES).float() * present[..., None]
        pixels_BTHW = canvas * 2 - 1
        if self.folded == 1:
            return Clips(pixels_BTHW[:, None], tokens)
        folded_BTCHW = F.pixel_unshuffle(pixels_BTHW[:, :, None], self.folded)
        return Clips(folded_BTCHW.transpose(1, 2).contiguous(), tokens)

    def decode(self, x_BCTHW: Tensor) -> Tensor:
        """Clips as pixels, (B, 1, T, H, W)."""
        return F.pixel_shuffle(x_BCTHW.transpose(1, 2), self.folded).transpose(1, 2)


def _ground(
    count: int, frames: int, sides: tuple[int, int], fastest: float, generator: torch.Generator
) -> Tensor:
    """Textures (B, T, H, W) in [0, 1] that stand still or pan, wrapping round."""
    height, width = sides
    fine = torch.randn(count, 1, height, width, generator=generator)
    coarse = torch.randn(count, 1, -(-height // 3), -(-width // 3), generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    texture = (GROUND + CONTRAST * (0.6 * fine + 0.8 * smooth)[:, 0]).clamp(0, 1)
    pans = torch.rand(count, generator=generator) < PANNING
    angle = torch.rand(count, generator=generator) * 2 * torch.pi
    speed = fastest * torch.rand(count, generator=generator) * pans
    step = torch.stack([angle.sin(), angle.cos()], dim=-1) * speed[:, None]
    shift = step[:, None] * torch.arange(frames)[:, None]  # (B, T, 2) pixels
    # A shift by parts of a pixel that loses no detail: a turn of each frequency's phase.
    waves_y, waves_x = torch.fft.fftfreq(height), torch.fft.rfftfreq(width)
    turns = shift[..., 0, None, None] * waves_y[:, None] + shift[..., 1, None, None] * waves_x
    spectrum = torch.fft.rfft2(texture)[:, None] * torch.exp(-2j * torch.pi * turns)
    moved: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    return moved.clamp(0, 1)


def _bounce(position: Tensor, room: Tensor) -> Tensor:
    """Reflect a straight path at 0 and at `room`."""
    folded = torch.remainder(position, 2 * room)
    return room - (folded - room).abs()


def _draw(images: Tensor, place: Tensor, height: int, width: int) -> Tensor:
    """Images (B, 2, S, S) at sub-pixel places (B, 2, T, 2) on a canvas: (B, 2, T, H, W)."""
    batch, digits, frames = place.shape[:3]
    size = images.shape[-1]
    count = batch * digits * frames
    rows = torch.arange(height)[None, :] - place.reshape(count, 2)[:, :1]  # pixels of the digit
    columns = torch.arange(width)[None, :] - place.reshape(count, 2)[:, 1:]
    grid_y = ((rows + 0.5) / size * 2 - 1)[:, :, None].expand(count, height, width)
    grid_x = ((columns + 0.5) / size * 2 - 1)[:, None, :].expand(count, height, width)
    source = images[:, :, None].expand(-1, -1, frames, -1, -1).reshape(count, 1, size, size)
    drawn = F.grid_sample(source, torch.stack([grid_x, grid_y], dim=-1), align_corners=False)
    return drawn.reshape(batch, digits, frames, height, width)
