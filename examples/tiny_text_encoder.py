"""A tiny CLIP text encoder with weights at random, in folders as diffusers and transformers have.

    python examples/tiny_text_encoder.py FOLDER
    python examples/tiny_text_encoder.py FOLDER --tokens 77 --width 768    as Stable Diffusion's

It understands nothing, and tells different captions apart: enough to try what takes one. Its
vocabulary is bytes and a few words, each a token of its own.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from supernet.text.clip_text import ClipText, ClipTextConfig

CONFIG = ClipTextConfig(
    vocab_size=600, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
    num_attention_heads=2, max_position_embeddings=12,
)  # fmt: skip


WORDS = ("the", "and", "one", "red")
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def byte_letters() -> dict[int, str]:
    """The letter that stands for each byte in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = [chr(byte) for byte in plain] + [chr(256 + place) for place in range(len(others))]
    return dict(zip([*plain, *others], letters, strict=True))


def pieces(word: str, merges: Sequence[str]) -> list[str]:
    """Byte-pair encoding of a word: of the pairs that are there, the earliest merge joins first."""
    letters = byte_letters()
    *parts, last = (letters[byte] for byte in word.encode())
    parts = [*parts, f"{last}</w>"]
    rank = {merge: place for place, merge in enumerate(merges)}
    while True:
        pairs = [" ".join(pair) for pair in pairwise(parts)]
        first = min((pair for pair in pairs if pair in rank), key=rank.__getitem__, default=None)
        if first is None:
            return parts
        at = pairs.index(first)
        parts[at : at + 2] = [first.replace(" ", "")]


def vocabulary(of: Sequence[str] = WORDS) -> tuple[dict[str, int], list[str]]:
    """Tokens by number, and merges: bytes, bytes that end a word, words, begin and end."""
    letters = list(byte_letters().values())
    merges: list[str] = []
    for word in of:
        # What comes later joins later, so that the words before stay whole.
        while len(parts := pieces(word, merges)) > 1:
            merges.append(" ".join(parts[:2]))
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [merge.replace(" ", "") for merge in merges]
    tokens += [BEGIN, END]
    return {token: number for number, token in enumerate(tokens)}, merges


def tiny_model(config: ClipTextConfig = CONFIG) -> ClipText:
    """The text model, with the same weights at random each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ClipText(config).eval().requires_grad_(requires_grad=False)


def write_tokenizer(
    folder: Path, length: int = 12, pad: str | None = None, of: Sequence[str] = WORDS
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokens, merges = vocabulary(of)
    (folder / "vocab.json").write_text(json.dumps(tokens), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    notes: dict[str, Any] = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length}
    if pad is not None:
        notes["pad_token"] = pad
    (folder / "tokenizer_config.json").write_text(json.dumps(notes))
    return folder


def write_model(folder: Path, config: ClipTextConfig = CONFIG, prefix: str = "text_model.") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"{prefix}{name}": t for name, t in tiny_model(config).state_dict().items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    document = {"model_type": "clip_text_model", "architectures": ["CLIPTextModel"], **vars(config)}
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def write_pipeline(
    folder: Path, config: ClipTextConfig = CONFIG, of: Sequence[str] = WORDS
) -> Path:
    """`text_encoder` and `tokenizer`, as a pipeline of diffusers has them."""
    write_model(folder / "text_encoder", config)
    write_tokenizer(folder / "tokenizer", config.max_position_embeddings, of=of)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--tokens", type=int, default=CONFIG.max_position_embeddings, help="of a text"
    )
    parser.add_argument("--width", type=int, default=CONFIG.hidden_size, help="of a state; even")
    asked = parser.parse_args()
    sizes = {"max_position_embeddings": asked.tokens, "hidden_size": asked.width}
    print(write_pipeline(asked.folder, replace(CONFIG, **sizes)))
