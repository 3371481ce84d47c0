"""Where the clips of a split lie: in shards that an index lists, or in one safetensors file.

CLIPS/train/index.json, format "temporal-nas/clips", lists the shards with their rows and sha256. A
shard holds `clips` (n, C, T, H, W), and `context` (n, L, channels), or, where many clips share
contexts, `context_index` (n,): rows of the distinct `contexts` (m, L, channels), which lie in
shards of their own. What asks for nothing is `empty_context` (L, channels), or zeros.
captions.json lists the words of each row of the contexts. Beside the contexts may lie `labels`
(m, K) of zeros and ones: which of K things each asks for, where its numbers do not say so.

CLIPS/train.safetensors holds all that in one file, without an index.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from torch import Tensor

from adversarial_finetune.errors import InputError
from adversarial_finetune.index import (
    check_format,
    check_tensors,
    listed_file,
    listed_shards,
    read_document,
)
from adversarial_finetune.rows import COPY_AGAIN, Rows, Shard, tensor_shapes
from temporal_bundle import BundleError, sha256
from temporal_bundle.made_with import made_with
from temporal_bundle.manifest import Json, read_json

Split = Literal["train", "validation", "test"]
INDEX, FORMAT, MAJOR = "index.json", "temporal-nas/clips", "1"
FILMS = "latents.json"  # of a folder that `nas encode` wrote
CLIPS, CONTEXT, CONTEXTS, NUMBER = "clips", "context", "contexts", "context_index"
LABELS, LABELS_SHAPE = "labels", "labels_shape"
EMPTY = "empty_context"
KINDS = ("F32", "F16", "BF16", "F64")
SCALE = "clips lie about in [-1, 1], or are latents of about unit variance"


@dataclass(frozen=True)
class Contexts:
    """What clips may be asked for.

    Attributes:
        where: the folder or file that they are of.
        rows: the contexts (L, channels).
        empty_LC: what asks for nothing; None: zeros.
        captions: the words of each row, where they are known.
        labels: what each row asks for (K,), in zeros and ones, where that is told beside it.
        made_with: what they were made with, where that is told (`temporal_bundle.made_with`).
    """

    where: Path
    rows: Rows
    empty_LC: Tensor | None
    captions: list[str] | None = None
    labels: Rows | None = None
    made_with: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """The files of a split; their headers agree, and none of their numbers was read yet.

    Attributes:
        where: the folder of the shards, or the one file.
        digest: sha256 of the index, or of the file.
        clips: the clips (C, T, H, W).
        contexts: what is asked for in them.
        row_N: which row of the contexts is each clip's; None: its own.
        labels: what clips were drawn for: labels (K,), or contexts (L, channels) that say it where
            they are zeros and ones.
        label_row_N: which row of those is each clip's; None: its own.
        made_with: what the clips were made with, where that is told.
    """

    where: Path
    digest: str
    clips: Rows
    contexts: Contexts
    row_N: Tensor | None
    labels: Rows
    label_row_N: Tensor | None
    made_with: Json = field(default_factory=dict)


def find_layout(folder: Path, split: Split) -> Layout:
    """The files of a split in a folder of clips.

    Raises:
        InputError: no clips there, a damaged index, or shards that are not as it says.
    """
    if (folder / split / INDEX).exists():
        return _sharded(folder / split)
    file = folder / f"{split}.safetensors"
    if file.is_file():
        return _single(file)
    if (folder / FILMS).exists():
        raise InputError(
            f"{folder}: holds films, of which `nas clips --data {folder} --out CLIPS` cuts clips"
        )
    raise InputError(
        f"{folder / split}: no such clips; a folder of clips holds some for each split"
    )


def _single(file: Path) -> Layout:
    shapes = _checked(file, tensor_shapes(file))
    clips, context = (shapes[name][1] for name in (CLIPS, CONTEXT))
    shard = Shard(file, clips[0])
    contexts = Contexts(file, Rows([shard], CONTEXT, context[1:]), _empty(file, context[1:]))
    rows = Rows([shard], CLIPS, clips[1:])
    return Layout(file, sha256(file), rows, contexts, None, contexts.rows, None)


def _sharded(where: Path) -> Layout:
    index = read_index(where)
    shards = listed_shards(where / INDEX, index, "shards", "clips")
    clip, context = (_shape(where, index, name) for name in ("clip_shape", "context_shape"))
    contexts = contexts_of(where, index)
    for shard in shards:
        found = _checked(shard.file, tensor_shapes(shard.file), table=contexts is not None)
        wanted = {CLIPS: (shard.rows, *clip)}
        wanted |= {NUMBER: (shard.rows,)} if contexts else {CONTEXT: (shard.rows, *context)}
        for name, shape in wanted.items():
            if found[name][1] != shape:
                raise InputError(
                    f"{shard.file}: {name} {found[name][1]}, and {INDEX} says {shape}; {COPY_AGAIN}"
                )
    row_N = None
    if contexts is None:
        empty = _listed_empty(where, index, context)
        contexts = Contexts(where, Rows(shards, CONTEXT, context), empty)
    else:
        row_N = _row_numbers(shards, len(contexts.rows))
    rows, labels = Rows(shards, CLIPS, clip), contexts.labels or contexts.rows
    digest, told = sha256(where / INDEX), _made_with(where, index)
    return Layout(where, digest, rows, contexts, row_N, labels, row_N, told)


def contexts_of(where: Path, index: Json) -> Contexts | None:
    """The distinct contexts of a folder, by its index; None where it lists no shards of them.

    Raises:
        InputError: shards or captions that are not as the index says.
    """
    if "contexts" not in index:
        return None
    shards = listed_shards(where / INDEX, index, "contexts", "contexts")
    shape = _shape(where, index)
    wanted = {CONTEXTS: ("F16", shape)}
    if LABELS_SHAPE in index:
        wanted[LABELS] = ("U8", _shape(where, index, LABELS_SHAPE))
    for shard in shards:
        check_tensors(where / INDEX, shard, wanted)
    rows = Rows(shards, CONTEXTS, shape)
    empty = _listed_empty(where, index, shape)
    labels = Rows(shards, LABELS, wanted[LABELS][1]) if LABELS in wanted else None
    captions, told = _captions(where, index, len(rows)), _made_with(where, index)
    return Contexts(where, rows, empty, captions, labels, told)


def _checked(
    file: Path, found: dict[str, tuple[str, tuple[int, ...]]], *, table: bool = False
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors of a file of clips, once their kinds and axes are those of clips."""
    second = NUMBER if table else CONTEXT
    if not {CLIPS, second} <= found.keys():
        raise InputError(f"{file}: it must hold the tensors clips and {second}")
    kinds = {CLIPS: KINDS, second: ("I32", "I64") if table else KINDS}
    for name, known in kinds.items():
        if found[name][0] not in known:
            raise InputError(
                f"{file}: {name} is of {found[name][0]}; give {', '.join(known)} ({SCALE}: bytes "
                "of a picture become x / 127.5 - 1)"
            )
    clips, other = found[CLIPS][1], found[second][1]
    axes = 1 if table else 3
    if len(clips) != 5 or len(other) != axes or clips[0] != other[0] or 0 in clips:
        wanted = "(N,)" if table else "(N, L, channels)"
        raise InputError(
            f"{file}: clips {clips} and {second} {other}; expected (N, C, T, H, W) and {wanted} "
            "for as many clips"
        )
    return found


