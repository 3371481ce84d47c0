"""Clips of real handwritten digits that move, bounce, cross and hide each other over a ground.

A network of one channel sees pixels; one of 4, 9, ... channels sees squares of 2 x 2, 3 x 3, ...
pixels folded into its channels: latents that lose nothing.

scikit-learn's `load_digits` (1,797 images of the UCI set) comes with the library; nothing is
downloaded. Splits are by digit image, so no image is seen in two of them. The ground is a texture,
new in each clip, that stands still in most clips and pans in the others: what stands still is known
best by who looks at every frame, what moves by who looks at the neighbours in space and time, so
that no kind of temporal block is the best everywhere.
"""

import functools
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces import AnyUNetShape, InputError
from supernet.data.clips import Clips
from supernet.data.digit_classifier import DigitClassifier, train_classifier
from supernet.data.drawing import bounce, draw, over, textures
from supernet.data.splits import SHARES, Split

CLASSES = 10
PAN_SPEED = 1.0  # pixels a frame, at most


@dataclass(frozen=True)
class MovingDigits:
    """A stream of clips of one split, shaped as a network wants them."""

    shape: AnyUNetShape
    split: Split
    asked_by: ClassVar[str] = "digits"

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
    def sides(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.shape.height * self.folded, self.shape.width * self.folded

    @property
    def scans(self) -> tuple[Tensor, Tensor]:
        """The split's digit images (n, size, size) in [0, 1], and their labels (n,)."""
        return _scans(self.split, min(self.sides) // 2)

    def clips(self, count: int, seed: int) -> Clips:
        """`count` clips that depend on the seed alone."""
        generator = torch.Generator().manual_seed(seed)
        images, labels = self.scans
        (height, width), size = self.sides, images.shape[-1]
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
        place = bounce(start[:, :, None] + step[:, :, None] * frame, room)  # (B, 2, T, 2)
        drawn = draw(images[which], place, height, width)  # (B, 2, T, H, W)
        drawn = drawn * present[:, :, None, None, None]
        canvas = textures(count, self.shape.frames, self.sides, PAN_SPEED * self.folded, generator)
        for digit in drawn.unbind(dim=1):  # the second before the first
            canvas = over(canvas, digit)
        tokens = F.one_hot(labels[which], CLASSES).float() * present[..., None]
        pixels_BTHW = canvas * 2 - 1
        if self.folded == 1:
            return Clips(pixels_BTHW[:, None], tokens)
        folded_BTCHW = F.pixel_unshuffle(pixels_BTHW[:, :, None], self.folded)
        return Clips(folded_BTCHW.transpose(1, 2).contiguous(), tokens)

    def images(self, seed: int) -> Clips:
        """Single frames of as many clips as a clip has frames."""
        return replace(self, shape=replace(self.shape, frames=1)).clips(self.shape.frames, seed)

    def decode(self, x_BCTHW: Tensor) -> Tensor:
        """Clips as pixels, (B, 1, T, H, W)."""
        return F.pixel_shuffle(x_BCTHW.transpose(1, 2), self.folded).transpose(1, 2)

    def caption(self, context_LC: Tensor) -> str:
        """The digits that a clip was asked to show."""
        return " and ".join(str(int(token.argmax())) for token in context_LC if token.any())

    def recogniser(self) -> DigitClassifier:
        """What finds digits in clips; it has seen those of the training split alone."""
        seen = replace(self, split="train")
        return train_classifier(*seen.scans, seen.sides, self.decode)


@functools.cache  # read from a file, and `images` asks for them with each clip that it draws
def _scans(split: Split, size: int) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    start, stop = (round(share * len(order)) for share in SHARES[split])
    chosen = order[start:stop]
    small = torch.tensor(digits.images[chosen] / 16.0, dtype=torch.float32)[:, None]
    images = F.interpolate(small, size=(size, size), mode="bicubic", align_corners=False)
    return images[:, 0].clamp(0, 1), torch.tensor(digits.target[chosen])
