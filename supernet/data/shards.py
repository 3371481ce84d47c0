"""WebDataset shards: `.tar` files of films and captions, read as a stream.

A sample is the files of one name up to its first dot, one after another, as webdataset has it;
where several films share that name, each has the files of its own name up to the last dot. So
`0.video.mp4` goes with `0.caption.txt`, and beside `walk.2.mp4`, `walk.1.mp4` with `walk.1.txt`.
The webdataset library groups them; nothing is decoded by it, and nothing is unpacked to where an
archive says.
"""

import importlib
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from search_spaces import InputError
from search_spaces.files.git_lfs import refuse_pointer
from supernet.data.shard_captions import MOST_BYTES, caption_of, is_caption, is_json

SUFFIX = ".tar"
BLOCK = 512
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
TOGETHER = "files of a sample must have one name and stand together: `tar --sort=name`"
COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
UNPACK = "unpack it to a plain .tar"
META = re.compile(r"__[^/]*__($|/)")  # what webdataset itself passes over
META_PREFIX = "__"


@dataclass(frozen=True)
class Sample:
    """A film of a shard."""

    name: str  # with its suffix
    film: bytes
    caption: str | None


@dataclass(frozen=True)
class ShardContents:
    """What a shard has.

    Args:
        films: how many.
        captioned: whether there are captions; where they count, ones that say something.
        passed_over: a line about files that are of no film, if there are any.
    """

    films: int
    captioned: bool
    passed_over: str | None = None


class _File(NamedTuple):
    """A film or a caption in an archive."""

    name: str
    number: int  # among those
    offset: int
    size: int


def check_shard(path: Path, suffixes: tuple[str, ...], *, captioned: bool) -> ShardContents:
    """Refuse, before any work, an archive that was cut off, or of which something would be lost.

    Args:
        path: an archive.
        suffixes: of files that are films.
        captioned: whether captions count, and have to stand beside their films. They are read.

    Raises:
        InputError: says what is wrong with it.
    """
    _library(path)
    refuse_pointer(path)
    files = _files(path, suffixes)
    shared = _shared([file.name for file in files], suffixes)
    found: dict[str, dict[str, _File]] = {}
    for file in files:
        key, _ = _key_and_suffix(file.name, shared)
        own = found.setdefault(key, {})
        if file.name in own:
            raise InputError(f"{path}: has {file.name} twice; take one out")
        own[file.name] = file
    films, captions, alone = 0, 0, list[str]()
    with path.open("rb") as stream:
        for own in found.values():
            film = _film(path, own, suffixes)
            films += film is not None
            if film is None:
                alone.extend(own)
            elif captioned:
                captions += _check_sample(path, film, own, stream) is not None
            else:
                captions += len(own) - 1
    # What begins so tells of the shard, not of a film.
    alone = [name for name in alone if f"/{META_PREFIX}" not in f"/{name}"]
    if not captioned:
        return ShardContents(films, captions > 0 or not all(map(is_json, alone)))
    return ShardContents(films, captions > 0, _passed_over(path, alone))


def _film(path: Path, own: dict[str, _File], suffixes: tuple[str, ...]) -> str | None:
    """The film of a sample; two are refused."""
    films = [name for name in own if name.lower().endswith(suffixes)]
    if len(films) > 1:
        raise InputError(f"{path}: {films[0]} and {films[1]} are films of one sample; keep one")
    return films[0] if films else None


def _check_sample(path: Path, film: str, own: dict[str, _File], stream: BinaryIO) -> str | None:
    """The caption of a film; one that stands apart is refused, as is one that is no text."""
    files = list(own.values())
    for before, file in pairwise(files):
        if file.number != before.number + 1:
            raise InputError(f"{path}: {file.name} stands apart from {files[0].name}; {TOGETHER}")

    def read(name: str) -> bytes:
        stream.seek(own[name].offset)
        return stream.read(min(own[name].size, MOST_BYTES + 1))

    try:
        return caption_of(film, list(own), read, str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _passed_over(path: Path, alone: list[str]) -> str | None:
    """A line about JSON of no film, such as what a download tells of one that failed."""
    if text := next((name for name in alone if not is_json(name)), None):
        raise InputError(f"{path}: {text} is a caption without a film; {TOGETHER}")
    if not alone:
        return None
    return f"{path}: {len(alone)} .json without a film passed over, the first: {alone[0]}"


def _files(path: Path, suffixes: tuple[str, ...]) -> list[_File]:
    """Films and captions in order; InputError for an archive that was cut off."""
    files, why = list[_File](), "an archive ends in zeros, and this does not"
    try:
        with tarfile.open(path, "r:") as opened:
            archive: Any = opened
            while (member := archive.next()) is not None:
                archive.members = []  # else it would keep them all
                if member.isreg() and _counts(member.name, suffixes):
                    place = member.offset_data, member.size
                    files.append(_File(member.name, len(files), *place))
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
    return files


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
    shared = _shared([file.name for file in _files(path, suffixes)], suffixes)
    try:
        with path.open("rb") as stream:
            # Opened here: webdataset would run what a name like `pipe:...` says.
            source = [{"url": path.name, "stream": stream}]
            select = partial(_counts, suffixes=suffixes)
            files = library.tar_file_expander(source, select_files=select)
            keys = partial(_key_and_suffix, shared=shared)
            for sample in library.group_by_keys(files, keys=keys, lcase=False):
                if (found := _sample(sample, suffixes, path)) is not None:
                    yield found
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        said = str(error.args[0] if error.args else error).partition(" @ ")[0]
        raise InputError(f"{path}: cannot be read to its end: {said}") from None


def _sample(found: dict[str, Any], suffixes: tuple[str, ...], path: Path) -> Sample | None:
    """A film and its caption; None where there is no film."""
    key = found["__key__"]
    own = {f"{key}.{name}": held for name, held in found.items() if isinstance(held, bytes)}
    film = next((name for name in own if name.lower().endswith(suffixes)), None)
    if film is None:
        return None
    stem, _, suffix = film.rpartition(".")
    caption = caption_of(film, list(own), own.__getitem__, str(path))
    return Sample(f"{stem}.{suffix.lower()}", own[film], caption)


def _counts(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file is a film or a caption: macOS puts `._NAME` beside each, which is none."""
    own = name.rpartition("/")[2]
    counts = own.lower().endswith(suffixes) or is_caption(own)
    return counts and not own.startswith(".") and not META.match(name)


def _shared(names: Sequence[str], suffixes: tuple[str, ...]) -> frozenset[str]:
    """The names up to the first dot that several films have."""
    films = (name for name in names if name.lower().endswith(suffixes))
    counts = Counter(_key_and_suffix(name, frozenset())[0] for name in films)
    return frozenset(key for key, count in counts.items() if count > 1)


def _key_and_suffix(name: str, shared: frozenset[str]) -> tuple[str, str]:
    """What tells a sample from others, and the rest of a name without the dot between them."""
    folder, slash, base = name.rpartition("/")
    first, _, rest = base.partition(".")
    key = f"{folder}{slash}{first}"
    if key not in shared:
        return key, rest
    key, _, rest = name.rpartition(".")
    return key, rest


def _library(path: Path) -> Any:
    try:
        return importlib.import_module("webdataset.tariterators")
    except ImportError:
        raise InputError(
            f"{path}: shards need webdataset: pip install 'temporal-nas[webdataset]'"
        ) from None
