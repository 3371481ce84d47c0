"""Weights (parameters) out of safetensors files, checked before a network is given them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from temporal_bundle.errors import BundleError
from temporal_bundle.manifest import one_line

Weights = dict[str, Tensor]
KINDS = ("F32", "F16", "BF16")
COUNTS = ("I64", "I32", "BOOL")  # of buffers, as how many batches a normalisation has seen
LARGEST_FLOAT16 = 65504.0  # what a phone computes in


def read_weights(file: Path) -> Weights:
    """The tensors of a safetensors file by name, in float32 (gigabytes, perhaps); counts as counts.

    Raises:
        BundleError: no whole file, other kinds of numbers, NaN, or numbers beyond float16.
    """
    found: Weights = {}
    kinds: dict[str, str] = {}
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                kinds[name] = tensors.get_slice(name).get_dtype()
                if kinds[name] in KINDS:
                    found[name] = tensors.get_tensor(name).float()
                elif kinds[name] in COUNTS:
                    found[name] = tensors.get_tensor(name)
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise BundleError(f"{file}: not a whole safetensors file: {one_line(str(error))}") from None
    for name, kind in kinds.items():
        if kind not in (*KINDS, *COUNTS):
            raise BundleError(
                f"{file}: {one_line(name)[:80]!r} is of {kind}, not {', '.join(KINDS)}"
            )
    for name, tensor in found.items():
        if (
            tensor.is_floating_point() and not (tensor.abs() <= LARGEST_FLOAT16).all()
        ):  # which is no NaN either
            raise BundleError(
                f"{file}: tensor {one_line(name)[:80]!r} holds NaN, or numbers beyond float16's "
                f"{LARGEST_FLOAT16:g}; train again"
            )
    return found


def assign(module: nn.Module, weights: Mapping[str, Tensor], device: str, where: Path) -> None:
    """Give a module of a program its parameters, as copies that it may train.

    Args:
        module: whose parameters are shapes.
        weights: its own, and perhaps others.
        device: where they are to be.
        where: the program's file, for what is said.

    Raises:
        BundleError: one is missing, or of another shape.
    """
    own = module.state_dict()
    for name, tensor in own.items():
        if name not in weights or weights[name].shape != tensor.shape:
            found = tuple(weights[name].shape) if name in weights else "no such tensor"
            raise BundleError(
                f"{where}: wants {name!r} of shape {tuple(tensor.shape)}, the weights have "
                f"{found}: they are another network's"
            )
    placed = {name: _placed(weights[name], device) for name in own}
    module.load_state_dict(placed, strict=True, assign=True)


def _placed(tensor: Tensor, device: str) -> Tensor:
    """A copy on a device; weights of 2D convolutions with channels last, which compute faster."""
    layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
    return tensor.detach().to(device, copy=True, memory_format=layout)
