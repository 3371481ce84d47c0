"""Decode latents to pixels, by a VAE of images of diffusers (AutoencoderKL or AutoencoderTiny)."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adversarial_finetune.errors import InputError
from adversarial_finetune.model_folder import (
    CONFIG,
    check_weights,
    library,
    read_config,
    refusal,
    weights_of,
)
from temporal_bundle import sha256

CLASSES = ("AutoencoderKL", "AutoencoderTiny")
WEIGHTS = "diffusion_pytorch_model.safetensors"
BY_CHANNEL = ("latents_mean", "latents_std")
EXTREME = 1e6  # of scalings, their inverses and shifts: those of VAEs are nowhere near


@dataclass(frozen=True)
class LatentDecoder:
    """A VAE whose latents clips are, scaled as its config.json says.

    Attributes:
        vae: of diffusers, frozen.
        sha256: of its weights.
        scaling: by what latents were multiplied, once `shift` was taken from them.
        shift: see there.
    """

    vae: Any
    sha256: str
    scaling: float
    shift: float

    def decode(self, x_TCHW: Tensor) -> Tensor:
        """Pixels about in [-1, 1] of frames (T, 3, H, W), one after the other."""
        frames = torch.split(x_TCHW / self.scaling + self.shift, 1)
        return torch.cat([self.vae.decode(frame).sample for frame in frames])


def open_latent_decoder(folder: Path, channels: int, device: str) -> LatentDecoder:
    """The VAE in a folder, for latents of so many channels.

    Raises:
        InputError: neither class of images, for other latents, weights that are missing or in
            pickles, or diffusers is not installed.
    """
    words = " or ".join(CLASSES)
    config = read_config(folder / CONFIG, f"an {words}")
    name = config.get("_class_name")
    if name not in CLASSES or config.get("quantization_config") is not None:
        raise InputError(f"{folder / CONFIG}: is of no plain {words}, which --decoder takes")
    if any(config.get(each) is not None for each in BY_CHANNEL):
        raise InputError(
            f"{folder / CONFIG}: scales each channel by itself ({' and '.join(BY_CHANNEL)}), and "
            "clips are scaled by one scaling_factor"
        )
    file = weights_of(folder, WEIGHTS)
    diffusers = library("diffusers", "--decoder", "decoder")
    diffusers.utils.logging.set_verbosity_error()
    try:
        vae, report = getattr(diffusers, name).from_pretrained(
            str(folder.resolve()), use_safetensors=True, local_files_only=True,
            low_cpu_mem_usage=False, output_loading_info=True, torch_dtype=torch.float32,
        )  # fmt: skip
    except Exception as error:  # diffusers raises whatever a bad value meets
        raise refusal(folder, error) from None
    check_weights(folder, vae, set(report["missing_keys"]))
    found, colours = vae.config.latent_channels, vae.config.out_channels
    if (found, colours) != (channels, 3):
        raise InputError(
            f"{folder}: makes {colours} colours of latents of {found} channels; clips have "
            f"{channels} channels, and 3 colours are needed"
        )
    scaling, shift = vae.config.scaling_factor, vae.config.shift_factor or 0.0
    if not all(isinstance(each, int | float) and isfinite(each) for each in (scaling, shift)):
        raise InputError(f"{folder / CONFIG}: scaling_factor and shift_factor must be numbers")
    if not 1 / EXTREME <= scaling <= EXTREME or abs(shift) > EXTREME:
        raise InputError(
            f"{folder / CONFIG}: latents cannot be scaled by {scaling} after a shift of {shift}; "
            "is that a mistake in scaling_factor or shift_factor?"
        )
    vae.eval().requires_grad_(requires_grad=False).to(device)
    try:  # the config may say what fails when it runs
        vae.decode(torch.zeros(1, channels, 2, 2, device=device))
    except (RuntimeError, ValueError, NotImplementedError, TypeError) as error:
        raise refusal(folder, error) from None
    return LatentDecoder(vae, sha256(file), float(scaling), float(shift))
