"""A tiny CLIP text encoder with weights at random, in folders as diffusers and transformers have.

    python examples/tiny_text_encoder.py FOLDER

It understands nothing, and tells different captions apart: enough to try what takes one. Its
vocabulary is bytes and a few words.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from supernet.text.clip_text import ClipText, ClipTextConfig

CONFIG = ClipTextConfig(
    vocab_size=600, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
    num_attention_heads=2, max_position_embeddings=12,
)  # fmt: skip


def byte_letters() -> list[str]:
    """The 256 letters that stand for bytes in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + place) for place in range(len(others))]


def vocabulary() -> tuple[dict[str, int], list[str]]:
    """Words by number, and merges: bytes, bytes that end a word, a few pairs, begin and end."""
    letters = byte_letters()
    merges = ["t h", "th e</w>", "a n", "an d</w>", "o n", "on e</w>", "r e", "re d</w>"]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += ["".join(merge.split()) for merge in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}, merges


def write_tokenizer(folder: Path, length: int = 12, pad: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    words, merges = vocabulary()
    (folder / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    notes: dict[str, Any] = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length}
    if pad is not None:
        notes["pad_token"] = pad
    (folder / "tokenizer_config.json").write_text(json.dumps(notes))
    return folder


def write_model(folder: Path, config: ClipTextConfig = CONFIG, prefix: str = "text_model.") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    weights = {f"{prefix}{name}": t for name, t in ClipText(config).state_dict().items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    document = {"model_type": "clip_text_model", "architectures": ["CLIPTextModel"], **vars(config)}
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def write_pipeline(folder: Path, config: ClipTextConfig = CONFIG) -> Path:
    """`text_encoder` and `tokenizer`, as a pipeline of diffusers has them."""
    write_model(folder / "text_encoder", config)
    write_tokenizer(folder / "tokenizer", config.max_position_embeddings)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    print(write_pipeline(parser.parse_args().folder))
