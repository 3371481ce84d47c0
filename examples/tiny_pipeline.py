"""A tiny pipeline with weights at random: a bundle, a text encoder and what decodes its latents.

    python -m examples.tiny_pipeline FOLDER

It makes nothing to look at: enough to try `nas sample` and `nas export --pipeline` in seconds.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from examples.tiny_text_encoder import CONFIG, write_pipeline
from nas import bundle
from nas.testing.operators import randomised
from search_spaces import CONV1D, NONE, UNetShape, temporal_space
from supernet import VideoUNet, checkpoint
from supernet.autoencoders.autoencoder import CHANNELS, KIND, ImageAutoencoder


def latent_shape(channels: int = CHANNELS) -> UNetShape:
    """Five frames of 8 x 8 latents, asked for by the tiny text encoder's tokens."""
    return UNetShape(
        in_channels=channels, channels=(8, 32), frames=5, height=8, width=8,
        context_tokens=CONFIG.max_position_embeddings, context_channels=CONFIG.hidden_size,
    )  # fmt: skip


SPACE = temporal_space("tiny_latents", latent_shape(), (NONE, CONV1D))


def write_bundle(path: Path, channels: int = CHANNELS) -> Path:
    """A bundle of a network of a convolution in each slot."""
    space = temporal_space("tiny_latents", latent_shape(channels), (NONE, CONV1D))
    architecture = space.uniform(space.blocks()[-1])
    torch.manual_seed(channels)
    network = randomised(VideoUNet(space, architecture)).eval()
    programs = bundle.export_programs(network, space, architecture)
    study = {"space": space.to_json(), "weights": "at random"}
    bundle.write_bundle(path, network, space, architecture, programs, {}, study, b"", "")
    return path


def write_autoencoder(path: Path) -> Path:
    """Our small autoencoder, of which even the untrained residuals do something."""
    torch.manual_seed(0)
    autoencoder = ImageAutoencoder()
    for parameter in autoencoder.parameters():
        nn.init.normal_(parameter, std=0.08)
    checkpoint.write(path, autoencoder.state_dict(), {"holds": KIND})
    return path


def write_parts(folder: Path) -> None:
    """All three."""
    write_pipeline(folder / "text")
    write_autoencoder(folder / "vae.safetensors")
    write_bundle(folder / "bundle")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write_parts(parser.parse_args().folder)
