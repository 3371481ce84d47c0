"""Clips for the toy bundle (`temporal_bundle.testing`), in one file a split or in shards."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from temporal_bundle import sha256
from temporal_bundle.testing import CHANNELS, FRAMES, KINDS, SIDE, TOKENS

SPLITS = ("train", "validation", "test")
WORDS = ["left", "middle", "right"]  # what the contexts of the toy's clips say


def bars(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clips of bars of one of three kinds that move, and which kind each is of."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(KINDS, (count,), generator=generator)
    clips = torch.full((count, CHANNELS, FRAMES, SIDE, SIDE), -1.0)
    for clip in range(count):
        for frame in range(FRAMES):
            clips[clip, 0, frame, :, (int(kind[clip]) * 2 + frame) % SIDE] = 1.0
    return clips.half(), kind


def contexts() -> Tensor:
    """The context of each kind."""
    table = torch.zeros(KINDS, TOKENS, KINDS)
    table[:, 0] = torch.eye(KINDS)
    return table.half()


def write_clips(folder: Path, count: int = 64) -> None:
    """A file for each split."""
    folder.mkdir()
    for seed, split in enumerate(SPLITS):
        clips, kind = bars(count, seed)
        tensors = {"clips": clips, "context": contexts()[kind]}
        save_file(tensors, folder / f"{split}.safetensors")


def write_shards(folder: Path, count: int = 64, shard: int = 24) -> None:
    """The same clips in shards, whose captions share contexts."""
    for seed, split in enumerate(SPLITS):
        where = folder / split
        where.mkdir(parents=True)
        clips, kind = bars(count, seed)
        shards = []
        for first in range(0, count, shard):
            part = slice(first, first + shard)
            tensors = {"clips": clips[part].clone(), "context_index": kind[part].int()}
            entry = saved(where / f"{first // shard:05}.safetensors", tensors)
            shards.append(entry | {"clips": len(clips[part])})
        table = saved(where / "contexts-00000.safetensors", {"contexts": contexts()})
        (where / "captions.json").write_text(json.dumps(WORDS))
        write_index(where, shards=shards, contexts=[table | {"contexts": KINDS}],
                    captions=listed(where / "captions.json"))  # fmt: skip


def write_encoded(folder: Path, texts: list[str], states: Tensor, shard: int = 3) -> None:
    """Captions as `nas encode --text-encoder` writes them, of which this package reads a part."""
    folder.mkdir()
    shards = []
    for first in range(0, len(texts), shard):
        part = states[first : first + shard].half()
        entry = saved(folder / f"captions-{first // shard:05}.safetensors", {"states": part})
        shards.append(entry | {"bytes": 0, "rows": len(part)})
    index = {
        "format": "temporal-nas/captions", "version": "1.0", "empty": 0, "cut": 0,
        "tokens": states.shape[1], "width": states.shape[2], "shards": shards,
        "text_encoder": {"name": "words", "sha256": "", "sentence": [[0.5, 1.0]]},
        "captions": [
            {"text": text, "shard": row // shard, "row": row % shard, "states": ""}
            for row, text in enumerate(texts)
        ],
    }  # fmt: skip
    (folder / "captions.json").write_text(json.dumps(index))


def write_index(where: Path, **fields: Any) -> None:
    """index.json of a folder of shards."""
    index = {
        "format": "temporal-nas/clips", "version": "1.2", "a later field": 1,
        "clip_shape": [CHANNELS, FRAMES, SIDE, SIDE], "context_shape": [TOKENS, KINDS], **fields,
    }  # fmt: skip
    (where / "index.json").write_text(json.dumps(index))


def changed_index(where: Path, **fields: Any) -> None:
    """The index of a folder with some fields otherwise."""
    file = where / "index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def saved(file: Path, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Write a file, and say how an index lists it."""
    save_file(tensors, file)
    return listed(file)


def listed(file: Path) -> dict[str, Any]:
    return {"file": file.name, "sha256": sha256(file)}
