"""What the workload of a module depends on, as one short text; for `latency.tracing.cache`."""

import enum
import functools
import hashlib
import json
import types
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latency.tracing.code_digest import PLAIN, Code, joined, name_of, reachable, text_of

# What a module's state says of training alone.
IGNORED = frozenset(
    ("training", "_backward_pre_hooks", "_backward_hooks", "_is_full_backward_hook")
)


class Indescribable(Exception):  # noqa: N818 - no error: the module is traced without a cache
    """Something in a module of which we cannot tell whether it is the same another time."""


@dataclass(frozen=True)
class Fingerprint:
    """Equal in every process in which the workload is."""

    key: str
    owners: frozenset[str]  # the Python modules that define what the network is made of
    code: Code  # those, and what they import


def fingerprint(
    module: nn.Module, inputs: Sequence[Tensor], codes: dict[frozenset[str], Code] | None = None
) -> Fingerprint:
    """Of the module's classes, settings and shapes, its code, and the inputs' shapes.

    `codes` remembers what was looked through: of many modules of one kind, once is enough.

    Raises:
        Indescribable: the module holds something whose content cannot be told.
    """
    description = _Description()
    content = [description.of(list(inputs)), description.of(module)]
    owners = frozenset({*description.owners, "latency.tracing.tracing"})
    codes = {} if codes is None else codes
    if owners not in codes:
        codes[owners] = reachable(owners)
    code = codes[owners]
    parts = [*content, code.digest, torch.__version__, str(torch.get_default_dtype())]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    return Fingerprint(key, owners, code)


@dataclass
class _Description:
    """Turns objects into texts that differ where a forward pass could differ."""

    # Objects that were met, kept alive, so that none takes another's id.
    met: dict[int, tuple[int, object]] = field(default_factory=dict)
    owners: set[str] = field(default_factory=set)

    def of(self, value: object) -> str:
        """The text of anything a module may hold; Indescribable where there is none."""
        if isinstance(value, (*PLAIN, torch.dtype, torch.Size, torch.memory_format, torch.layout)):
            return repr(value)
        if id(value) in self.met:
            return f"<{self.met[id(value)][0]}>"  # the very same: tied weights, a parent
        self.met[id(value)] = (len(self.met), value)
        for kinds, describe in self._ways():
            if isinstance(value, kinds):
                return describe(value)
        return self._object(value)

    def _ways(self) -> list[tuple[Any, Callable[[Any], str]]]:
        return [
            (Tensor, lambda t: f"{type(t).__name__}{tuple(t.shape)}{t.stride()}{t.dtype}"),
            (torch.device, lambda _: "device"),  # costs do not depend on it
            (np.ndarray | np.generic, self._array),
            (list | tuple, lambda items: name_of(type(items)) + joined(map(self.of, items))),
            (set | frozenset, lambda items: "set" + joined(sorted(map(self.of, items)))),
            (dict, lambda d: name_of(type(d)) + self._items(d)),
            (enum.Enum, lambda e: f"{self._named(type(e))}.{e.name}"),
            (type | types.ModuleType, self._named),
            (types.BuiltinFunctionType, self._builtin),
            (types.FunctionType, self._function),
            (types.MethodType, lambda m: f"{self.of(m.__self__)}.{self.of(m.__func__)}"),
            (functools.partial, lambda p: f"partial{self.of([p.func, p.args, p.keywords])}"),
            (weakref.ref, lambda r: f"ref {self.of(r())}"),
        ]

    def _named(self, thing: type | types.ModuleType) -> str:
        is_module = isinstance(thing, types.ModuleType)
        self.owners.add(thing.__name__ if is_module else thing.__module__)
        return name_of(thing)

    def _object(self, value: object) -> str:
        """Of an object of a class that is written in Python: the class and the attributes."""
        state = getattr(value, "__dict__", None)
        if state is None:
            raise Indescribable(name_of(type(value)))
        for base in type(value).__mro__:
            self._named(base)
        kept = {key: item for key, item in state.items() if key not in IGNORED}
        forward = getattr(type(value), "forward", None)  # may have been replaced in its class
        return joined((name_of(type(value)), self._items(kept), self.of(forward)))

    def _items(self, items: Mapping[Any, object]) -> str:
        return joined(joined((self.of(key), self.of(item))) for key, item in items.items())

    def _function(self, function: types.FunctionType) -> str:
        """Its code and what it holds; what it calls is found through its module."""
        self.owners.add(function.__module__ or "__main__")
        held = [_content(cell) for cell in function.__closure__ or ()]
        return text_of(function) + self.of([held, function.__defaults__, function.__kwdefaults__])

    def _builtin(self, function: types.BuiltinFunctionType) -> str:
        if not isinstance(function.__self__, type | types.ModuleType | None):
            raise Indescribable(f"a method of {name_of(type(function.__self__))}")
        return name_of(function)

    def _array(self, array: np.ndarray) -> str:
        if array.dtype.hasobject:
            raise Indescribable("an array of objects")
        return f"{array.dtype}{array.shape}{hashlib.sha256(array.tobytes()).hexdigest()}"


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # not filled yet
