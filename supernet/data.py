"""Find a source of clips by name, by folder, or in a Python module."""

from collections.abc import Callable

from search_spaces import InputError, UNetShape
from search_spaces.loading import named_or_imported
from supernet.clips import ClipSource
from supernet.digits import MovingDigits, Split

DIGITS = "digits"

# What a user's own data is: the clips of a split, shaped as a network wants them.
OpenClips = Callable[[UNetShape, Split], ClipSource]
SOURCES: dict[str, OpenClips] = {DIGITS: MovingDigits}


def load_clips(name: str, shape: UNetShape, split: Split) -> ClipSource:
    """The clips of a split: `digits`, or package.module:name of an `OpenClips`.

    Raises:
        InputError: nothing of that name, or what is there yields no clips.
    """
    opened = named_or_imported(name, SOURCES, "data")(shape, split)
    if not callable(getattr(opened, "clips", None)):
        raise InputError(
            f"data {name!r}: returned a {type(opened).__name__}, which has no clips(count, seed)"
        )
    return opened
