"""A folder of diffusers' AutoencoderKL or AutoencoderTiny (TAESD), opened as an autoencoder.

The network is diffusers' own, the weights are read by us: numbers and names alone, strictly, so
that nothing in the folder is executed, fetched, or silently left at random.
"""

import importlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces import InputError
from search_spaces.files.document import finite, positive
from search_spaces.files.git_lfs import refuse_pointer
from supernet import checkpoint
from supernet.autoencoders.contract import check_sides
from supernet.backbones.diffusers_io import mapped_weights, weight_files

CONFIG = "config.json"
KL, TINY = "AutoencoderKL", "AutoencoderTiny"
CLASSES = f"{KL} or {TINY}"
# How diffusers spelt the attention of VAEs before 0.17; SD 1.x and 2.x are stored so.
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
# diffusers' defaults. An AutoencoderTiny learned the latents of another VAE as that one's U-Net has
# them: scaled already.
SCALINGS = {KL: 0.18215, TINY: 1.0}
BY_CHANNEL = ("latents_mean", "latents_std")  # pipelines apply them; the VAE does not
EXTREME = 1e6  # of scalings, their inverses and shifts: those of VAEs are nowhere near


@dataclass(frozen=True)
class DiffusersVAE:
    """The mean of what the VAE encodes to, scaled as its U-Net was trained on it."""

    vae: Any
    channels: int
    factor: int
    scaling: float
    shift: float
    distilled: bool

    @torch.no_grad()
    def encode(self, x_NCHW: Tensor) -> Tensor:
        """Latents of about unit variance; InputError where the sides do not divide."""
        check_sides(x_NCHW, self.factor)
        return (_latents(self.vae, x_NCHW) - self.shift) * self.scaling

    @torch.no_grad()
    def decode(self, latents_NCHW: Tensor) -> Tensor:
        """Images in [-1, 1]."""
        decoded: Tensor = self.decoder(latents_NCHW / self.scaling + self.shift)
        return decoded.clamp(-1, 1)

    @property
    def decoder(self) -> nn.Module:
        """The network in `decode`."""
        return _Decoder(self.vae)

    def to(self, device: torch.device) -> object:
        """Move the weights; images and latents are given and returned there, too."""
        return self.vae.to(device)


class _Decoder(nn.Module):
    """The half of a VAE that decodes; tensors in and out, as torch.export wants them."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.before: nn.Module = getattr(vae, "post_quant_conv", None) or nn.Identity()
        self.body: nn.Module = vae.decoder

    def forward(self, latents_NCHW: Tensor) -> Tensor:
        found: Tensor = self.body(self.before(latents_NCHW))
        return found


def open_vae(folder: Path) -> DiffusersVAE:
    """The VAE in a folder, in float32.

    Raises:
        InputError: neither class, weights that are missing, damaged or pickled, or diffusers
            is not installed.
    """
    config = _config(folder)
    where, name = folder / CONFIG, config["_class_name"]
    scaling = positive(config.get("scaling_factor", SCALINGS[name]), f"{where}: scaling_factor")
    shift = finite(config.get("shift_factor") or 0.0, f"{where}: shift_factor")
    if not 1 / EXTREME <= scaling <= EXTREME or abs(shift) > EXTREME:
        raise InputError(
            f"{where}: latents cannot be scaled by {scaling} after a shift of {shift}; is that a "
            "mistake in scaling_factor or shift_factor?"
        )
    try:
        diffusers: Any = importlib.import_module("diffusers")
    except ImportError:
        raise InputError(
            f"{folder}: a VAE of diffusers needs diffusers: pip install diffusers"
        ) from None
    try:
        diffusers.utils.logging.set_verbosity_error()  # or it warns of names that it wrote itself
        with torch.device("meta"):  # no memory, and no weights at random
            vae = getattr(diffusers, name).from_config(config)
            channels = int(vae.config.latent_channels)
            colours = vae.config.in_channels, vae.config.out_channels
            factor = _factor(vae, channels) if colours == (3, 3) else 0
    except Exception as error:  # noqa: BLE001, RUF100  # diffusers raises whatever a bad value meets
        raise InputError(f"{where}: diffusers makes no {name} of it: {error}") from None
    if colours != (3, 3):
        raise InputError(f"{where}: a VAE of images has 3 colours; this has {colours}")
    weights = {_name(name): tensor for name, tensor in mapped_weights(folder)}
    weights = {name: _fitted(name, t, vae.state_dict(), folder) for name, t in weights.items()}
    checkpoint.check_weights(vae, weights, folder)
    vae.load_state_dict(weights, assign=True)
    vae.eval().requires_grad_(requires_grad=False)
    return DiffusersVAE(vae, channels, factor, scaling, shift, name == TINY)


def vae_files(folder: Path) -> list[Path]:
    """The files that decide what the VAE computes; InputError where weights are missing."""
    if not (folder / CONFIG).is_file():
        _config(folder)
    return [folder / CONFIG, *(path for path, _ in weight_files(folder))]


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    refuse_pointer(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder}: no VAE of diffusers ({CONFIG} is missing); give its folder `vae`, or a "
            "file of `nas train-autoencoder`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    found = config.get("_class_name") if isinstance(config, dict) else None
    if found not in (KL, TINY):
        raise InputError(f"{path}: is of class {found!r}; an {CLASSES} is needed")
    if config.get("quantization_config") is not None:
        raise InputError(f"{path}: its weights are quantized; take the VAE as it was trained")
    if any(config.get(name) is not None for name in BY_CHANNEL):
        raise InputError(
            f"{path}: scales each channel by itself ({' and '.join(BY_CHANNEL)}), and one "
            "scaling_factor for all is what networks here are given"
        )
    return dict(config)


def _factor(vae: Any, channels: int) -> int:
    """How many pixels high and wide a latent is.

    Raises:
        ValueError: the two halves are not of the same sides.
    """
    latents = torch.zeros(1, channels, 2, 2, device="meta")
    pixels = vae.decode(latents).sample
    if _latents(vae, pixels).shape != latents.shape:
        raise ValueError("what it decodes, it encodes to other sides")
    return int(pixels.shape[-1] // 2)


def _latents(vae: Any, x_NCHW: Tensor) -> Tensor:
    """The mean of what images are encoded to, not scaled."""
    found = vae.encode(x_NCHW)
    latents: Tensor = found.latents if "latents" in found else found.latent_dist.mode()
    return latents


def _name(name: str) -> str:
    """A tensor's name as diffusers spells it today."""
    found = re.fullmatch(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)(\.\w+)", name)
    return f"{found[1]}{OLD_NAMES[found[2]]}{found[3]}" if found else name


def _fitted(name: str, tensor: Tensor, own: dict[str, Tensor], folder: Path) -> Tensor:
    """In float32, and without the two last sides of 1 that old attention weights have."""
    wide = tensor.to(torch.float32)
    if not torch.isfinite(wide).all():
        raise InputError(f"{folder}: tensor {name!r} holds NaN or infinity; take other weights")
    if name in own and wide.dim() == own[name].dim() + 2 and wide.shape[2:] == (1, 1):
        return wide[..., 0, 0]
    return wide
