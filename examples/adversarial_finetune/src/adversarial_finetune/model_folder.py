"""Folders of a model, as transformers and diffusers save them.

config.json and one safetensors file are read: nothing is executed, unpickled or fetched.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adversarial_finetune.errors import InputError
from temporal_bundle import LFS_WORDS, is_lfs_pointer
from temporal_bundle.manifest import one_line

CONFIG = "config.json"


def read_config(file: Path, what: str) -> dict[str, Any]:
    """A JSON object of a folder.

    Args:
        file: of it.
        what: the folder should hold, for messages.

    Raises:
        InputError: no such file, or no JSON object.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file.parent}: is no folder of {what}: {file.name} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not valid JSON: {one_line(str(error))}") from None
    if not isinstance(found, dict):
        raise InputError(f"{file}: expected a JSON object")
    return found


def weights_of(folder: Path, name: str) -> Path:
    """The one safetensors file that holds a folder's weights.

    Raises:
        InputError: there is none, or it was not fetched.
    """
    file = folder / name
    if not file.is_file() or (folder / f"{name}.index.json").exists():
        raise InputError(
            f"{folder}: holds no {name} with all weights; pickles (.bin) and parts are not read: "
            "save_pretrained writes it"
        )
    if is_lfs_pointer(file):
        raise InputError(f"{file}: {LFS_WORDS}")
    return file


def library(name: str, flag: str, extra: str) -> Any:
    """A package that a flag needs, imported when it is asked for.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise InputError(
            f"{flag}: needs {name}: pip install 'adversarial-finetune[{extra}]'"
        ) from None


def refusal(folder: Path, error: Exception) -> InputError:
    """What a library says of a folder that it cannot open, in one line."""
    return InputError(f"{folder}: cannot be opened: {one_line(str(error))[:300]}")


def check_weights(folder: Path, model: nn.Module, missing: set[str]) -> None:
    """Refuse a model of which some weights would stay at random, or are no numbers.

    Raises:
        InputError: which are missing, or why.
    """
    if missing:
        raise InputError(
            f"{folder}: holds no weights for {len(missing)} of its tensors, first "
            f"{min(missing)!r}; they would stay at random"
        )
    if not all(torch.isfinite(each).all() for each in model.parameters()):
        raise InputError(f"{folder}: its weights hold NaN or infinite numbers; take others")
