"""Clips for the toy bundle (`temporal_bundle.testing`)."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from temporal_bundle.testing import CHANNELS, FRAMES, KINDS, SIDE, TOKENS


def write_clips(folder: Path, count: int = 64) -> None:
    """Bars of one of three kinds that move."""
    folder.mkdir()
    for seed, split in enumerate(("train", "validation", "test")):
        generator = torch.Generator().manual_seed(seed)
        kind = torch.randint(KINDS, (count,), generator=generator)
        clips = torch.full((count, CHANNELS, FRAMES, SIDE, SIDE), -1.0)
        for clip in range(count):
            for frame in range(FRAMES):
                clips[clip, 0, frame, :, (int(kind[clip]) * 2 + frame) % SIDE] = 1.0
        context = torch.zeros(count, TOKENS, KINDS)
        context[torch.arange(count), 0, kind] = 1.0
        tensors = {"clips": clips.half(), "context": context.half()}
        save_file(tensors, folder / f"{split}.safetensors")
