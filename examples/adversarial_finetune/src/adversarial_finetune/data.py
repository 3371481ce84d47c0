"""Clips from plain files: `train`, `validation` and `test.safetensors` in a folder.

Each holds `clips` (N, C, T, H, W) and `context` (N, L, channels), floats of any precision; clips
lie about in [-1, 1]. A context of zeros asks for nothing.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from adversarial_finetune.errors import InputError
from temporal_bundle import Bundle

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Clips:
    """The clips of a split, and what was asked for in each."""

    x_NCTHW: Tensor
    context_NLC: Tensor

    def __len__(self) -> int:
        return len(self.x_NCTHW)

    def at(self, index_B: Tensor) -> tuple[Tensor, Tensor]:
        """Clips and contexts in float32."""
        return self.x_NCTHW[index_B].float(), self.context_NLC[index_B].float()

    def first(self, count: int) -> "Clips":
        """The first clips, or all where there are fewer."""
        return Clips(self.x_NCTHW[:count], self.context_NLC[:count])

    @cached_property
    def labels(self) -> Tensor | None:
        """What each context asks for (N, K), where contexts are zeros and ones; else None."""
        pooled = self.context_NLC.float().sum(1)
        plain = ((self.context_NLC == 0) | (self.context_NLC == 1)).all()
        return (pooled > 0).float() if plain and pooled.any() else None


def load_clips(folder: Path, split: Split) -> Clips:
    """The clips of one split.

    Raises:
        InputError: no such file, or no clips in it.
    """
    file = folder / f"{split}.safetensors"
    if not file.is_file():
        raise InputError(f"{file}: no such file; a folder of clips holds one for each split")
    try:
        with safe_open(file, framework="pt") as tensors:
            clips, context = (tensors.get_tensor(name) for name in ("clips", "context"))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: {error}; it must hold the tensors clips and context") from None
    if clips.dim() != 5 or context.dim() != 3 or len(clips) != len(context) or not len(clips):
        raise InputError(
            f"{file}: clips {tuple(clips.shape)} and context {tuple(context.shape)}; expected "
            "(N, C, T, H, W) and (N, L, channels) for as many clips"
        )
    if not (clips.is_floating_point() and context.is_floating_point()):
        raise InputError(f"{file}: holds whole numbers; clips are floats, about in [-1, 1]")
    if not (torch.isfinite(clips).all() and torch.isfinite(context).all()):
        raise InputError(f"{file}: holds NaN or infinite numbers")
    return Clips(clips, context)


def load_fitting_clips(folder: Path, split: Split, bundle: Bundle) -> Clips:
    """The clips of one split, for a bundle's network.

    Raises:
        InputError: no clips, or of another shape than the network's.
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
    return data
