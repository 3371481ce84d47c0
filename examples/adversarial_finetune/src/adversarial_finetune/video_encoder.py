"""Features of clips by a video encoder (VideoMAE), for the Fréchet video distance of the field.

The network is transformers' own. It gets its sizes and weights from us, who read numbers and names
alone: a folder's remote code, adapters, kernels and pickles are never looked at.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from adversarial_finetune.errors import InputError
from adversarial_finetune.latent_decoder import LatentDecoder, open_latent_decoder
from adversarial_finetune.model_folder import (
    CONFIG,
    check_weights,
    library,
    read_config,
    refusal,
    weights_of,
)
from temporal_bundle import sha256

# By model_type: those that see pixel_values (B, T, C, H, W), normalised alike, and have a
# last_hidden_state.
MODELS = {"videomae": "VideoMAEModel", "timesformer": "TimesformerModel"}
WEIGHTS = "model.safetensors"
PREPROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")
# What a preprocessor does where it does not say: mean and standard deviation are ImageNet's.
USUAL: dict[str, Any] = {
    "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
    "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255,
}  # fmt: skip
OLD_FIELDS = {"qkv_bias"}  # of published files, which transformers still reads
POOLING = "mean of the last hidden state"
BATCH = 8  # clips whose pixels are in memory together


@dataclass(frozen=True)
class Preprocessing:
    """From clips to what an encoder sees.

    Attributes:
        frames: that it sees; the nearest ones of a clip.
        size: height and width of its pictures, to which whole frames are stretched.
        mean: of each colour in [0, 1].
        std: of each colour.
        decoder: makes pixels of clips that are latents.
    """

    frames: int
    size: tuple[int, int]
    mean: list[float]
    std: list[float]
    decoder: LatentDecoder | None = None

    def pixels(self, x_BCTHW: Tensor) -> Tensor:
        """Normalised pictures (B, T, 3, H, W)."""
        return torch.stack([self._of_one(x_CTHW) for x_CTHW in x_BCTHW])

    def _of_one(self, x_CTHW: Tensor) -> Tensor:
        at = torch.linspace(0, x_CTHW.shape[1] - 1, self.frames).round().long()
        shown, again = torch.unique(at, return_inverse=True)  # no frame is decoded twice
        x_TCHW = x_CTHW[:, shown].transpose(0, 1)
        if self.decoder is not None:
            x_TCHW = self.decoder.decode(x_TCHW)
        sized = F.interpolate(x_TCHW.clamp(-1, 1), self.size, mode="bilinear", antialias=True)
        mean, std = (
            torch.tensor(each, device=sized.device)[:, None, None] for each in (self.mean, self.std)
        )
        return (((sized.expand(-1, 3, -1, -1) + 1) / 2 - mean) / std)[again]


@dataclass(frozen=True)
class VideoEncoder:
    """A frozen network that others judge videos by, too.

    Attributes:
        model: of transformers.
        sha256: of its weights.
        preprocessing: of what it sees.
        device: where it is.
    """

    model: Any
    sha256: str
    preprocessing: Preprocessing
    device: str

    @property
    def width(self) -> int:
        """How many features a clip has."""
        return int(self.model.config.hidden_size)

    @torch.inference_mode()
    def features(
        self, parts: Iterable[Tensor], advance: Callable[[int], None] = lambda _: None
    ) -> Tensor:
        """The mean of the last hidden state of many clips (N, width), by parts of them."""
        found: list[Tensor] = []
        done = 0
        for part in parts:
            for few in torch.split(part, BATCH):
                pixels = self.preprocessing.pixels(few.to(self.device).float())
                found.append(self.model(pixel_values=pixels).last_hidden_state.mean(1).cpu())
                done += len(few)
                advance(done)
        return torch.cat(found)

    def to_json(self) -> dict[str, Any]:
        """What distances depend on."""
        prepared = self.preprocessing
        return {
            "model_type": self.model.config.model_type,
            "sha256": self.sha256,
            "features": self.width,
            "pooling": POOLING,
            "frames_height_width": [prepared.frames, *prepared.size],
            "image_mean": prepared.mean,
            "image_std": prepared.std,
            "decoder_sha256": None if prepared.decoder is None else prepared.decoder.sha256,
        }


def open_video_encoder(
    folder: Path, channels: int, device: str, decoder: Path | None = None
) -> VideoEncoder:
    """The encoder in a folder, in float32.

    Args:
        folder: as transformers saves it.
        channels: of the clips; 1 or 3 are pixels, where there is no decoder.
        device: where it computes.
        decoder: the folder of a VAE of diffusers, for clips that are latents.

    Raises:
        InputError: another model, one whose weights are missing, damaged or in pickles, latents
            without a decoder, or transformers is not installed.
    """
    config = read_config(folder / CONFIG, "a video encoder")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in MODELS:
        raise InputError(
            f"{folder / CONFIG}: model_type {str(kind)[:40]!r}; --video-encoder takes "
            f"{' or '.join(MODELS)}"
        )
    file = weights_of(folder, WEIGHTS)
    mean, std = _normalisation(folder)
    if decoder is None and channels not in (1, 3):
        raise InputError(
            f"--video-encoder: clips of {channels} channels are latents, and it sees pixels; give "
            "--decoder with the folder of their VAE (diffusers' AutoencoderKL or TAESD)"
        )
    model = _loaded(folder, MODELS[kind], config, file)
    vae = None if decoder is None else open_latent_decoder(decoder, channels, device)
    frames, sides = model.config.num_frames, model.config.image_size
    sides = [sides, sides] if isinstance(sides, int) else list(sides)
    if model.config.num_channels != 3 or len(sides) != 2 or min(*sides, frames) < 1:
        raise InputError(f"{folder / CONFIG}: sees no frames of height, width and 3 colours")
    prepared = Preprocessing(frames, (sides[0], sides[1]), mean, std, vae)
    return VideoEncoder(model.to(device), sha256(file), prepared, device)


def _loaded(folder: Path, name: str, config: dict[str, Any], file: Path) -> Any:
    """The network with its weights; heads of what it was trained for are left out."""
    transformers = library("transformers", "--video-encoder", "video-encoder")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    kind = getattr(transformers, name)
    try:
        weights = load_file(file)
        model, report = kind.from_pretrained(
            None, config=_sizes(transformers, kind.config_class, config), state_dict=weights,
            output_loading_info=True, local_files_only=True, dtype=torch.float32,
            ignore_mismatched_sizes=True,  # refused below, by their names
        )  # fmt: skip
    except SafetensorError as error:
        raise InputError(f"{file}: is short, or no safetensors file ({error})") from None
    except Exception as error:  # transformers raises whatever a bad value meets
        raise refusal(folder, error) from None
    check_weights(folder, model, set(report["missing_keys"]))
    others = [each for each in report["unexpected_keys"] if ".encoder." in f".{each}"]
    others += [each for each, *_ in report["mismatched_keys"]]
    if others:
        raise InputError(
            f"{folder}: {CONFIG} has no place for {len(others)} of its weights, first "
            f"{min(others)!r}: is it another model's?"
        )
    return model.eval().requires_grad_(requires_grad=False)


def _sizes(transformers: Any, kind: Any, config: dict[str, Any]) -> Any:
    """The configuration with the fields of its own class, and none that name code or kernels."""
    common = {each.name for each in fields(transformers.PreTrainedConfig)}
    own = {each.name for each in fields(kind)} - common | OLD_FIELDS
    return kind(**{name: value for name, value in config.items() if name in own})


def _normalisation(folder: Path) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each colour, as a preprocessor of the folder says."""
    file = next((folder / name for name in PREPROCESSORS if (folder / name).exists()), None)
    said = USUAL | ({} if file is None else read_config(file, "a video encoder"))
    mean, std = said["image_mean"], said["image_std"]
    numbers = all(
        isinstance(each, list) and len(each) == 3 and all(map(_is_number, each))
        for each in (mean, std)
    )
    if not numbers or min(std) <= 0:
        raise InputError(f"{file}: image_mean and image_std must be 3 numbers each, std above 0")
    if not (said["do_normalize"] and said["do_rescale"] and _is_usual(said["rescale_factor"])):
        raise InputError(f"{file}: asks for pixels that are not in [0, 1] and then normalised")
    return [float(each) for each in mean], [float(each) for each in std]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _is_usual(factor: object) -> bool:
    return isinstance(factor, float) and abs(factor * 255 - 1) < 1e-4
