"""Weights and training state in safetensors: numbers and strings alone, no pickles."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from search_spaces import AnyUNetShape, InputError, SearchSpace
from search_spaces.files.document import replacing
from search_spaces.files.git_lfs import refuse_pointer

METADATA_KEY = "temporal-nas"
MAJOR = 1


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and what a person would want to know about them."""

    tensors: dict[str, Tensor]
    notes: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix.`, without it."""
        start = f"{prefix}."
        return {n.removeprefix(start): t for n, t in self.tensors.items() if n.startswith(start)}


def write(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    flat = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    document = json.dumps({"version": f"{MAJOR}.0", **notes})
    write_safetensors(path, flat, {METADATA_KEY: document})


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write plain safetensors whole or not at all; OSError where the disk is full."""
    with replacing(path) as temporary:  # never held in memory a second time
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:
            raise OSError(f"{path}: {error}") from None


def read(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        InputError: missing, truncated, not ours, of a newer version, or with NaN weights.
    """
    tensors, notes = _read(path, weights=True)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(f"{path}: tensor {name!r} holds NaN or infinity; train again")
    return Checkpoint(tensors, notes)


def read_notes(path: Path) -> dict[str, Any]:
    """What a checkpoint says of its weights, which are not read; InputError as of `read`."""
    return _read(path, weights=False)[1]


def _read(path: Path, *, weights: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    refuse_pointer(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys() if weights else ()
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path}: not a whole safetensors file: {error}") from None
    if METADATA_KEY not in metadata:
        raise InputError(f"{path}: safetensors, but no checkpoint of temporal-nas")
    try:
        notes = dict(json.loads(metadata[METADATA_KEY]))
        major = int(str(notes.get("version", "0")).split(".")[0])
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: its notes are damaged: {error}") from None
    if major > MAJOR:
        raise InputError(f"{path}: checkpoint version {notes['version']} is newer than {MAJOR}.x")
    return tensors, notes


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights strictly; InputError as of `check_weights`."""
    check_weights(module, weights, path)
    module.load_state_dict(dict(weights))


def check_weights(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are not those of a module.

    Raises:
        InputError: tensors are missing, left over, or of another shape.
    """
    own = module.state_dict()
    if missing := sorted(own.keys() - weights.keys()):
        raise InputError(f"{path}: lacks {len(missing)} tensors, first {missing[0]!r}")
    if extra := sorted(weights.keys() - own.keys()):
        raise InputError(f"{path}: has {len(extra)} tensors too many, first {extra[0]!r}")
    for name, tensor in own.items():
        if tensor.shape != weights[name].shape:
            raise InputError(
                f"{path}: {name!r} has shape {tuple(weights[name].shape)}, "
                f"the network wants {tuple(tensor.shape)}"
            )


def check_space(notes: Mapping[str, Any], space: SearchSpace, path: Path) -> None:
    """Refuse a checkpoint that was trained for another space."""
    found = notes.get("space")
    if found != json.loads(json.dumps(space.to_json())):
        name = found.get("name") if isinstance(found, dict) else None
        raise InputError(
            f"{path}: was trained for space {name!r}, which is not the given {space.name!r}; "
            "train again, or give the space it was trained for"
        )


def backbone_fits(shape: AnyUNetShape, notes: Mapping[str, Any]) -> bool:
    """Whether a backbone's checkpoint was trained at this shape."""
    space = notes.get("space")
    found = space.get("unet") if isinstance(space, dict) else None
    return bool(found == json.loads(json.dumps(shape.to_json())))


def file_sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
