"""CLIP's byte-pair tokenizer, from `tokenizer.json` or from `vocab.json` and `merges.txt`.

Texts become ids as transformers' CLIPTokenizer makes them; only the tokenizers library is needed,
which reads JSON and runs nothing.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces import InputError
from search_spaces.files.git_lfs import refuse_pointer
from supernet.text.special_tokens import (
    BEGIN,
    CONFIG,
    END,
    MAP,
    Notes,
    add_special_tokens,
    read_notes,
)

WHOLE, VOCABULARY, MERGES = "tokenizer.json", "vocab.json", "merges.txt"
# How CLIP splits a text (Radford et al. 2021, simple_tokenizer.py).
WORDS = (
    r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"""
    r"""|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
)


@dataclass(frozen=True)
class ClipTokenizer:
    """Ids of texts: a begin, the text's own as far as there is room, an end, and padding."""

    tokenizer: Any
    begin: int
    end: int
    pad: int
    length: int

    @property
    def largest(self) -> int:
        """The largest id there is."""
        return int(max(self.tokenizer.get_vocab(with_added_tokens=True).values()))

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Ids (N, length)."""
        rows = []
        for text in texts:
            row = [self.begin, *self._own(text)[: self.length - 2], self.end]
            rows.append(row + [self.pad] * (self.length - len(row)))
        return torch.tensor(rows, dtype=torch.long).reshape(len(rows), self.length)

    def is_cut(self, text: str) -> bool:
        """Whether a text has more tokens than there is room for."""
        return len(self._own(text)) > self.length - 2

    def _own(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return found


def tokenizer_files(folder: Path) -> list[Path]:
    """The files that decide the ids; InputError where they are missing."""
    whole = folder / WHOLE
    own = [whole] if whole.is_file() else [folder / VOCABULARY, folder / MERGES]
    if missing := next((path for path in own if not path.is_file()), None):
        raise InputError(
            f"{missing}: no such file; a tokenizer is {WHOLE}, or {VOCABULARY} and {MERGES}"
        )
    return [*own, *(folder / name for name in (MAP, CONFIG) if (folder / name).is_file())]


def open_tokenizer(folder: Path, most: int) -> ClipTokenizer:
    """The tokenizer in a folder, of texts of at most so many tokens.

    Raises:
        InputError: files that are missing or damaged, a vocabulary without CLIP's begin and end,
            or tokenizers is not installed.
    """
    files = tokenizer_files(folder)
    for path in files:
        refuse_pointer(path)
    try:
        library: Any = importlib.import_module("tokenizers")
    except ImportError:
        raise InputError(
            f"{folder}: a tokenizer needs tokenizers: pip install 'temporal-nas[text]'"
        ) from None
    try:
        found = _whole(library, files[0]) if files[0].name == WHOLE else _made(library, *files[:2])
    except Exception as error:  # noqa: BLE001, RUF100  # the library raises nothing narrower
        raise InputError(f"{files[0]}: no tokenizer: {error}") from None
    notes = read_notes(folder)
    begin, end = (_id(found, word, files[0]) for word in (BEGIN, END))
    add_special_tokens(library, found, notes)
    pad = _id(found, notes.pad, files[0])
    return ClipTokenizer(found, begin, end, pad, _length(notes, most))


def text_length(folder: Path, most: int) -> int | None:
    """How many ids a text has by the tokenizer in a folder, at most; None where there is none."""
    there = any((folder / name).is_file() for name in (WHOLE, VOCABULARY))
    return _length(read_notes(folder), most) if there else None


def _length(notes: Notes, most: int) -> int:
    return min(most, notes.length or most)


def _whole(library: Any, path: Path) -> Any:
    found = library.Tokenizer.from_file(str(path))
    found.no_padding()
    found.no_truncation()
    return found


def _made(library: Any, vocabulary: Path, merges: Path) -> Any:
    """As transformers makes it of the two files."""
    model = library.models.BPE.from_file(
        str(vocabulary), str(merges), unk_token=END, continuing_subword_prefix="",
        end_of_word_suffix="</w>", fuse_unk=False,
    )  # fmt: skip
    found = library.Tokenizer(model)
    normalizers, splits = library.normalizers, library.pre_tokenizers
    spaces = normalizers.Replace(library.Regex(r"\s+"), " ")
    found.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = splits.Split(library.Regex(WORDS), behavior="removed", invert=True)
    found.pre_tokenizer = splits.Sequence([words, splits.ByteLevel(add_prefix_space=False)])
    return found


def _id(tokenizer: Any, word: str, path: Path) -> int:
    found = tokenizer.token_to_id(word)
    if found is None:
        raise InputError(f"{path}: has no token {word!r}; it is no tokenizer of CLIP's")
    return int(found)
