"""Captions to token states, each once: what `nas encode` does with a text encoder.

Captions are encoded a piece at a time, each piece a file that is kept until all are there; shards
of a stated size are put together from them. The same captions make the same files, whatever was
interrupted and however many workers there were.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor

from search_spaces import InputError
from search_spaces.files.document import Json, dumps, write_atomically
from supernet import checkpoint
from supernet.checkpoint import file_sha256
from supernet.data.encoded_captions import EMPTY, FORMAT, INDEX, MAJOR, TENSOR, states_key
from supernet.text.contract import TextEncoder
from supernet.text.fingerprint import sentence_states
from supernet.text.opening import open_text_encoder, text_encoder_sha256

PIECE = 32  # captions of one task
CUT = "cut"
Uncaptioned = Literal["zeros", "skip"]

# Calls a function of one argument for each of several, in any order: (number, what it returned).
Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[int, Any]]]


@dataclass(frozen=True)
class CaptionPlan:
    """What becomes of captions.

    Args:
        text_encoder: a folder as of `open_text_encoder`.
        uncaptioned: "zeros" gives films without a caption a context that says nothing, which is
            the encoded empty caption; "skip" leaves them out.
        shard_mb: how large a file of token states may be.
    """

    text_encoder: Path
    uncaptioned: Uncaptioned = "zeros"
    shard_mb: float = 256.0

    def __post_init__(self) -> None:
        if self.uncaptioned not in {"zeros", "skip"}:
            raise InputError(f"`uncaptioned=` takes zeros or skip; found {self.uncaptioned!r}")
        if not 0 < self.shard_mb < float("inf"):
            raise InputError(f"`shard_mb=` must be above 0 and finite; found {self.shard_mb}")


@dataclass(frozen=True)
class CaptionEncoding:
    """The states of captions, in a folder.

    Args:
        plan: what is wanted.
        sha256: of the text encoder.
        accelerator: "cpu" or "cuda".
    """

    plan: CaptionPlan
    sha256: str
    accelerator: str

    @classmethod
    def begin(cls, plan: CaptionPlan, accelerator: str) -> "CaptionEncoding":
        """Open the text encoder and try it, before anything is computed.

        Raises:
            InputError: it does not open, or makes states that are not finite.
        """
        found = cls(plan, text_encoder_sha256(plan.text_encoder), accelerator)
        _states(found, [""])
        return found

    def write(
        self, folder: Path, texts: Sequence[str], spread: Spread, advance: Callable[[int], None]
    ) -> Json:
        """Write shards and their index, of the empty caption and then of these in order.

        Args:
            folder: where they go, and where pieces are from a time before.
            texts: each once, none of them empty.
            spread: who encodes pieces.
            advance: called with the number of encoded captions.
        """
        every = ["", *texts]
        pieces = [tuple(every[at : at + PIECE]) for at in range(0, len(every), PIECE)]
        done = 0
        for number, _ in spread(partial(_encode_piece, self, folder), pieces):
            advance(done := done + len(pieces[number]))
        files = [folder / _piece_name(piece) for piece in pieces]
        encoder = _encoder(self)
        tokens, width = encoder.tokens, encoder.width
        rows = max(1, int(self.plan.shard_mb * 1e6) // (2 * tokens * width))
        shards, listed, cut = list[Json](), list[Json](), 0
        for number, (states, beyond) in enumerate(_shards(files, rows)):
            path = folder / f"captions-{number:05}.safetensors"
            metadata = {checkpoint.METADATA_KEY: json.dumps({"format": FORMAT, "shard": number})}
            checkpoint.write_safetensors(path, {TENSOR: states}, metadata)
            size = path.stat().st_size
            entry = {"file": path.name, "sha256": file_sha256(path), "bytes": size}
            shards.append({**entry, "rows": len(states)})
            listed += [
                {"text": text, "shard": number, "row": row, "states": states_key(states[row])}
                for row, text in enumerate(every[number * rows : number * rows + len(states)])
            ]
            cut += int(beyond.sum())
        index = {
            "format": FORMAT, "version": f"{MAJOR}.0", "tokens": tokens, "width": width,
            "text_encoder": {
                "name": self.plan.text_encoder.resolve().name, "sha256": self.sha256,
                "sentence": sentence_states(encoder),
            },
            "empty": EMPTY, "uncaptioned": self.plan.uncaptioned, "cut": cut,
            "shard_mb": self.plan.shard_mb, "shards": shards, "captions": listed,
        }  # fmt: skip
        write_atomically(folder / INDEX, dumps(index))
        return index


@lru_cache(maxsize=1)  # a worker encodes many pieces
def _encoder(encoding: CaptionEncoding) -> TextEncoder:
    encoder = open_text_encoder(encoding.plan.text_encoder)
    encoder.to(torch.device(encoding.accelerator))
    return encoder


def _states(encoding: CaptionEncoding, texts: Sequence[str]) -> Tensor:
    states_NLC = _encoder(encoding).encode(texts).half()
    if not torch.isfinite(states_NLC).all():
        where = encoding.plan.text_encoder
        raise InputError(f"{where}: its states are not finite in float16; take another")
    return states_NLC


def _piece_name(texts: Sequence[str]) -> str:
    told = sha256("\n".join(texts).encode()).hexdigest()
    return f"captions-piece-{told[:24]}.safetensors"


def _encode_piece(encoding: CaptionEncoding, folder: Path, texts: Sequence[str]) -> None:
    path = folder / _piece_name(texts)
    if path.exists():
        return
    encoder = _encoder(encoding)
    cut = torch.tensor([encoder.is_cut(text) for text in texts])
    tensors = {TENSOR: _states(encoding, texts).contiguous(), CUT: cut}
    checkpoint.write_safetensors(path, tensors, {})


def _shards(files: Sequence[Path], rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """States and whether they are cut, so many rows at a time, of pieces one after another."""
    held: list[tuple[Tensor, Tensor]] = []
    count = 0
    for path in files:
        with safe_open(path, framework="pt") as file:
            part = file.get_tensor(TENSOR), file.get_tensor(CUT)
        while len(part[0]):
            room = rows - count
            held.append((part[0][:room], part[1][:room]))
            count += len(held[-1][0])
            part = part[0][room:], part[1][room:]
            if count == rows:
                yield torch.cat([s for s, _ in held]), torch.cat([c for _, c in held])
                held, count = [], 0
    if held:
        yield torch.cat([s for s, _ in held]), torch.cat([c for _, c in held])
