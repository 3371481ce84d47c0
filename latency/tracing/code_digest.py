"""The Python code that a module depends on, as it is loaded; for `latency.tracing.cache`.

Both are looked at: loaded code, for its file may have been edited since, and the file, for the
objects that it makes. Code that a package manager installed is known by its package's version.
"""

import functools
import hashlib
import json
import site
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class Code:
    """The modules that were reached, and a digest of what they hold."""

    modules: frozenset[str]
    digest: str


def reachable(modules: Iterable[str]) -> Code:
    """What the named modules hold, and those that they import, as far as it is not installed."""
    pending, texts = list(modules), dict[str, list[str]]()
    while pending:
        name = pending.pop()
        if name not in texts and _is_own(name):
            texts[name], imported = _content(sys.modules[name])
            pending += imported
    content = json.dumps([sorted(texts.items()), sys.version, installed()])
    return Code(frozenset(texts), hashlib.sha256(content.encode()).hexdigest())


def text_of(value: object) -> str:
    """Of functions, classes and plain values: equal where they do the same, in every process."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, list | tuple | set | frozenset):
        items = [text_of(item) for item in value]
        return joined(sorted(items) if isinstance(value, set | frozenset) else items)
    if isinstance(value, dict):
        return joined(joined((text_of(key), text_of(item))) for key, item in value.items())
    if isinstance(value, types.CodeType):
        return joined((value.co_code.hex(), str(value.co_names), text_of(value.co_consts)))
    function = _function(value)
    if function is not None:
        return name_of(function) + text_of(
            (function.__code__, function.__defaults__, function.__kwdefaults__)
        )
    return name_of(value if isinstance(value, type | types.ModuleType) else type(value))


def joined(texts: Iterable[str]) -> str:
    """One text that no other texts give; quotes would double with every level of nesting."""
    return "".join(f"{len(text)}:{text}" for text in texts)


def name_of(thing: object) -> str:
    """`package.module.Class` of what was defined there."""
    own = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", "")
    return f"{getattr(thing, '__module__', '')}.{own}"


@functools.cache
def installed() -> str:
    """Names and versions of the installed packages, as their folders say."""
    folders = (Path(folder) for folder in sys.path if Path(folder).is_dir())
    found = {child.name for folder in folders for child in folder.glob("*.*-info")}
    return " ".join(sorted(found))


def _is_own(name: str) -> bool:
    """Whether a loaded module is neither Python's own nor installed."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return name == "__main__" or (isinstance(file, str) and not file.startswith(_managed()))


@functools.cache
def _managed() -> tuple[str, ...]:
    python = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return (*site.getsitepackages(), site.getusersitepackages(), *python)


def _content(module: types.ModuleType) -> tuple[list[str], list[str]]:
    """What a module holds, as texts, and the names of the modules that it may call."""
    texts, imported = [_digest(getattr(module, "__file__", None))], []
    for name, value in list(vars(module).items()):
        if name.startswith("__"):
            continue
        owner = getattr(value, "__module__", None)
        imported.append(value.__name__ if isinstance(value, types.ModuleType) else str(owner))
        if owner in (None, module.__name__):
            members = _members(value) if isinstance(value, type) else [value]
            texts.append(f"{name} = {text_of(value)} {text_of(members)}")
            for member in members:
                function = _function(member)
                if function is not None:
                    imported += _imports(function.__code__, module)
    return texts, imported


def _digest(file: str | None) -> str:
    try:
        return hashlib.sha256(Path(file or "").read_bytes()).hexdigest()
    except OSError:
        return ""  # typed in, or loaded out of an archive


def _members(owner: type) -> list[object]:
    """What a class holds itself: methods, properties, defaults."""
    members: list[object] = list(owner.__mro__[1:])
    for name, value in vars(owner).items():
        if name not in {"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__"}:
            parts = (value.fget, value.fset) if isinstance(value, property) else (value,)
            members += [name, *parts]
    return members


def _function(value: object) -> types.FunctionType | None:
    """The function below decorators and methods, where there is one."""
    while not isinstance(value, types.FunctionType):
        inner = getattr(value, "__wrapped__", None) or getattr(value, "__func__", None)
        if inner is None or isinstance(value, type):
            return None
        value = inner
    inner = getattr(value, "__wrapped__", None)
    return inner if isinstance(inner, types.FunctionType) else value


def _imports(code: types.CodeType, module: types.ModuleType) -> Iterator[str]:
    """Modules that a function may import when it runs."""
    package = getattr(module, "__package__", "") or ""
    for name in code.co_names:
        yield from (full for full in (name, f"{package}.{name}") if full in sys.modules)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _imports(inner, module)
