"""Clips for a training package: plain safetensors files that know nothing of where they came from.

A folder holds `train`, `validation` and `test`, each with

    index.json                     what is there: shapes, each file with its rows and sha256, and
                                   what the clips were made with
    00000.safetensors ...          clips (n, C, T, H, W), context_index (n,)
    contexts-00000.safetensors ... contexts (m, L, channels), each distinct one once
                                   and labels (m, K): what each asks for, where the source tells
    captions.json                  the words of each context, where the source has some
    empty_context.safetensors      empty_context (L, channels), where what asks for nothing is none
                                   of zeros

in float16 and int32. Clips are drawn once, a few at a time: whoever trains on them needs no digits,
no videos and no Python of ours, and neither side ever has all of them in memory.
"""

import json
import warnings
from hashlib import sha256
from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import save_file
from torch import Tensor

from nas.progress import Progress
from search_spaces import AnyUNetShape, InputError, TemporalSpace
from search_spaces.files import document
from search_spaces.files.document import Json
from supernet.checkpoint import file_sha256
from supernet.data.clips import (
    Clips,
    ClipSource,
    RepeatedClipsWarning,
    captions,
    empty_context,
    labels,
    places_of,
    spread_clips,
)
from supernet.data.loading import load_clips
from supernet.data.provenance import MADE_WITH, made_with
from supernet.data.splits import Split

FORMAT, VERSION = "temporal-nas/clips", "1.0"
INDEX, CAPTIONS, EMPTY = "index.json", "captions.json", "empty_context"
CHUNK = 64
SHARD_MB = 256.0


def write_clips(
    path: Path,
    space: TemporalSpace,
    data: str,
    counts: dict[Split, int],
    seed: int = 0,
    progress: Progress | None = None,
    shard_mb: float = SHARD_MB,
) -> None:
    """Draw clips of each split, shaped as the space's networks take them.

    Args:
        path: the folder to make.
        space: says how many channels, frames, rows and columns.
        data: as `load_clips` takes it.
        counts: how many clips each split gets.
        seed: of the first clip.
        progress: who is told.
        shard_mb: how large a file becomes, about, in megabytes.

    Warns:
        RepeatedClipsWarning: more clips are asked for than differ.

    Raises:
        InputError: something stands at `path`, or the clips do not fit the space.
    """
    if path.exists():
        raise InputError(f"{path}: exists; choose another `out=`")
    sources = {split: load_clips(data, space.unet, split) for split in counts}
    _tell_of_repeats(data, sources, counts)
    done = 0
    stage = (progress or Progress()).stage("draw clips", sum(counts.values()))
    with stage as advance, document.replacing_folder(path) as temporary:
        for order, split in enumerate(get_args(Split)):
            if split not in counts:
                continue
            writer = _Writer(temporary / split, sources[split], space.unet, shard_mb * 1e6)
            # Far apart, so that no two splits and no two chunks share a seed.
            begin = (seed * 3 + order) * 1_000_003
            for drawn in spread_clips(sources[split], counts[split], begin, CHUNK):
                writer.add(drawn)
                advance(done := done + len(drawn.x_BCTHW))
            writer.finish(split, seed)


def _tell_of_repeats(data: str, sources: dict[Split, ClipSource], counts: dict[Split, int]) -> None:
    found = {split: places_of(source) for split, source in sources.items()}
    few = [
        f"{split} has {places} different clips, and {counts[split]} are asked for"
        for split, places in found.items()
        if places is not None and places < counts[split]
    ]
    if few:
        line = f"{data}: {'; '.join(few)}: some are there again, and figures of copies say less"
        warnings.warn(line, RepeatedClipsWarning, stacklevel=3)