def read_index(where: Path) -> Json:
    """The index of a folder of clips.

    Raises:
        InputError: there is none, or one of another format or version.
    """
    file = where / INDEX
    try:
        index = read_json(file)
    except BundleError as error:
        raise InputError(str(error)) from None
    check_format(file, index, FORMAT, MAJOR)
    return index


def _made_with(where: Path, index: Json) -> Json:
    try:
        return made_with(index, where / INDEX)
    except BundleError as error:
        raise InputError(str(error)) from None


def _shape(where: Path, index: Json, name: str = "context_shape") -> tuple[int, ...]:
    found, axes = index.get(name), {"clip_shape": 4, LABELS_SHAPE: 1}.get(name, 2)
    if not isinstance(found, list) or len(found) != axes or not all(type(n) is int for n in found):
        raise InputError(f"{where / INDEX}: {name} must be {axes} sizes; found {str(found)[:60]}")
    return tuple(found)


def _row_numbers(shards: list[Shard], count: int) -> Tensor:
    parts = []
    for shard in shards:
        with safe_open(shard.file, framework="pt") as tensors:
            part = tensors.get_tensor(NUMBER).long()
        if int(part.min()) < 0 or int(part.max()) >= count:
            raise InputError(f"{shard.file}: {NUMBER} names rows that none of {count} contexts is")
        parts.append(part)
    return torch.cat(parts)


def _listed_empty(where: Path, index: Json, shape: tuple[int, ...]) -> Tensor | None:
    if EMPTY not in index:
        return None
    file, sha = listed_file(where / INDEX, index[EMPTY])
    if EMPTY not in tensor_shapes(file):
        raise InputError(f"{file}: holds no {EMPTY}; {COPY_AGAIN}")
    Shard(file, 1, sha).check_hash()
    return _empty(file, shape)


def _empty(file: Path, shape: tuple[int, ...]) -> Tensor | None:
    """What asks for nothing; None where the file does not say, and zeros do."""
    with safe_open(file, framework="pt") as tensors:
        if EMPTY not in tensors.keys():  # noqa: SIM118  # no mapping
            return None
        found: Tensor = tensors.get_tensor(EMPTY).float()
    if tuple(found.shape) != shape or not torch.isfinite(found).all():
        raise InputError(
            f"{file}: {EMPTY} {tuple(found.shape)} must be finite numbers, one context: {shape}"
        )
    return found


def _captions(where: Path, index: Json, count: int) -> list[str] | None:
    if "captions" not in index:
        return None
    file, sha = listed_file(where / INDEX, index["captions"])
    found = read_document(file, sha)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise InputError(f"{file}: must be a list of texts; {COPY_AGAIN}")
    if len(found) != count:
        raise InputError(f"{file}: lists {len(found)} captions for {count} contexts; {COPY_AGAIN}")
    return found
