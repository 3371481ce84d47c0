"""A fingerprint of an autoencoder: what it decodes a small fixed latent to, block by block.

Numbers in place of a hash: the same weights in another precision are other bytes, and a decoder
that was tuned on, or made small, shows nearly the same picture.
"""

import torch
import torch.nn.functional as F

from supernet.autoencoders.contract import Autoencoder

SIDE = 3  # latents high and wide
DIGITS = 4  # after the point


@torch.inference_mode()
def decoded_blocks(autoencoder: Autoencoder) -> list[float]:
    """The mean colour of what each latent becomes: 3 colours of SIDE x SIDE blocks in [-1, 1]."""
    count = autoencoder.channels * SIDE * SIDE
    # Unit variance and no two neighbours alike; drawn by no generator, which versions may change.
    waves = torch.sin(0.7 * torch.arange(count, dtype=torch.float64) ** 1.5) * 2**0.5
    latents_NCHW = waves.float().reshape(1, autoencoder.channels, SIDE, SIDE)
    device = next(autoencoder.decoder.parameters()).device
    pixels_NCHW = autoencoder.decode(latents_NCHW.to(device)).float().cpu()
    blocks = F.avg_pool2d(pixels_NCHW, autoencoder.factor).flatten()
    return [round(value, DIGITS) for value in blocks.tolist()]
