"""Clips for a training package: plain safetensors files that know nothing of where they came from.

A folder holds `train`, `validation` and `test.safetensors`, each with `clips` (N, C, T, H, W) and
`context` (N, L, channels) in float16. Clips are drawn once: whoever trains on them needs no
digits, no videos and no Python of ours.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import save_file

from search_spaces import InputError, TemporalSpace, document
from supernet.data import load_clips
from supernet.digits import Split

FORMAT, VERSION = "temporal-nas/clips", "1.0"
CHUNK = 64


def write_clips(
    path: Path,
    space: TemporalSpace,
    data: str,
    counts: dict[Split, int],
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Draw clips of each split, shaped as the space's networks take them.

    Args:
        path: the folder to make.
        space: says how many channels, frames, rows and columns.
        data: as `--data` names clips.
        counts: how many clips each split gets.
        seed: of the first clip.
        advance: told how many are drawn.

    Raises:
        InputError: something stands at `path`, or the clips do not fit the space.
    """
    if path.exists():
        raise InputError(f"{path}: exists; choose another --out")
    sources = {split: load_clips(data, space.unet, split) for split in counts}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    done = 0
    try:
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
            notes = {"format": FORMAT, "version": VERSION, "split": split, "seed": str(seed)}
            save_file(tensors, temporary / f"{split}.safetensors", notes)
        for file in temporary.iterdir():
            file.chmod(0o644)
        temporary.chmod(0o755)
        document.replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
