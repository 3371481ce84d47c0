"""Folders of diffusers: config.json and safetensors, opened as a backbone and saved again.

Only numbers and names are read: nothing in such a folder is executed, and pickles are refused.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from search_spaces import AnyUNetShape, InputError, StableDiffusionShape, stable_diffusion_shape
from search_spaces.files.document import dumps, replacing_folder
from search_spaces.files.git_lfs import refuse_pointer
from search_spaces.unet.stable_diffusion import CONFIG
from supernet import checkpoint
from supernet.backbones.backbone import Backbone
from supernet.backbones.stable_diffusion import StableDiffusionUNet

STEM = "diffusion_pytorch_model"
WHOLE, INDEX = f"{STEM}.safetensors", f"{STEM}.safetensors.index.json"
# Where weights may be, the first that exists; diffusers has spelt the last two either way.
WEIGHTS = (
    ".safetensors",
    ".safetensors.index.json",
    ".fp16.safetensors",
    ".safetensors.index.fp16.json",
    ".fp16.safetensors.index.json",
)
SHARD_BYTES = 10_000_000_000  # as diffusers


def open_backbone(
    folder: Path,
    shape: AnyUNetShape | None = None,
    *,
    dtype: torch.dtype | None = torch.float32,
) -> StableDiffusionUNet:
    """The U-Net in a folder, ready to evaluate.

    Weights that have the type wanted stay where they are, mapped into memory: the folder's files
    may be replaced meanwhile, but not written into.

    Args:
        folder: config.json and weights, whole or in shards.
        shape: what it must be; None takes config.json's word and its sample_size.
        dtype: of all weights; None keeps what the file has.

    Raises:
        InputError: another family or shape, or weights that are missing, damaged or no numbers.
    """
    found = _shape(folder, shape)
    with torch.device("meta"):
        backbone = StableDiffusionUNet(found)
    weights = dict(mapped_weights(folder))
    checkpoint.check_weights(backbone, weights, folder)
    wanted = dtype or weights["conv_in.weight"].dtype
    ready = {
        name: _finite(tensor, wanted, f"{folder}: tensor {name!r}")
        for name, tensor in weights.items()
    }
    backbone.load_state_dict(ready, assign=True)
    return backbone.eval()


def save_backbone(
    backbone: Backbone, folder: Path, *, overwrite: bool = False, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write a backbone as a folder that diffusers opens; it exists whole or not at all.

    Raises:
        InputError: a backbone that diffusers has no name for, or something stands there already.
    """
    if not isinstance(backbone, StableDiffusionUNet):
        kind = type(backbone).__name__
        raise InputError(f"{folder}: diffusers knows no {kind}; a StableDiffusionUNet can be saved")
    _check_free(folder, overwrite=overwrite)
    with replacing_folder(folder) as temporary:
        (temporary / CONFIG).write_text(dumps(backbone.shape.config()), encoding="utf-8")
        _write_weights(backbone.state_dict(), temporary, shard_bytes)


def _shape(folder: Path, wanted: AnyUNetShape | None) -> StableDiffusionShape:
    """The folder's shape, which is the one wanted in all that decides the weights' meaning."""
    if wanted is None:
        return stable_diffusion_shape(folder)
    if not isinstance(wanted, StableDiffusionShape):
        raise InputError(
            f"{folder}: holds a U-Net of diffusers, and the space has another kind; make the "
            "space from this folder's stable_diffusion_shape"
        )
    found = stable_diffusion_shape(
        folder,
        frames=wanted.frames,
        height=wanted.height,
        width=wanted.width,
        context_tokens=wanted.context_tokens,
    )
    own, others = asdict(found), asdict(wanted)
    for name in own.keys() - {"sample_size"}:
        if own[name] != others[name]:
            raise InputError(
                f"{folder / CONFIG}: {name} is {own[name]}, and {others[name]} is wanted; "
                "make the space from this folder's stable_diffusion_shape"
            )
    return wanted


