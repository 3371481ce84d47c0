"""Open a text encoder from a folder that a person names, and tell one from another by its hash."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from search_spaces import InputError
from supernet.checkpoint import file_sha256
from supernet.text.clip_text import CONFIG, ClipText, clip_text_files, open_clip_text
from supernet.text.clip_tokenizer import ClipTokenizer, open_tokenizer, tokenizer_files

MODEL, TOKENIZER = "text_encoder", "tokenizer"  # folders of a pipeline of diffusers
CHUNK = 16  # texts at a time


@dataclass(frozen=True)
class ClipTextEncoder:
    """A CLIP text model and its tokenizer."""

    model: ClipText
    tokenizer: ClipTokenizer

    @property
    def tokens(self) -> int:
        """How many states a text has."""
        return self.tokenizer.length

    @property
    def width(self) -> int:
        """Channels of a state."""
        return self.model.config.hidden_size

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """States (N, L, C) in float32 on the CPU."""
        device = self.model.final_layer_norm.weight.device
        ids_NL = self.tokenizer.ids(texts)
        parts = [self.model(part.to(device)).cpu() for part in torch.split(ids_NL, CHUNK)]
        return torch.cat(parts)

    def is_cut(self, text: str) -> bool:
        """Whether a text has more tokens than are encoded."""
        return self.tokenizer.is_cut(text)

    def to(self, device: torch.device) -> object:
        """Move the weights."""
        return self.model.to(device)


def open_text_encoder(folder: Path) -> ClipTextEncoder:
    """A text encoder, of which nothing but numbers and words is read.

    Args:
        folder: of a diffusers pipeline (`text_encoder` and `tokenizer` in it), its `text_encoder`,
            or a CLIP text model of transformers with its tokenizer's files in it.

    Raises:
        InputError: nothing there, damaged, pickled, of another kind, or a tokenizer of another
            model.
    """
    model, tokenizer = text_encoder_parts(folder)
    opened = open_clip_text(model)
    config = opened.config
    words = open_tokenizer(tokenizer, config.max_position_embeddings)
    if words.largest >= config.vocab_size:
        raise InputError(
            f"{tokenizer}: has tokens up to number {words.largest}, and the text model's embedding "
            f"ends at {config.vocab_size - 1}; give the tokenizer that belongs to it"
        )
    if 2 * words.largest < config.vocab_size:  # some rows are of no token, but not most
        raise InputError(
            f"{tokenizer}: has tokens up to number {words.largest} of the {config.vocab_size} that "
            "the text model knows; give the tokenizer that belongs to it"
        )
    if config.end is not None and config.end != words.end:
        raise InputError(
            f"{tokenizer}: ends a text by token {words.end}, and the text model by {config.end}; "
            "give the tokenizer that belongs to it"
        )
    return ClipTextEncoder(opened, words)


def text_encoder_parts(folder: Path) -> tuple[Path, Path]:
    """Where the model is, and where its tokenizer is."""
    if (folder / MODEL).is_dir():
        return folder / MODEL, folder / TOKENIZER
    beside = folder.parent / TOKENIZER
    if folder.name == MODEL and (folder / CONFIG).is_file() and beside.is_dir():
        return folder, beside
    return folder, folder


def text_encoder_sha256(folder: Path) -> str:
    """What tells one text encoder from another: the hash of the files that decide its states."""
    model, tokenizer = text_encoder_parts(folder)
    files = [*clip_text_files(model), *tokenizer_files(tokenizer)]
    hashes = "".join(file_sha256(file) for file in files)
    return hashlib.sha256(hashes.encode()).hexdigest()
