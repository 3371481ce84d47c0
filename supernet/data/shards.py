"""WebDataset shards: `.tar` files of films and captions, read as a stream.

A sample is the files of one name, one after another: `00012.mp4` with `00012.txt`, or `00012.json`
that has `text` or `caption`. The webdataset library groups them; nothing is decoded by it, and
nothing is unpacked to where an archive says.
"""

import importlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from search_spaces import InputError
from search_spaces.files.git_lfs import refuse_pointer
from supernet.data.captions import plain

SUFFIX = ".tar"
CAPTIONS = ("txt", "json")
CAPTION_SUFFIXES = tuple(f".{name}" for name in CAPTIONS)
FIELDS = ("text", "caption")  # of JSON, the first that is there
BLOCK = 512
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
TOGETHER = "files of a sample must have one name and stand together: `tar --sort=name`"
COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
UNPACK = "unpack it to a plain .tar"


@dataclass(frozen=True)
class Sample:
    """A film of a shard."""

    name: str  # with its suffix
    film: bytes
    caption: str | None


@dataclass(frozen=True)
class ShardContents:
    """How many films a shard has, and whether it has captions."""

    films: int
    captioned: bool


def check_shard(path: Path, suffixes: tuple[str, ...], *, captioned: bool) -> ShardContents:
    """Refuse, before any work, an archive that was cut off, or of which something would be lost.

    Args:
        path: an archive.
        suffixes: of files that are films.
        captioned: whether captions count, and have to stand beside their films.

    Raises:
        InputError: says what is wrong with it.
    """
    _library(path)
    refuse_pointer(path)
    found: dict[str, list[str]] = {}
    last = None
    for name in _names(path, suffixes):
        key, _ = _key_and_suffix(name)
        own = found.setdefault(key, [])
        if name in own:
            raise InputError(f"{path}: has {name} twice; take one out")
        if captioned and own and key != last:
            raise InputError(f"{path}: {name} stands apart from {own[0]}; {TOGETHER}")
        own.append(name)
        last = key
    films = 0
    for own in found.values():
        films += _check_sample(path, own, suffixes, captioned=captioned)
    return ShardContents(films, films < sum(map(len, found.values())))


def _check_sample(
    path: Path, names: list[str], suffixes: tuple[str, ...], *, captioned: bool
) -> int:
    """Refuse two films, or a caption of none; how many films there are."""
    films = [name for name in names if name.lower().endswith(suffixes)]
    if len(films) > 1:
        raise InputError(f"{path}: {films[0]} and {films[1]} are films of one sample; keep one")
    if captioned and not films:
        raise InputError(f"{path}: {names[0]} is a caption without a film; {TOGETHER}")
    return len(films)


def _names(path: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Names of films and captions in order; InputError for an archive that was cut off."""
    names, why = [], "an archive ends in zeros, and this does not"
    try:
        with tarfile.open(path, "r:") as opened:
            archive: Any = opened
            while (member := archive.next()) is not None:
                archive.members = []  # else it would keep them all
                if member.isreg() and _counts(member.name, suffixes):
                    names.append(member.name)
            # A damaged header looks to it like the end.
            end = archive.offset
        with path.open("rb") as file:
            file.seek(end)
            block = file.read(BLOCK)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        block, why = b"", str(error)
    if _is_compressed(path):
        raise InputError(f"{path}: is compressed; {UNPACK}")
    if len(block) < BLOCK or any(block):
        raise InputError(f"{path}: is torn: {why}; copy it anew")
    return names


def _is_compressed(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(BLOCK).startswith(COMPRESSED)
    return False


def samples(path: Path, suffixes: tuple[str, ...]) -> Iterator[Sample]:
    """The films of a shard in order, one in memory at a time.

    Args:
        path: an archive that `check_shard` let pass.
        suffixes: of files that are films.

    Raises:
        InputError: a damaged archive, or a caption that is no text.
    """
    library = _library(path)
    try:
        with path.open("rb") as stream:
            # Opened here: webdataset would run what a name like `pipe:...` says.
            source = [{"url": path.name, "stream": stream}]
            select = partial(_counts, suffixes=suffixes)
            files = library.tar_file_expander(source, select_files=select)
            for sample in library.group_by_keys(files, keys=_key_and_suffix):
                if (found := _sample(sample, suffixes, path)) is not None:
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


def _counts(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file is a film or a caption: macOS puts `._NAME` beside each, which is none."""
    own = name.rpartition("/")[2]
    return not own.startswith(".") and own.lower().endswith((*suffixes, *CAPTION_SUFFIXES))


def _key_and_suffix(name: str) -> tuple[str, str]:
    """What is before the last dot, and after it: `walk.v2.mp4` is a film of `walk.v2`."""
    key, _, suffix = name.rpartition(".")
    return key, suffix


def _library(path: Path) -> Any:
    try:
        return importlib.import_module("webdataset.tariterators")
    except ImportError:
        raise InputError(
            f"{path}: shards need webdataset: pip install 'temporal-nas[webdataset]'"
        ) from None
