"""Networks that a function builds: on the meta device, where they cost no memory, or on the CPU.

Not every constructor or forward pass runs on meta: some read numbers (`.item()`, `.tolist()`,
`.numpy()`), some name the CPU. Such a network is built on the CPU, with weights.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from latency.tracing.reasons import first_line
from latency.tracing.tracing import trace
from latency.workload.workload import Workload
from search_spaces import InputError

INPUT = re.compile(r"(?:(?P<name>[^\W\d]\w*)=)?(?P<sizes>[\d, ]+)(?::(?P<dtype>\w+))?")
DEVICES = re.compile(r"\b(meta|devices?)\b")  # what is said where meta was the trouble
MOST_BYTES = 8e9  # weights that are worth the memory of a second try


@dataclass(frozen=True)
class InputShape:
    """Shape and type of one input, `1,77:int64`; given by name where it has one, `mask=1,77`."""

    sizes: tuple[int, ...]
    dtype: torch.dtype | None = None  # None: that of the weights
    name: str | None = None


def input_shapes(text: str) -> list[InputShape]:
    """The inputs that `1,3,224,224;mask=1,77:int64` describes.

    Raises:
        InputError: no sizes, a type that torch does not know, a name that is given twice.
    """
    found = [_input_shape(each.strip()) for each in text.split(";")]
    names = [each.name for each in found if each.name is not None]
    if len(set(names)) < len(names):
        raise InputError(f"shape {text!r}: an input is named twice")
    return found


def _input_shape(text: str) -> InputShape:
    match = INPUT.fullmatch(text)
    try:
        sizes = tuple(int(size) for size in match["sizes"].split(",")) if match else ()
    except ValueError:
        sizes = ()
    if not match or not sizes:
        raise InputError(
            f"shape {text!r}: expected whole numbers as 1,3,224,224, with a type as 1,77:int64, "
            "with a name as mask=1,77:bool, several by ;"
        )
    if min(sizes) < 1:
        raise InputError(f"shape {text!r}: sizes are at least 1")
    dtype = getattr(torch, match["dtype"], None) if match["dtype"] else None
    if match["dtype"] and not isinstance(dtype, torch.dtype):
        raise InputError(f"shape {text!r}: torch has no type {match['dtype']!r}; as int64, float16")
    return InputShape(sizes, dtype, match["name"])


def trace_built(build: object, shapes: Sequence[InputShape], name: str = "network") -> Workload:
    """The workload of the network that `build()` returns; a network that is one already serves.

    Raises:
        InputError: `build` raises or returns no torch module, or as `trace`.
    """
    if isinstance(build, nn.Module):
        return _trace(build, shapes, name)
    if not callable(build):
        raise InputError(f"{name}: a {type(build).__name__} is not callable and no torch module")
    try:
        with torch.device("meta"):
            module = build()
    except (Exception, SystemExit):  # whatever somebody's code raises
        return _trace(_built(build, name), shapes, name)
    _check(module, name)
    try:
        return _trace(module, shapes, name)
    except InputError as error:
        if not DEVICES.search(str(error)) or _parameter_bytes(module) > MOST_BYTES:
            raise
    return _trace(_built(build, name), shapes, name)


def _built(build: Callable[[], Any], name: str) -> nn.Module:
    """The network on the CPU."""
    try:
        module: nn.Module = build()
    except (Exception, SystemExit) as error:
        raise InputError(f"{name} raised {type(error).__name__}: {first_line(error)}") from error
    _check(module, name)
    return module


def _check(module: object, name: str) -> None:
    if not isinstance(module, nn.Module):
        raise InputError(f"{name} returned a {type(module).__name__}, no torch module")


def _trace(module: nn.Module, shapes: Sequence[InputShape], name: str) -> Workload:
    floats = (p.dtype for p in module.parameters() if p.is_floating_point())
    number = next(floats, torch.get_default_dtype())
    placed: list[Tensor] = []
    keywords: dict[str, Tensor] = {}
    for shape in shapes:
        try:
            x = torch.empty(shape.sizes, dtype=shape.dtype or number, device="meta")
        except (RuntimeError, OverflowError, TypeError) as error:  # more than a size can count
            sizes = ",".join(map(str, shape.sizes))
            raise InputError(f"`shape={sizes}`: no tensor is so large") from error
        if shape.name is None:
            placed.append(x)
        else:
            keywords[shape.name] = x
    return trace(module, *placed, name=name, keywords=keywords)


def _parameter_bytes(module: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
