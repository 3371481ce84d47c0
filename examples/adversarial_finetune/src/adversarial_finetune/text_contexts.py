"""Contexts for captions, looked up by their texts: what `--text-contexts FOLDER` may be.

A folder of clips, or of one index.json for all splits, as `layout` reads them; or what
`nas encode --text-encoder` writes. That is captions.json, format "temporal-nas/captions", which
lists shards of `states` (rows, tokens, width) in float16, and each text once with its shard and
row; the empty one is what asks for nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from adversarial_finetune.errors import InputError
from adversarial_finetune.index import (
    check_format,
    check_tensors,
    listed_shards,
    read_document,
)
from adversarial_finetune.layout import INDEX, Contexts, Split, contexts_of, read_index
from adversarial_finetune.rows import COPY_AGAIN, Rows
from temporal_bundle import BundleError, sha256
from temporal_bundle.made_with import (
    ASKED_BY,
    CAPTIONS,
    EMPTY,
    MADE_WITH,
    TEXT_ENCODER,
    made_with,
)
from temporal_bundle.manifest import Json

ENCODED, FORMAT, MAJOR = "captions.json", "temporal-nas/captions", "1"
STATES = "states"
CHANNELS = 8  # of a token of the empty caption, by which text encoders are told apart


@dataclass(frozen=True)
class TextContexts:
    """The contexts of texts.

    Attributes:
        contexts: in rows.
        row_of: the first row of each text.
        digest: sha256 of the index.
    """

    contexts: Contexts
    row_of: dict[str, int]
    digest: str


def find_text_contexts(folder: Path, split: Split) -> TextContexts:
    """The contexts of a folder, or of one of its splits.

    Raises:
        InputError: it has no captions or contexts, or a damaged index.
    """
    for where in (folder, folder / split):
        if (where / INDEX).exists():
            return _of_clips(where)
    if (folder / ENCODED).exists():
        return _encoded(folder / ENCODED)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    raise InputError(
        f"{folder}: has no contexts of captions: none of {INDEX} and {split}/{INDEX}, as folders "
        f"of clips have them, and {ENCODED}, which nas encode writes with --text-encoder"
    )


def _of_clips(where: Path) -> TextContexts:
    contexts = contexts_of(where, read_index(where))
    if contexts is None or contexts.captions is None:
        raise InputError(f"{where}: lists no captions with contexts; give a folder that has them")
    row_of = _first_rows(list(enumerate(contexts.captions)))
    return TextContexts(contexts, row_of, sha256(where / INDEX))


def _encoded(file: Path) -> TextContexts:
    index = read_document(file)
    if not isinstance(index, dict):
        raise InputError(f"{file}: expected a JSON object")
    check_format(file, index, FORMAT, MAJOR)
    shards, shape = listed_shards(file, index, "shards", "rows"), _shape(file, index)
    for shard in shards:
        check_tensors(file, shard, {STATES: ("F16", shape)})
    rows = Rows(shards, STATES, shape)
    row_of = _first_rows(_places(file, index, rows))
    if "" not in row_of:
        raise InputError(f"{file}: has no empty caption, which asks for nothing; {COPY_AGAIN}")
    empty_LC = rows.at(torch.tensor([row_of[""]]))[0].float()
    rows.release()
    told = _made_with(file, index, empty_LC)
    contexts = Contexts(file.parent, rows, empty_LC, made_with=told)
    return TextContexts(contexts, row_of, sha256(file))


def _shape(file: Path, index: Json) -> tuple[int, ...]:
    """Tokens and channels of a context."""
    tokens, width = index.get("tokens"), index.get("width")
    if type(tokens) is not int or type(width) is not int:
        raise InputError(f"{file}: tokens and width must be sizes; {COPY_AGAIN}")
    return tokens, width


def _places(file: Path, index: Json, rows: Rows) -> list[tuple[int, str]]:
    """The row of each text."""
    listed = index.get("captions")
    if not isinstance(listed, list):
        raise InputError(f"{file}: captions must list texts; {COPY_AGAIN}")
    found = []
    for number, each in enumerate(listed):
        text = each.get("text") if isinstance(each, dict) else None
        if not isinstance(text, str) or (row := _row(each, rows)) is None:
            raise InputError(f"{file}: caption {number} has no text in a row; {COPY_AGAIN}")
        found.append((row, text))
    return found


def _row(entry: Json, rows: Rows) -> int | None:
    """The row that an entry means, counted through all shards; None where there is none."""
    shard, row = entry.get("shard"), entry.get("row")
    if type(shard) is not int or type(row) is not int:
        return None
    if not 0 <= shard < len(rows.shards) or not 0 <= row < rows.shards[shard].rows:
        return None
    return int(rows.firsts[shard]) + row


def _first_rows(places: list[tuple[int, str]]) -> dict[str, int]:
    return {text: row for row, text in reversed(places)}


def _made_with(file: Path, index: Json, empty_LC: Tensor) -> Json:
    """What the index says of its text encoder, and the states of the empty caption beside it."""
    try:
        told = made_with({MADE_WITH: {TEXT_ENCODER: index.get(TEXT_ENCODER, {})}}, file)
    except BundleError as error:
        raise InputError(str(error)) from None
    some = empty_LC[[0, min(1, len(empty_LC) - 1), -1], :CHANNELS].tolist()
    empty = [[round(number, 4) for number in row] for row in some]
    return {ASKED_BY: CAPTIONS, TEXT_ENCODER: {EMPTY: empty, **told[TEXT_ENCODER]}}
