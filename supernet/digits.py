"""Clips of real handwritten digits that move, bounce, cross and hide each other over a ground.

scikit-learn's `load_digits` (1,797 images of the UCI set) comes with the library; nothing is
downloaded. Splits are by digit image, so no image is seen in two of them. The ground is a texture,
new in each clip, that stands still in most clips and pans in the others: what stands still is known
best by who looks at every frame, what moves by who looks at the neighbours in space and time, so
that no kind of temporal block is the best everywhere.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces import AnyUNetShape, InputError
from supernet.clips import Clips

Split = Literal["train", "validation", "test"]
CLASSES = 10
GROUND, CONTRAST = 0.3, 0.16  # mean and standard deviation of the texture, black 0 to white 1
PANNING = 0.3  # share of the clips
PAN_SPEED = 1.0  # pixels a frame, at most
SHARES: dict[Split, tuple[float, float]] = {
    "train": (0.0, 0.7),
    "validation": (0.7, 0.85),
    "test": (0.85, 1.0),
}


@dataclass(frozen=True)
class MovingDigits:
    """A stream of clips of one split, shaped as a network wants them."""

    shape: AnyUNetShape
    split: Split

    def __post_init__(self) -> None:
        wanted = (1, 2, CLASSES)
        shape = self.shape
        found = (shape.in_channels, shape.context_tokens, shape.context_channels)
        if found != wanted:
            raise InputError(
                f"moving digits have (channels, tokens, token channels) {wanted}; "
                f"the space's U-Net has {found}"
            )

    @cached_property
    def _images(self) -> tuple[Tensor, Tensor]:
        """The split's digit images (n, size, size) in [0, 1], and their labels (n,)."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        start, stop = (round(share * len(order)) for share in SHARES[self.split])
        chosen = order[start:stop]
        small = torch.tensor(digits.images[chosen] / 16.0, dtype=torch.float32)[:, None]
        size = min(self.shape.height, self.shape.width) // 2
        images = F.interpolate(small, size=(size, size), mode="bicubic", align_corners=False)
        return images[:, 0].clamp(0, 1), torch.tensor(digits.target[chosen])

    def clips(self, count: int, seed: int) -> Clips:
        """`count` clips that depend on the seed alone."""
        generator = torch.Generator().manual_seed(seed)
        images, labels = self._images
        shape, size = self.shape, images.shape[-1]
        which = torch.randint(len(images), (count, 2), generator=generator)
        both = torch.rand(count, generator=generator) < 0.6
        present = torch.stack([torch.ones(count, dtype=torch.bool), both], dim=1)
        room = torch.tensor([shape.height - size, shape.width - size], dtype=torch.float32)
        start = torch.rand(count, 2, 2, generator=generator) * room
        angle = torch.rand(count, 2, generator=generator) * 2 * torch.pi
        speed = 0.4 + 1.0 * torch.rand(count, 2, generator=generator)  # pixels a frame
        step = torch.stack([angle.sin(), angle.cos()], dim=-1) * speed[..., None]
        frame = torch.arange(shape.frames, dtype=torch.float32)[:, None]
        place = _bounce(start[:, :, None] + step[:, :, None] * frame, room)  # (B, 2, T, 2)
        drawn = _draw(images[which], place, shape.height, shape.width)  # (B, 2, T, H, W)
        drawn = drawn * present[:, :, None, None, None]
        canvas = _ground(count, shape, generator)
        for digit in drawn.unbind(dim=1):  # the second before the first
            canvas = canvas * (1 - (2 * digit).clamp(0, 1)) + digit
        tokens = F.one_hot(labels[which], CLASSES).float() * present[..., None]
        return Clips(canvas[:, None] * 2 - 1, tokens)


def _ground(count: int, shape: AnyUNetShape, generator: torch.Generator) -> Tensor:
    """Textures (B, T, H, W) in [0, 1] that stand still or pan, wrapping round."""
    height, width, frames = shape.height, shape.width, shape.frames
    fine = torch.randn(count, 1, height, width, generator=generator)
    coarse = torch.randn(count, 1, -(-height // 3), -(-width // 3), generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    texture = (GROUND + CONTRAST * (0.6 * fine + 0.8 * smooth)[:, 0]).clamp(0, 1)
    pans = torch.rand(count, generator=generator) < PANNING
    angle = torch.rand(count, generator=generator) * 2 * torch.pi
    speed = PAN_SPEED * torch.rand(count, generator=generator) * pans
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
