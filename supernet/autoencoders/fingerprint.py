"""A fingerprint of an autoencoder: what it encodes a fixed picture to, and what it shows of that.

Numbers in place of a hash: the same weights in another precision are other bytes, and a decoder
that was tuned on, or distilled into a small one, shows nearly the same picture. It has learned
latents that pictures have, not others: so the picture is encoded first.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.autoencoders.contract import Autoencoder

SIDE = 4  # latents high and wide
DIGITS = 4  # after the point


@torch.inference_mode()
def encoded_picture(autoencoder: Autoencoder) -> list[float]:
    """The latents (channels x SIDE x SIDE) of a picture that every autoencoder is shown."""
    latents_NCHW = autoencoder.encode(_picture(SIDE * autoencoder.factor).to(_device(autoencoder)))
    return _rounded(latents_NCHW)


@torch.inference_mode()
def shown_blocks(autoencoder: Autoencoder, latents: list[float]) -> list[float] | None:
    """What it decodes latents of `encoded_picture` to: the mean colour of each (3 x SIDE x SIDE).

    None where they are of other channels.
    """
    if len(latents) != autoencoder.channels * SIDE * SIDE:
        return None
    latents_NCHW = torch.tensor(latents).reshape(1, autoencoder.channels, SIDE, SIDE)
    pixels_NCHW = autoencoder.decode(latents_NCHW.to(_device(autoencoder)))
    return _rounded(F.avg_pool2d(pixels_NCHW.float(), autoencoder.factor))


def _picture(side: int) -> Tensor:
    """Colours that pass into each other and a square (1, 3, side, side); by no generator."""
    y, x = torch.meshgrid(*[torch.linspace(0, 1, side)] * 2, indexing="ij")
    waves = torch.stack([torch.sin(5 * x + 3 * y), torch.cos(4 * y - 2 * x), torch.sin(6 * x * y)])
    begin, end = side // 4, side * 5 // 8
    waves[:, begin:end, begin:end] = torch.tensor([0.9, -0.8, 0.3])[:, None, None]
    return 0.8 * waves[None]


def _device(autoencoder: Autoencoder) -> torch.device:
    return next(autoencoder.decoder.parameters()).device


def _rounded(x: Tensor) -> list[float]:
    return [round(value, DIGITS) for value in x.float().cpu().flatten().tolist()]