def mapped_weights(folder: Path, stem: str = STEM) -> Iterator[tuple[str, Tensor]]:
    """The tensors by name, not yet read; transformers calls its files by another stem."""
    for file, names in weight_files(folder, stem):
        refuse_pointer(file)
        try:
            with safe_open(file, framework="pt") as opened:
                held = set(opened.keys())
                for name in held if names is None else names:
                    if name not in held:
                        raise InputError(f"{file}: lacks {name!r}, which the index puts there")
                    yield name, opened.get_tensor(name)
        except FileNotFoundError:
            raise InputError(f"{file}: no such file, though the index names it") from None
        except (OSError, SafetensorError, ValueError) as error:
            raise InputError(f"{file}: not a whole safetensors file: {error}") from None


def weight_files(folder: Path, stem: str = STEM) -> list[tuple[Path, list[str] | None]]:
    """The files that hold the weights, with the tensors wanted of each; None is all."""
    whole, index, *_ = (f"{stem}{suffix}" for suffix in WEIGHTS)
    for path in (folder / f"{stem}{suffix}" for suffix in WEIGHTS):
        if path.exists():
            return _shards(path) if path.suffix == ".json" else [(path, None)]
    if pickles := sorted(folder.glob("*.bin")):
        raise InputError(
            f"{pickles[0]}: a pickle, which may run code when opened; save the network as "
            "safetensors (save_pretrained of diffusers does)"
        )
    raise InputError(f"{folder}: has no weights; {whole} or {index} is needed")


def _shards(index: Path) -> list[tuple[Path, list[str] | None]]:
    refuse_pointer(index)
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        items = sorted(places.items())
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index}: not an index of shards: {error!r}") from None
    shards: dict[str, list[str]] = {}
    for name, place in items:
        here = isinstance(place, str) and Path(place).name == place
        if not here or not place.endswith(".safetensors"):
            raise InputError(
                f"{index}: {str(place)[:60]!r} is no name of a safetensors file in this folder"
            )
        shards.setdefault(place, []).append(name)
    return [(index.parent / place, names) for place, names in shards.items()]


def _finite(tensor: Tensor, dtype: torch.dtype, where: str) -> Tensor:
    if not tensor.is_floating_point():
        raise InputError(f"{where} holds {tensor.dtype}, where floating-point numbers are needed")
    found = tensor.to(dtype)
    if not torch.isfinite(found).all():
        raise InputError(f"{where} holds NaN or infinity in {dtype}; take other weights or type")
    return found


def _check_free(folder: Path, *, overwrite: bool) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    if not overwrite:
        raise InputError(f"{folder}: exists already; give another name, or overwrite=True")
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"{folder}: not a plain folder, so it is not overwritten")
    others = (f.name for f in folder.iterdir() if f.name != CONFIG and not f.name.startswith(STEM))
    if other := next(others, None):
        raise InputError(f"{folder}: holds {other!r} too, which overwriting would lose")


def _write_weights(weights: Mapping[str, Tensor], folder: Path, shard_bytes: int) -> None:
    shards = _split(weights, shard_bytes)
    if len(shards) == 1:
        _write_shard(weights, shards[0], folder / WHOLE)
        return
    places: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        place = f"{STEM}-{number:05}-of-{len(shards):05}.safetensors"
        _write_shard(weights, names, folder / place)
        places |= dict.fromkeys(names, place)
    total = sum(tensor.nbytes for tensor in weights.values())
    content: dict[str, Any] = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / INDEX).write_text(dumps(content), encoding="utf-8")


def _write_shard(weights: Mapping[str, Tensor], names: list[str], path: Path) -> None:
    tensors = {name: weights[name].detach().contiguous().cpu() for name in names}
    save_file(tensors, path, metadata={"format": "pt"})  # diffusers asks for the format


def _split(weights: Mapping[str, Tensor], shard_bytes: int) -> list[list[str]]:
    """Names in runs of at most so many bytes, or of one tensor."""
    shards: list[list[str]] = [[]]
    held = 0
    for name, tensor in weights.items():
        if shards[-1] and held + tensor.nbytes > shard_bytes:
            shards.append([])
            held = 0
        shards[-1].append(name)
        held += tensor.nbytes
    return shards
