"""Find a source of clips by name, by folder, or in a Python module."""

import warnings
from collections.abc import Callable
from pathlib import Path

from search_spaces import AnyUNetShape, InputError
from search_spaces.shipped.loading import named_or_imported
from supernet.autoencoders.pixel_space import COLOURS
from supernet.data.captions import CaptionWarning, have_captions
from supernet.data.clips import ClipSource
from supernet.data.digits import MovingDigits
from supernet.data.latents import INDEX, LatentFolder
from supernet.data.splits import Split
from supernet.data.video_folder import SUFFIXES, VideoFolder

DIGITS = "digits"

# What a user's own data is: the clips of a split, shaped as a network wants them.
OpenClips = Callable[[AnyUNetShape, Split], ClipSource]
SOURCES: dict[str, OpenClips] = {DIGITS: MovingDigits}


def load_clips(name: str, shape: AnyUNetShape, split: Split) -> ClipSource:
    """The clips of a split, from what a person named.

    `digits`, a folder of videos, one of latents (`nas encode`), or package.module:name of an
    `OpenClips`.

    Raises:
        InputError: nothing of that name, or two things; clips that do not fit the shape, or no
            clips at all.
    """
    if name == DIGITS and _holds_clips(Path(name)):
        raise InputError(
            f"data {name!r}: is built in, and a folder stands here, too; give ./{name} for the "
            f"folder, or {MovingDigits.__module__}:{MovingDigits.__name__}"
        )
    if (Path(name) / INDEX).is_file():
        return LatentFolder(Path(name), shape, split)
    if name not in SOURCES and (Path(name).is_dir() or ":" not in name):
        return _videos(_folder(name), shape, split)
    opened = named_or_imported(name, SOURCES, "data")(shape, split)
    if not callable(getattr(opened, "clips", None)):
        raise InputError(
            f"data {name!r}: returned a {type(opened).__name__}, which has no clips(count, seed)"
        )
    return opened


def _holds_clips(folder: Path) -> bool:
    """Whether a folder may be meant: it has latents, or videos."""
    if not folder.is_dir():
        return False
    return any(path.name == INDEX or path.suffix.lower() in SUFFIXES for path in folder.iterdir())


def _videos(folder: Path, shape: AnyUNetShape, split: Split) -> VideoFolder:
    """A folder of videos; a word where they have captions, which it knows nothing of."""
    found = VideoFolder(folder, shape, split)
    if folder not in _hinted and have_captions(folder, found.videos):
        colours = COLOURS[shape.in_channels]  # a folder of videos has no others
        warnings.warn(
            f"{folder}: has captions, which are passed over; nas encode with `pixels={colours}` "
            "and `text_encoder=` makes data that asks for them, for a space whose contexts are "
            f"that text encoder's (here {shape.context_tokens} tokens of {shape.context_channels})",
            CaptionWarning, stacklevel=3,
        )  # fmt: skip
    _hinted.add(folder)
    return found


_hinted = set[Path]()  # once a process, of all splits: there may be many films


def _folder(name: str) -> Path:
    if not Path(name).is_dir():
        listed = ", ".join(SOURCES)
        raise InputError(
            f"unknown data {name!r}: no such folder of videos; or name {listed}, or give "
            "package.module:name"
        )
    return Path(name)
