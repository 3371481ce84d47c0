"""Clips for a training package: plain safetensors files that know nothing of where they came from.

A folder holds `train`, `validation` and `test.safetensors`, each with `clips` (N, C, T, H, W) and
`context` (N, L, channels) in float16; of clips with captions also `empty_context` (L, channels),
which asks for nothing, as zeros do elsewhere. Clips are drawn once: whoever trains on them needs no
digits, no videos and no Python of ours.
"""

from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import save_file

from nas.progress import Progress
from search_spaces import InputError, TemporalSpace
from search_spaces.files import document
from supernet.data.clips import empty_context
from supernet.data.loading import load_clips
from supernet.data.splits import Split

FORMAT, VERSION = "temporal-nas/clips", "1.0"
CHUNK = 64


def write_clips(
    path: Path,
    space: TemporalSpace,
    data: str,
    counts: dict[Split, int],
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Draw clips of each split, shaped as the space's networks take them.

    Args:
        path: the folder to make.
        space: says how many channels, frames, rows and columns.
        data: as `load_clips` takes it.
        counts: how many clips each split gets.
        seed: of the first clip.
        progress: who is told.

    Raises:
        InputError: something stands at `path`, or the clips do not fit the space.
    """
    if path.exists():
        raise InputError(f"{path}: exists; choose another `out=`")
    sources = {split: load_clips(data, space.unet, split) for split in counts}
    done = 0
    stage = (progress or Progress()).stage("draw clips", sum(counts.values()))
    with stage as advance, document.replacing_folder(path) as temporary:
        for order, split in enumerate(get_args(Split)):
            if split not in counts:
                continue
            parts = []
            for first in range(0, counts[split], CHUNK):
                size = min(CHUNK, counts[split] - first)
                # Far apart, so that no two splits and no two chunks share a seed.
                parts.append(sources[split].clips(size, (seed * 3 + order) * 1_000_003 + first))
                advance(done := done + size)
            tensors = {
                "clips": torch.cat([part.x_BCTHW for part in parts]).half(),
                "context": torch.cat([part.context_BLC for part in parts]).half(),
            }
            empty = empty_context(sources[split], tensors["context"])
            if empty.any():
                tensors["empty_context"] = empty
            notes = {"format": FORMAT, "version": VERSION, "split": split, "seed": str(seed)}
            file = temporary / f"{split}.safetensors"
            save_file(tensors, file, notes)
            file.chmod(0o644)  # was for its owner alone
