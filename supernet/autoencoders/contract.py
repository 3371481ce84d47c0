"""The interface of an autoencoder: what turns frames into latents and back.

Shapes: N images, 3 colours in [-1, 1], H x W pixels; latents are (N, channels, H / factor,
W / factor).
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from search_spaces import InputError


class Autoencoder(Protocol):
    """Makes latents of images, and images of latents; of frozen weights."""

    @property
    def channels(self) -> int:
        """Of the latents."""
        ...

    @property
    def factor(self) -> int:
        """How many pixels high and wide one latent is."""
        ...

    @property
    def scaling(self) -> float:
        """By what latents are larger than what the decoder's network takes."""
        ...

    @property
    def shift(self) -> float:
        """What the decoder's network wants added to them, scaled back."""
        ...

    @property
    def distilled(self) -> bool:
        """Whether its latents are those of another, scaled already."""
        ...

    @property
    def decoder(self) -> nn.Module:
        """The network in `decode`: `latents / scaling + shift` to images, not yet clamped."""
        ...

    def encode(self, x_NCHW: Tensor) -> Tensor:
        """Latents of about unit variance; InputError where the sides do not divide."""
        ...

    def decode(self, latents_NCHW: Tensor) -> Tensor:
        """Images in [-1, 1]."""
        ...

    def to(self, device: torch.device) -> object:
        """Move the weights; images and latents are given and returned there, too."""
        ...


def check_sides(x_NCHW: Tensor, factor: int) -> None:
    """Refuse images of other than 3 colours, or of sides that make no whole number of latents."""
    colours, height, width = x_NCHW.shape[1:]
    if colours != 3:
        raise InputError(f"an autoencoder of images takes 3 colours (RGB); found {colours}")
    if height % factor or width % factor or not height or not width:
        raise InputError(
            f"frames of {height} x {width} pixels make no whole number of latents; "
            f"both sides must divide by {factor}"
        )
