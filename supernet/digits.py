"""Clips of real handwritten digits that move, bounce, cross and hide each other.

scikit-learn's `load_digits` (1,797 images of the UCI set) comes with the library; nothing is
downloaded. Splits are by digit image, so no image is seen in two of them.
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
        behind, before = drawn.unbind(dim=1)
        canvas = behind * (1 - (2 * before).clamp(0, 1)) + before
        tokens = F.one_hot(labels[which], CLASSES).float() * present[..., None]
        return Clips(canvas[:, None] * 2 - 1, tokens)


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
