"""A small convolutional autoencoder of images, for want of a large VAE.

Trained on the very videos that it will encode, it does for an example.
The network follows the idea of TAESD (Bohan 2023): plain convolutions without normalisation. Its
latents are whitened by a batch norm without weights, whose running mean and variance are stored
with the network, so that they have a mean of 0 and a variance of 1; in training they carry mild
noise, so that a latent that is nearly right decodes to a picture that is nearly right.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from search_spaces import InputError
from supernet import checkpoint
from supernet.autoencoders.contract import check_sides

KIND = "autoencoder"
CHANNELS, FACTOR = 4, 8
WIDTH = 24  # channels at half the sides
NOISE = 0.1  # standard deviation of what is added to latents in training


class ImageAutoencoder(nn.Module):
    """RGB to 4 channels at an eighth of the sides, and back; 0.9 million parameters."""

    channels = CHANNELS
    factor = FACTOR
    scaling, shift = 1.0, 0.0  # its latents are white already
    distilled = False

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        fine, middle, coarse = width, 2 * width, 4 * width
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, fine, 3, padding=1),
            _Residual(fine),
            nn.Conv2d(fine, middle, 2, stride=2),
            _Residual(middle),
            nn.Conv2d(middle, coarse, 2, stride=2),
            _Residual(coarse),
            _Residual(coarse),
            nn.Conv2d(coarse, CHANNELS, 3, padding=1),
        )
        self.whitened = nn.BatchNorm2d(CHANNELS, affine=False)
        self.decoder = nn.Sequential(
            nn.Conv2d(CHANNELS, coarse, 3, padding=1),
            _Residual(coarse),
            _Residual(coarse),
            nn.Conv2d(coarse, 4 * middle, 1),
            nn.PixelShuffle(2),
            _Residual(middle),
            _Residual(middle),
            nn.Conv2d(middle, 4 * fine, 1),
            nn.PixelShuffle(2),
            _Residual(fine),
            nn.Conv2d(fine, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def latents(self, x_NCHW: Tensor) -> Tensor:
        """As `encode`; in training the whitening is that of the batch, and gradients flow."""
        check_sides(x_NCHW, self.factor)
        whitened: Tensor = self.whitened(self.encoder(x_NCHW))
        return whitened

    def forward(self, x_NCHW: Tensor, noise_NCHW: Tensor) -> Tensor:
        """The images again, from latents with noise of unit variance times `NOISE`."""
        decoded: Tensor = self.decoder(self.latents(x_NCHW) + NOISE * noise_NCHW)
        return decoded

    @torch.no_grad()
    def encode(self, x_NCHW: Tensor) -> Tensor:
        """Latents of about unit variance; InputError where the sides do not divide."""
        return self.latents(x_NCHW)

    @torch.no_grad()
    def decode(self, latents_NCHW: Tensor) -> Tensor:
        """Images in [-1, 1]."""
        decoded: Tensor = self.decoder(latents_NCHW)
        return decoded.clamp(-1, 1)


class _Residual(nn.Module):
    """Two convolutions beside the identity, which is all that an untrained one does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        changed: Tensor = self.second(torch.relu(self.first(torch.relu(x_NCHW))))
        return x_NCHW + changed


def load_autoencoder(path: Path) -> ImageAutoencoder:
    """An autoencoder of our own, ready to evaluate; InputError where the file holds none."""
    found = checkpoint.read(path)
    if (kind := found.notes.get("holds")) != KIND:
        raise InputError(f"{path}: holds a {kind}, not an {KIND}")
    autoencoder = ImageAutoencoder()
    checkpoint.load_weights(autoencoder, found.tensors, path)
    if not (found.tensors["whitened.running_var"] > 0).all():
        raise InputError(f"{path}: its latents have no variance; train again")
    return autoencoder.eval().requires_grad_(requires_grad=False)
