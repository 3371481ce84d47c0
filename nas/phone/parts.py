"""The networks of a pipeline beside a bundle's denoiser: opened, and held against it."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latency.tracing.tracing import trace
from nas.bundle import Bundle
from nas.bundle.runnable import Runnable
from nas.sampling.making import opened_decoder
from nas.sampling.prompts import opened_text_encoder
from search_spaces import InputError
from supernet.autoencoders.contract import Autoencoder
from supernet.text.opening import ClipTextEncoder
from temporal_bundle.made_with import ASKED_BY, CAPTIONS, NOTHING
from temporal_bundle.manifest import one_line

TEXT, DENOISER, DECODER = "text_encoder", "denoiser", "decoder"
FLOAT16 = 2  # bytes of a number
MB = 1e6
LARGEST = 65504  # that float16 holds
TRIED = 32  # latents high and wide, at most, that a decoder is tried on


@dataclass(frozen=True)
class Parts:
    """What stands beside the denoiser.

    Args:
        text: of prompts.
        decoder: of latents; None for a network of pixels.
        clip_shape: (channels, frames, height, width) of what the denoiser makes.
    """

    text: ClipTextEncoder
    decoder: Autoencoder | None
    clip_shape: tuple[int, int, int, int]

    def text_network(self) -> Runnable:
        """Ids of one text to the states of its tokens."""
        ids_NL = torch.zeros(1, self.text.tokens, dtype=torch.long)
        return Runnable(self.text.model, (ids_NL,), ("ids",), lambda _: TEXT)

    def decoder_network(self, frames: int) -> Runnable:
        """So many latents to images, not clamped."""
        assert self.decoder is not None
        channels, _, height, width = self.clip_shape
        latents_NCHW = torch.zeros(frames, channels, height, width)
        return Runnable(self.decoder.decoder, (latents_NCHW,), ("latents",), lambda _: DECODER)

    def decoder_frames(self, most_mb: float | None) -> int:
        """How many frames the decoder takes a call, in float16.

        Args:
            most_mb: its weights and activations; None for frame by frame.

        Raises:
            InputError: not even one fits, or there is no decoder.
        """
        if self.decoder is None and most_mb is not None:
            raise InputError(
                "`decoder_mb=`: the network makes pixels, and nothing decodes them; leave it out"
            )
        if most_mb is None:
            return 1
        network = self.decoder_network(1)
        one = trace(network.module, *network.inputs, name=DECODER)
        weights_mb, frame_mb = (
            number_bytes / one.number_bytes * FLOAT16 / MB
            for number_bytes in (one.weight_bytes, one.peak_bytes)
        )
        if weights_mb + frame_mb > most_mb:
            least = math.ceil(weights_mb + frame_mb)
            raise InputError(
                f"`decoder_mb={most_mb:g}`: the decoder needs {least} MB for one frame; give as "
                "much, or a smaller decoder"
            )
        return stretch(self.clip_shape[1], weights_mb, frame_mb, most_mb)


def stretch(frames: int, weights_mb: float, frame_mb: float, most_mb: float) -> int:
    """How many frames a decoder takes a call: all calls alike, as few as memory allows.

    Args:
        frames: of a clip.
        weights_mb: of the decoder.
        frame_mb: of the activations of one frame; those of several add.
        most_mb: all together; infinite for all frames at once.
    """
    fitting = max(1, int(min(frames, (most_mb - weights_mb) / frame_mb)))
    return math.ceil(frames / math.ceil(frames / fitting))


def open_parts(bundle: Bundle, text_encoder: Path, vae: Path | None) -> Parts:
    """Open what stands beside a bundle's denoiser.

    Raises:
        InputError: nothing there, of another width or other channels than the denoiser has, a
            tokenizer of another model, no decoder where one is needed, or one that float16 does
            not hold.
    """
    check_asked_by_text(bundle)
    shape = bundle.opened.clip_shape
    text = opened_text_encoder(text_encoder, bundle)
    decoder = opened_decoder(bundle, vae)
    if decoder is not None:
        _check_activations(decoder, shape, vae)
    return Parts(text, decoder, shape)


def check_asked_by_text(bundle: Bundle) -> None:
    """Refuse a network that no text encoder stands before; InputError says why."""
    if (how := bundle.made_with.get(ASKED_BY, CAPTIONS)) != CAPTIONS:
        why = "learned without captions" if how == NOTHING else "is asked by one-hot digits"
        raise InputError(
            f"{bundle.path}: {why}, so no pipeline leads from a prompt to it; export the network "
            "alone, without `pipeline=`"
        )


@torch.inference_mode()
def _check_activations(
    decoder: Autoencoder, clip_shape: tuple[int, int, int, int], vae: Path | None
) -> None:
    """Refuse a decoder that float16 does not hold, by one latent of unit variance.

    Raises:
        InputError: with the first part of the network whose output is beyond it.
    """

    def check(name: str, found: object) -> None:
        if isinstance(found, Tensor) and not float(found.abs().max()) <= LARGEST:
            raise InputError(
                f"{vae}: its decoder passes {LARGEST:,}, where float16 ends, at {one_line(name)}; "
                "a phone would show black frames: give a VAE that was fixed for float16"
            )

    network = decoder.decoder
    hooks = [
        module.register_forward_hook(lambda _, __, found, name=name: check(name, found))
        for name, module in network.named_modules()
    ]
    channels, _, *sides = clip_shape
    latents_NCHW = torch.randn(
        1,
        channels,
        *(min(side, TRIED) for side in sides),
        generator=torch.Generator().manual_seed(0),
    )
    try:
        network(latents_NCHW / decoder.scaling + decoder.shift)
    finally:
        for hook in hooks:
            hook.remove()