class _Writer:
    """The files of a split: clips and distinct contexts, a shard of each in memory at a time."""

    def __init__(
        self, folder: Path, source: ClipSource, shape: AnyUNetShape, shard_bytes: float
    ) -> None:
        folder.mkdir()
        self._folder, self._source = folder, source
        self._made_with = made_with(source, shape)
        self._clips = _Shards(folder, "", "clips", shard_bytes)
        self._contexts = _Shards(folder, "contexts-", "contexts", shard_bytes)
        self._rows: dict[bytes, int] = {}  # of the contexts so far, by hash
        self._captions: list[str] = []
        self._labels_shape: list[int] = []
        self._empty_LC = torch.empty(0)

    def add(self, drawn: Clips) -> None:
        """Write some more clips."""
        context_BLC = drawn.context_BLC.half()
        self._empty_LC = empty_context(self._source, context_BLC)
        for x_CTHW, context_LC in zip(drawn.x_BCTHW.half(), context_BLC, strict=True):
            row = torch.tensor(self._row(context_LC), dtype=torch.int32)
            self._clips.add({"clips": x_CTHW, "context_index": row})

    def _row(self, context_LC: Tensor) -> int:
        """Which of the distinct contexts this is; a new one is written."""
        known = sha256(context_LC.numpy().tobytes()).digest()
        if known not in self._rows:
            self._rows[known] = len(self._rows)
            context_BLC = context_LC[None].float()
            told_BK, row = labels(self._source, context_BLC), {"contexts": context_LC}
            if told_BK is not None:
                row["labels"] = told_BK[0].to(torch.uint8)
                self._labels_shape = list(row["labels"].shape)
            self._contexts.add(row)
            self._captions += captions(self._source, context_BLC)
        return self._rows[known]

    def finish(self, split: Split, seed: int) -> None:
        """Write what is left, and the index."""
        clips, contexts = self._clips.finish(), self._contexts.finish()
        index: Json = {
            "format": FORMAT, "version": VERSION, "split": split, "seed": seed,
            "clips": sum(each["clips"] for each in clips), "dtype": "F16",
            "clip_shape": self._clips.shape, "context_shape": self._contexts.shape,
            "shards": clips, "contexts": contexts, MADE_WITH: self._made_with,
        }  # fmt: skip
        if self._labels_shape:
            index["labels_shape"] = self._labels_shape
        if any(self._captions):
            file = self._folder / CAPTIONS
            file.write_text(json.dumps(self._captions, ensure_ascii=False), encoding="utf-8")
            index["captions"] = _listed(file)
        if self._empty_LC.any():
            file = self._folder / f"{EMPTY}.safetensors"
            index[EMPTY] = _saved(file, {EMPTY: self._empty_LC})
        (self._folder / INDEX).write_text(document.dumps(index), encoding="utf-8")


class _Shards:
    """Files of rows, each of about the same size."""

    def __init__(self, folder: Path, prefix: str, counted: str, most_bytes: float) -> None:
        self._folder, self._prefix, self._counted = folder, prefix, counted
        self._most, self._bytes = most_bytes, 0
        self._rows: list[dict[str, Tensor]] = []
        self._files: list[Json] = []
        self.shape: list[int] = []

    def add(self, row: dict[str, Tensor]) -> None:
        """One more row of each tensor."""
        size = sum(tensor.nbytes for tensor in row.values())
        if self._rows and self._bytes + size > self._most:
            self._write()
        self.shape = list(row[self._counted].shape)
        self._rows.append(row)
        self._bytes += size

    def finish(self) -> list[Json]:
        """Write what is left; the files with their rows and hashes."""
        self._write()
        return self._files

    def _write(self) -> None:
        tensors = {name: torch.stack([row[name] for row in self._rows]) for name in self._rows[0]}
        file = self._folder / f"{self._prefix}{len(self._files):05}.safetensors"
        self._files.append(_saved(file, tensors) | {self._counted: len(self._rows)})
        self._rows, self._bytes = [], 0


def _saved(file: Path, tensors: dict[str, Tensor]) -> Json:
    save_file(tensors, file)
    file.chmod(0o644)  # was for its owner alone
    return _listed(file)


def _listed(file: Path) -> Json:
    return {"file": file.name, "sha256": file_sha256(file)}
