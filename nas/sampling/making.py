"""Prompts to clips, part by part: text, network, decoder; and how long each took."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn

from nas.bundle import Bundle
from nas.bundle.made_with import check_autoencoder
from nas.progress import Progress
from nas.sampling.noise import drawn
from nas.sampling.prompts import MOST_DIGITS, Asker, Digits, Nothing, Texts, opened_text_encoder
from nas.sampling.sampler import Sampler
from search_spaces import InputError
from supernet.autoencoders.contract import Autoencoder
from supernet.autoencoders.opening import open_autoencoder
from supernet.data.digits import CLASSES
from temporal_bundle.made_with import ASKED_BY, AUTOENCODER, DIGITS, NOTHING

DECODED = 4  # frames at a time


@dataclass(frozen=True)
class Made:
    """Clips of prompts.

    Args:
        x_BCTHW: pixels in [-1, 1].
        prompts: of each.
        cut: those whose end no encoder saw.
        seconds: of each part.
    """

    x_BCTHW: Tensor
    prompts: list[str]
    cut: list[str]
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Maker:
    """Makes clips by the network of a bundle.

    Args:
        bundle: the network.
        tuned: whether its tuned weights are taken.
        sampler: how.
        asker: of prompts.
        decoder: of latents; None for a network of pixels.
        device: cpu or cuda.
    """

    bundle: Bundle
    tuned: bool
    sampler: Sampler
    asker: Asker
    decoder: Autoencoder | None
    device: str = "cpu"

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of a clip in pixels."""
        _, _, height, width = self.bundle.opened.clip_shape
        pixels = 1 if self.decoder is None else self.decoder.factor
        return height * pixels, width * pixels

    @torch.inference_mode()
    def make(
        self, prompts: Sequence[str], seed: int, progress: Progress, frames: int | None = None
    ) -> Made:
        """A clip of each prompt; noise depends on the seed and the prompt's place alone.

        Raises:
            InputError: a prompt that nothing can be made of, or more frames than a clip has.
        """
        own_frames = self.bundle.opened.clip_shape[1]
        frames = own_frames if frames is None else frames
        if frames > own_frames:
            raise InputError(
                f"`frames={frames}`: the network of {self.bundle.path} makes {own_frames} at once; "
                "search a space of more"
            )
        clock = _Clock()
        with clock("text"):
            contexts = self.asker.contexts(prompts).to(self.device)
            empty = self.asker.empty().to(self.device)
        with clock("open the network"):
            denoiser = self._denoiser()
        clips = []
        with progress.stage("sample", len(prompts)) as advance:
            for place, context_LC in enumerate(contexts):
                with clock("network"):
                    draw = drawn(seed + place, (1, *self.bundle.opened.clip_shape), self.device)
                    made = self.sampler.clips(denoiser, context_LC[None], empty, draw)
                with clock("decoder"):
                    clips.append(self._pixels(made[:, :, :frames]).float().cpu())
                advance(place + 1)
        cut = self.asker.cut(prompts)
        return Made(torch.cat(clips).clamp(-1, 1), list(prompts), cut, clock.seconds)

    def _denoiser(self) -> nn.Module:
        """The network, built anew: a program takes seconds to open, but knows any operator."""
        try:
            return self.bundle.network(finetuned=self.tuned).to(self.device)
        except InputError:
            return self.bundle.denoiser(finetuned=self.tuned, device=self.device)

    def _pixels(self, x_BCTHW: Tensor) -> Tensor:
        if self.decoder is None:
            return x_BCTHW
        x_NCHW = rearrange(x_BCTHW, "b c t h w -> (b t) c h w")
        decoded = torch.cat([self.decoder.decode(part) for part in torch.split(x_NCHW, DECODED)])
        return rearrange(decoded, "(b t) c h w -> b c t h w", b=len(x_BCTHW))


def opened_asker(bundle: Bundle, text_encoder: Path | None, device: str = "cpu") -> Asker:
    """What turns prompts into contexts of a bundle's network.

    Raises:
        InputError: no text encoder where the network needs one, or another's.
    """
    if text_encoder is not None:
        return Texts(opened_text_encoder(text_encoder, bundle), device)
    shape, asked_by = bundle.opened.context_shape, _asked_by(bundle)
    if asked_by == DIGITS:
        return Digits()
    if asked_by == NOTHING:
        return Nothing(shape)
    raise InputError(
        f"{bundle.path}: its network is asked by {shape[0]} tokens of {shape[1]} channels; give "
        "the text encoder that its clips were encoded by, as `text_encoder=FOLDER`"
    )


def _asked_by(bundle: Bundle) -> str | None:
    """How a network is asked; an older manifest names the data that it learned from alone."""
    known: str | None = bundle.made_with.get(ASKED_BY)
    plan = bundle.manifest["study"].get("settings", {}).get("plan")
    if known is None and isinstance(plan, dict) and plan.get("data") == DIGITS:
        known = DIGITS
    if known == DIGITS and bundle.opened.context_shape != (MOST_DIGITS, CLASSES):
        return None  # of a folder of that name
    return known


def opened_decoder(bundle: Bundle, vae: Path | None, device: str = "cpu") -> Autoencoder | None:
    """The decoder of a bundle's latents; None for a network of pixels.

    Raises:
        InputError: none where it is needed, or one of other latents.
    """
    channels = bundle.opened.clip_shape[0]
    if vae is None:
        if channels in {1, 3} and AUTOENCODER not in bundle.made_with:
            return None
        raise InputError(
            f"{bundle.path}: its network makes latents of {channels} channels; give what decodes "
            "them, as `vae=FOLDER` of diffusers, or a file of nas train-autoencoder"
        )
    found = open_autoencoder(vae)
    if found.channels != channels:
        raise InputError(
            f"{vae}: decodes latents of {found.channels} channels, and the bundle's network makes "
            f"{channels}"
        )
    check_autoencoder(bundle, vae, found)
    found.to(torch.device(device))
    return found


class _Clock:
    """Adds up the seconds of each part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._part, self._begin = "", 0.0

    def __call__(self, part: str) -> "_Clock":
        self._part = part
        return self

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        spent = time.perf_counter() - self._begin
        self.seconds[self._part] = self.seconds.get(self._part, 0.0) + spent
