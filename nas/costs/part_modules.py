"""The networks of a pipeline's other parts, opened for a space's clips: text encoder, decoder."""

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from latency import Workload
from latency.tracing.tracing import trace
from search_spaces import InputError, UNetShape
from supernet.autoencoders.contract import Autoencoder
from supernet.autoencoders.opening import open_autoencoder
from supernet.text.clip_text import ClipText, open_clip_text
from supernet.text.clip_tokenizer import text_length
from supernet.text.opening import text_encoder_parts


def open_text_model(folder: Path, unet: UNetShape) -> ClipText:
    """The text transformer in a folder, whose states a space's networks attend to.

    Raises:
        InputError: none there, of another width than the context, or of texts of another length.
    """
    parts = text_encoder_parts(folder)
    model = open_clip_text(parts[0])
    width, most = model.config.hidden_size, model.config.max_position_embeddings
    tokens = text_length(parts[1], most)
    fits = most >= unet.context_tokens if tokens is None else tokens == unet.context_tokens
    if width != unet.context_channels or not fits:
        raise InputError(
            f"{folder}: makes {tokens or f'up to {most}'} tokens of {width} channels, and the "
            f"networks take {unet.context_tokens} of {unet.context_channels}; give the text "
            "encoder that their clips were encoded by"
        )
    return model


def token_inputs(unet: UNetShape) -> tuple[Tensor]:
    """Ids of one text."""
    return (torch.zeros(1, unet.context_tokens, dtype=torch.long),)


def open_decoder(path: Path, unet: UNetShape) -> Autoencoder:
    """The autoencoder at a path, whose decoder a space's latents go through.

    Raises:
        InputError: none there, or of other channels.
    """
    found = open_autoencoder(path)
    if found.channels != unet.in_channels:
        raise InputError(
            f"{path}: decodes latents of {found.channels} channels, and the networks make "
            f"{unet.in_channels}; give the autoencoder that their clips were encoded by"
        )
    return found


@lru_cache(maxsize=4)
def text_workload(folder: Path, unet: UNetShape) -> Workload:
    """What encoding one text runs; errors as `open_text_model`."""
    return trace(open_text_model(folder, unet), *token_inputs(unet), name="text encoder")


@lru_cache(maxsize=4)
def decoder_workload(path: Path, unet: UNetShape) -> Workload:
    """What decoding one frame runs; errors as `open_decoder`."""
    latents_NCHW = torch.zeros(1, unet.in_channels, unet.height, unet.width)
    return trace(open_decoder(path, unet).decoder, latents_NCHW, name="decoder")
