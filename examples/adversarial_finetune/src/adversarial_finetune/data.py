"""Clips from plain files: `train`, `validation` and `test.safetensors` in a folder.

Each holds `clips` (N, C, T, H, W) and `context` (N, L, channels), floats of 16 bits or more; clips
lie about in [-1, 1], or are latents of about unit variance. A context that asks for nothing is
`empty_context` (L, channels) where a file holds it, as of encoded captions; else zeros.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from adversarial_finetune.errors import InputError
from temporal_bundle import LFS_WORDS, Bundle, is_lfs_pointer

Split = Literal["train", "validation", "test"]
EMPTY = "empty_context"
KINDS = ("F32", "F16", "BF16", "F64")
# Noise has a standard deviation of 1, and what is learned from it must be of its scale: pixels in
# [-1, 1] have about 0.5, latents 1 (and now and then 10), pixels of bytes 70.
LARGEST, WIDEST, NARROWEST = 20.0, 3.0, 0.01
FULL_SCALES = (1, 255, 1023, 4095, 65535)  # of pixels
SCALE = "clips lie about in [-1, 1], or are latents of about unit variance"


@dataclass(frozen=True)
class Clips:
    """The clips of a split, and what was asked for in each."""

    x_NCTHW: Tensor
    context_NLC: Tensor
    empty_LC: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x_NCTHW)

    def at(self, index_B: Tensor) -> tuple[Tensor, Tensor]:
        """Clips and contexts in float32."""
        return self.x_NCTHW[index_B].float(), self.context_NLC[index_B].float()

    def first(self, count: int) -> "Clips":
        """The first clips, or all where there are fewer."""
        return Clips(self.x_NCTHW[:count], self.context_NLC[:count], self.empty_LC)

    @property
    def nothing(self) -> Tensor:
        """The context that asks for nothing, in float32."""
        if self.empty_LC is None:
            return torch.zeros(self.context_NLC.shape[1:])
        return self.empty_LC.float()

    @cached_property
    def labels(self) -> Tensor | None:
        """What each context asks for (N, K), where contexts are zeros and ones; else None."""
        pooled = self.context_NLC.float().sum(1)
        plain = ((self.context_NLC == 0) | (self.context_NLC == 1)).all()
        return (pooled > 0).float() if plain and pooled.any() else None


def load_clips(folder: Path, split: Split) -> Clips:
    """The clips of one split.

    Raises:
        InputError: no such file, no clips in it, or numbers that cannot be learned from.
    """
    file = folder / f"{split}.safetensors"
    if not file.is_file():
        raise InputError(f"{file}: no such file; a folder of clips holds one for each split")
    if is_lfs_pointer(file):
        raise InputError(f"{file}: {LFS_WORDS}")
    clips, context = (_tensor(file, name) for name in ("clips", "context"))
    if clips.dim() != 5 or context.dim() != 3 or len(clips) != len(context) or not clips.numel():
        raise InputError(
            f"{file}: clips {tuple(clips.shape)} and context {tuple(context.shape)}; expected "
            "(N, C, T, H, W) and (N, L, channels) for as many clips"
        )
    for name, tensor in (("clip", clips), ("context", context)):
        finite_N = torch.isfinite(tensor).flatten(1).all(1)
        if not finite_N.all():
            raise InputError(f"{file}: {name} {_first(~finite_N)} holds NaN or infinite numbers")
    return Clips(clips, context, _empty_context(file, tuple(context.shape[1:])))


def load_fitting_clips(folder: Path, split: Split, bundle: Bundle) -> Clips:
    """The clips of one split, for a bundle's network.

    Raises:
        InputError: no clips, of another shape than the network's, or of another scale than noise.
    """
    data = load_clips(folder, split)
    _, channels, _, *sides = data.x_NCTHW.shape
    _, *context = data.context_NLC.shape
    own_channels, _, *own_sides = bundle.clip_shape
    for name, found, wanted in (
        ("channels, height and width", (channels, *sides), (own_channels, *own_sides)),
        ("tokens of the context", tuple(context), bundle.context_shape),
    ):
        if found != wanted:
            raise InputError(f"{folder}: {split} has {name} {found}, the bundle's network {wanted}")
    _check_scale(data.x_NCTHW, folder / f"{split}.safetensors")
    return data


def _empty_context(file: Path, shape: tuple[int, ...]) -> Tensor | None:
    """What asks for nothing; None where the file does not say, and zeros do."""
    with safe_open(file, framework="pt") as tensors:
        if EMPTY not in tensors.keys():  # noqa: SIM118  # no mapping
            return None
    found = _tensor(file, EMPTY)
    if tuple(found.shape) != shape or not torch.isfinite(found).all():
        raise InputError(
            f"{file}: {EMPTY} {tuple(found.shape)} must be finite numbers, one context: {shape}"
        )
    return found


def _tensor(file: Path, name: str) -> Tensor:
    try:
        with safe_open(file, framework="pt") as tensors:
            kind = tensors.get_slice(name).get_dtype()
            if kind not in KINDS:
                raise InputError(
                    f"{file}: {name} is of {kind}; give {', '.join(KINDS)} ({SCALE}: bytes of a "
                    "picture become x / 127.5 - 1)"
                )
            found: Tensor = tensors.get_tensor(name)
            return found
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{file}: {error}; it must hold the tensors clips and context") from None


def _check_scale(x_NCTHW: Tensor, file: Path) -> None:
    """Refuse pixels of another range, before a network is trained on them without a word."""
    low_N, high_N = x_NCTHW.flatten(1).aminmax(dim=1)
    low, high = float(low_N.min()), float(high_N.max())
    deviation = _deviation(x_NCTHW)
    if low == high or not (low_N < high_N).any():
        raise InputError(f"{file}: every clip is of one value throughout; nothing is shown there")
    if low >= 0:
        full = next((scale for scale in FULL_SCALES if high <= scale), high)
        raise InputError(
            f"{file}: clips lie in [{low:g}, {high:g}]; {SCALE}: write them anew, as "
            f"x / {full / 2:g} - 1"
        )
    if max(-low, high) > LARGEST:
        wild = (low_N < -LARGEST) | (high_N > LARGEST)
        far = high if high >= -low else low
        raise InputError(f"{file}: clip {_first(wild)} reaches {far:g}; {SCALE}")
    if not NARROWEST <= deviation <= WIDEST:
        raise InputError(
            f"{file}: clips have a standard deviation of {deviation:.2g}; {SCALE}: multiply them "
            "by what makes it about 0.5 to 1 (the scaling factor of an autoencoder)"
        )


def _deviation(x_NCTHW: Tensor) -> float:
    """The standard deviation, clip by clip so that little is copied."""
    sums = torch.zeros(2, dtype=torch.float64)
    for x_CTHW in x_NCTHW:
        wide = x_CTHW.double()
        sums += torch.stack([wide.sum(), wide.square().sum()])
    mean, square = (sums / x_NCTHW.numel()).tolist()
    return float(max(square - mean**2, 0.0) ** 0.5)


def _first(found_N: Tensor) -> str:
    """Which is the first of those that were found, and how many more there are."""
    which = found_N.nonzero().flatten().tolist()
    return f"{which[0]}" if len(which) == 1 else f"{which[0]} (of {len(which)} such)"
