"""WebDataset shards: `.tar` files of films and captions, read as a stream.

A sample is the files of one name: `00012.mp4` with `00012.txt`, or `00012.json` that has `text` or
`caption`. The webdataset library groups them; nothing is decoded by it, and nothing is unpacked to
where an archive says.
"""

import importlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces import InputError
from search_spaces.files.git_lfs import refuse_pointer
from supernet.data.captions import plain

SUFFIX = ".tar"
CAPTIONS = ("txt", "json")
FIELDS = ("text", "caption")  # of JSON, the first that is there
BLOCK = 512


@dataclass(frozen=True)
class Sample:
    """A film of a shard."""

    name: str  # with its suffix
    film: bytes
    caption: str | None


def check_shard(path: Path) -> None:
    """Refuse, before any work, an archive that was cut off, or that nothing here can read.

    Raises:
        InputError: says which.
    """
    _library(path)
    refuse_pointer(path)
    why = "an archive ends in zeros, and this does not"
    try:
        with tarfile.open(path, "r:") as opened:
            archive: Any = opened
            while archive.next() is not None:
                archive.members = []  # else it would keep them all
            # A damaged header looks to it like the end.
            end = archive.offset
        with path.open("rb") as file:
            file.seek(end)
            block = file.read(BLOCK)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        block, why = b"", str(error)
    if len(block) < BLOCK or any(block):
        raise InputError(f"{path}: is torn: {why}; copy it anew")


def samples(path: Path, suffixes: tuple[str, ...]) -> Iterator[Sample]:
    """The films of a shard in order, one in memory at a time.

    Args:
        path: an archive as of `check_shard`.
        suffixes: of files that are films.

    Raises:
        InputError: a damaged archive, a name that stands twice in a sample, or a caption that is
            no text.
    """
    library = _library(path)
    try:
        with path.open("rb") as stream:
            # Opened here: webdataset would run what a name like `pipe:...` says.
            source = [{"url": path.name, "stream": stream}]
            files = library.tar_file_expander(source, select_files=_is_visible)
            seen = set[str]()
            for sample in library.group_by_keys(files, keys=_key_and_suffix):
                if (found := _sample(sample, suffixes, path)) is None:
                    continue
                if found.name in seen:
                    raise InputError(f"{path}: has {found.name} twice; take one out")
                seen.add(found.name)
                yield found
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        said = str(error.args[0] if error.args else error).partition(" @ ")[0]
        raise InputError(f"{path}: cannot be read to its end: {said}") from None


def _sample(found: dict[str, Any], suffixes: tuple[str, ...], path: Path) -> Sample | None:
    """A film and its caption; None where there is no film."""
    films = sorted(name for name in found if f".{name}" in suffixes)
    if not films:
        return None
    key = str(found["__key__"])
    return Sample(f"{key}.{films[0]}", found[films[0]], _caption(found, f"{path}: {key}"))


def _caption(found: dict[str, Any], where: str) -> str | None:
    """What is written beside a film; None where nothing is."""
    name = next((name for name in CAPTIONS if name in found), None)
    if name is None:
        return None
    try:
        text: Any = bytes(found[name]).decode("utf-8-sig")
        if name == "json":
            text = json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{where}.{name}: cannot be read: {error}") from None
    if isinstance(text, dict):
        text = next((text[field] for field in FIELDS if field in text), None)
    if text is None:
        return None
    if not isinstance(text, str):
        raise InputError(f"{where}.{name}: a caption must be a text; found {repr(text)[:40]}")
    return plain(text, f"{where}.{name}") or None


def _is_visible(name: str) -> bool:
    """Whether a file counts: macOS puts `._NAME` beside each."""
    return not name.rpartition("/")[2].startswith(".")


def _key_and_suffix(name: str) -> tuple[str | None, str]:
    """What is before the last dot, and after it: `walk.v2.mp4` is a film of `walk.v2`."""
    key, dot, suffix = name.rpartition(".")
    return (key, suffix) if dot and "/" not in suffix else (None, "")


def _library(path: Path) -> Any:
    try:
        return importlib.import_module("webdataset.tariterators")
    except ImportError:
        raise InputError(
            f"{path}: shards need webdataset: pip install 'temporal-nas[webdataset]'"
        ) from None
