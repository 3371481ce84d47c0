"""Find things by name, by file, or in a Python module: spaces here, strategies and recipes."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, cast

from search_spaces import document
from search_spaces.errors import InputError
from search_spaces.space import FORMAT, MAJOR, SearchSpace
from search_spaces.temporal import read_space

T = TypeVar("T")

# Shipped spaces: each is a module of this package with a `SPACE`.
SHIPPED = ("moving_digits",)


def load(name: str) -> SearchSpace:
    """A space by its shipped name, from a JSON file, or from Python as `package.module:name`.

    Raises:
        InputError: nothing of that name, a broken file, or an object that is no space.
    """
    if name in SHIPPED:
        space: object = importlib.import_module(f"search_spaces.{name}").SPACE
    elif name.endswith(".json") or Path(name).is_file():
        space = read_space(document.read(Path(name), FORMAT, MAJOR), where=name)
    elif ":" in name:
        space = import_object(name, "space")
    else:
        raise InputError(
            f"unknown space {name!r}; shipped: {', '.join(SHIPPED)}; or give a space's JSON file, "
            "or package.module:name"
        )
    if not isinstance(space, SearchSpace):
        raise InputError(f"{name}: a {type(space).__name__} is not a SearchSpace")
    return space


def import_object(reference: str, what: str) -> object:
    """The object that `package.module:name` names; the current folder is searched too.

    Raises:
        InputError: the module or the name in it does not exist.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise InputError(f"{what} {reference!r}: expected package.module:name")
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` does, so that a file beside the user is found
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever somebody's module raises when it is imported
        raise InputError(
            f"{what} {reference!r}: cannot import {module_name}: {type(error).__name__}: {error}"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise InputError(f"{what} {reference!r}: {module_name} has no {attribute!r}") from None


def named_or_imported(reference: str, shipped: Mapping[str, T], what: str) -> T:
    """A callable of ours by name, or of a user's as `package.module:name`.

    Raises:
        InputError: nothing of that name, or what is there cannot be called.
    """
    if reference in shipped:
        return shipped[reference]
    if ":" not in reference:
        listed = ", ".join(shipped)
        raise InputError(f"unknown {what} {reference!r}; shipped: {listed}; or package.module:name")
    found = import_object(reference, what)
    if not callable(found):
        raise InputError(f"{what} {reference!r} is not callable")
    return cast("T", found)
