"""Find things by name, by file, or in a Python module: spaces here, strategies and recipes."""

import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from search_spaces.files import document
from search_spaces.files.errors import InputError
from search_spaces.shipped.published import Published
from search_spaces.space.space import FORMAT, MAJOR, SearchSpace
from search_spaces.unet.temporal import TemporalSpace, read_space

T = TypeVar("T")

# Shipped spaces: each is a module of this package with a `SPACE`, and where the space has
# parameters, `snapgen_v(frames=9)`, a function `space` that takes them.
SHIPPED = ("moving_digits", "snapgen_v", "snapgen_v_mini")
_WITH_PARAMETERS = re.compile(r"(\w+)\(([^()]*)\)\Z")


def load(name: str) -> SearchSpace:
    """A space by its shipped name, from a JSON file, or from Python as `package.module:name`.

    Raises:
        InputError: nothing of that name, a broken file, or an object that is no space.
    """
    spelled = _WITH_PARAMETERS.match(name)
    if name in SHIPPED:
        space: object = importlib.import_module(f"search_spaces.shipped.{name}").SPACE
    elif spelled and spelled[1] in SHIPPED:
        space = _with_parameters(spelled[1], spelled[2])
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


def load_temporal(name: str) -> TemporalSpace:
    """A space of temporal blocks by its name, as `load` finds it.

    Raises:
        InputError: nothing of that name, or a space of names alone, without a U-Net.
    """
    space = load(name)
    if not isinstance(space, TemporalSpace):
        raise InputError(
            f"space {space.name!r} has no U-Net to put blocks in; this needs one that has "
            "(supernet.train_paths trains a supernet of any space)"
        )
    return space


def load_twin(space: TemporalSpace, name: str) -> TemporalSpace:
    """The narrow space in which the quality of another is searched.

    Raises:
        InputError: nothing of that name, or a space of other choices.
    """
    twin = load_temporal(name)
    if twin.choices != space.choices:
        raise InputError(
            f"space {twin.name!r} is no twin of {space.name!r}: slots or options differ, so that a "
            "network of one is none of the other"
        )
    return twin


def twin_of(name: str) -> str | None:
    """The shipped space in which the quality of another is searched, by its name; None for most."""
    found: str | None = _said_of(name, "TWIN")
    return found


def published_of(name: str) -> Published | None:
    """What was published of a system that a shipped space follows; None for most.

    A space with parameters of its own is no longer the one that was published.
    """
    found: Published | None = _said_of(name, "PUBLISHED") if name in SHIPPED else None
    return found


def _said_of(name: str, what: str) -> Any:
    module = name.partition("(")[0]
    if module not in SHIPPED:
        return None
    return getattr(importlib.import_module(f"search_spaces.shipped.{module}"), what, None)


def _with_parameters(name: str, text: str) -> SearchSpace:
    """A shipped space with whole numbers for its parameters, as `frames=9,height=48`."""
    make = getattr(importlib.import_module(f"search_spaces.shipped.{name}"), "space", None)
    known = {} if make is None else dict(inspect.signature(make).parameters)
    known.pop("name", None)
    defaults = {parameter: known[parameter].default for parameter in known}
    given: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        parameter, _, value = (each.strip() for each in part.partition("="))
        whole = value.isascii() and value.isdigit() and len(value) <= 6 and int(value) >= 1
        if parameter not in known or parameter in given or not whole:
            listed = ", ".join(f"{each}={default}" for each, default in defaults.items())
            raise InputError(
                f"space {name}({text}): {part.strip()!r} is none of its parameters with a whole "
                f"number from 1; it has {listed or 'none'}"
            )
        given[parameter] = int(value)
    changed = {each: value for each, value in given.items() if value != defaults[each]}
    if not changed:
        return load(name)
    inside = ",".join(f"{each}={changed[each]}" for each in defaults if each in changed)
    assert make is not None
    return cast("SearchSpace", make(f"{name}({inside})", **changed))


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
