"""The tensors of whatever a module returns: containers, data classes, objects."""

import dataclasses
from collections.abc import Iterator

from torch import Tensor, nn


def returned_tensors(output: object) -> list[Tensor]:
    """The tensors in an output, in order; of an object that is no container, its attributes'."""
    return list(_walk(output, {}))


def _walk(value: object, met: dict[int, object]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif id(value) not in met and not isinstance(value, str | bytes | type | nn.Module):
        met[id(value)] = value
        for item in _items(value):
            yield from _walk(item, met)


def _items(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from dict.values(value)
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif dataclasses.is_dataclass(value):
        yield from (getattr(value, field.name) for field in dataclasses.fields(value))
    else:
        try:  # past the object's own code, which may answer anything
            state = object.__getattribute__(value, "__dict__")
        except AttributeError:
            return
        yield from dict.values(state)
