"""Pixel space: no autoencoder at all, for networks that denoise small pictures themselves."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from search_spaces import InputError

Colours = Literal["grey", "rgb"]
CHANNELS: dict[Colours, int] = {"grey": 1, "rgb": 3}
COLOURS = {channels: colours for colours, channels in CHANNELS.items()}


@dataclass(frozen=True)
class PixelSpace:
    """Stands where an autoencoder does: latents are the pixels.

    Args:
        colours: "grey" or "rgb".

    Raises:
        InputError: it is another word.
    """

    colours: Colours

    def __post_init__(self) -> None:
        if self.colours not in CHANNELS:
            raise InputError(f"pixels are {' or '.join(CHANNELS)}; found {self.colours!r}")

    @property
    def channels(self) -> int:
        """Colours of a pixel."""
        return CHANNELS[self.colours]

    @property
    def factor(self) -> int:
        """1: a latent is a pixel."""
        return 1

    @property
    def scaling(self) -> float:
        """1: pixels stay in [-1, 1]."""
        return 1.0

    @property
    def shift(self) -> float:
        """0, as pixels stay."""
        return 0.0

    @property
    def distilled(self) -> bool:
        """False: pixels are their own."""
        return False

    @property
    def decoder(self) -> nn.Module:
        """The identity."""
        return nn.Identity()

    def encode(self, x_NCHW: Tensor) -> Tensor:
        """The images, as they are."""
        return x_NCHW

    def decode(self, latents_NCHW: Tensor) -> Tensor:
        """Images in [-1, 1]."""
        return latents_NCHW.clamp(-1, 1)

    def to(self, device: torch.device) -> object:
        """Itself: there are no weights."""
        return self
