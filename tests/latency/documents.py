"""JSON documents of others, damaged in every place: what readers of reports are fuzzed with."""

import copy
import string
from typing import Any

from hypothesis import strategies as st


def put(content: Any, way: str, value: Any) -> Any:
    """A copy of a document with another value at the end of the way."""
    content = copy.deepcopy(content)
    *parents, last = way.split(".")
    at = content
    for name in parents:
        at = at[name]
    at[last] = value
    return content


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(string.printable, max_size=8)
    | st.text(max_size=8)
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["_0", "main", "block", "cpu", "weight"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


def ways(content: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in a document."""
    found = [so_far] if so_far else []
    inside = content.items() if isinstance(content, dict) else ()
    inside = enumerate(content) if isinstance(content, list) else inside
    return found + [way for key, value in inside for way in ways(value, (*so_far, key))]


def changed(content: Any, way: tuple[Any, ...], change: str, value: Any) -> None:
    """Change a document at one place, if the place is there."""
    at = content
    try:
        for key in way[:-1]:
            at = at[key]
        if change == "put":
            at[way[-1]] = copy.deepcopy(value)
        elif change == "drop":
            del at[way[-1]]
        elif isinstance(at, list):
            at.insert(way[-1], at[way[-1]])
    except (LookupError, TypeError):
        pass  # an earlier change took this place away
