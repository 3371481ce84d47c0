"""Open an autoencoder from what a person names, and tell one from another by its hash."""

import hashlib
from pathlib import Path

from search_spaces import InputError
from supernet.autoencoders.autoencoder import load_autoencoder
from supernet.autoencoders.contract import Autoencoder
from supernet.autoencoders.diffusers_vae import open_vae, vae_files
from supernet.autoencoders.pixel_space import PixelSpace
from supernet.checkpoint import file_sha256


def open_autoencoder(path: Path | PixelSpace) -> Autoencoder:
    """An autoencoder from a file of `nas train-autoencoder`, or a VAE from a folder of diffusers.

    Raises:
        InputError: nothing there, damaged, of another kind, or diffusers is wanted and not here.
    """
    if isinstance(path, PixelSpace):
        return path
    if path.is_dir():
        return open_vae(path)
    return load_autoencoder(path)


def autoencoder_sha256(path: Path | PixelSpace) -> str:
    """What tells one autoencoder from another: the hash of its file, or of its folder's files.

    Of pixels, which have no file, their colours.

    Raises:
        InputError: nothing there, or no VAE in a folder.
    """
    if isinstance(path, PixelSpace):
        return path.colours
    if path.is_dir():
        hashes = "".join(file_sha256(file) for file in vae_files(path))
        return hashlib.sha256(hashes.encode()).hexdigest()
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return file_sha256(path)
