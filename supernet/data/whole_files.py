"""Files that an index names by hash: there, whole, and what they were."""

from dataclasses import dataclass
from functools import cache
from os import stat_result
from pathlib import Path
from stat import S_ISREG
from typing import Any

from search_spaces import InputError
from search_spaces.files.git_lfs import refuse_pointer
from supernet.checkpoint import file_sha256

POINTER_BYTES = 1024  # a pointer of Git LFS is smaller


@dataclass(frozen=True)
class NamedFile:
    """A file that was there when its folder was opened.

    Hashing a whole data set takes longer than many a training: a file is hashed when its content is
    first used in a process.
    """

    path: Path
    sha256: str
    stamp: tuple[int, int]  # size, and when it was written

    def whole(self) -> Path:
        """The file; InputError where its bytes are no longer what was written."""
        try:
            same = _sha256(self.path, _stamp(self.path.stat())) == self.sha256
        except OSError as error:
            raise InputError(f"{self.path}: can no longer be read: {error.strerror}") from None
        if not same:
            raise _changed(self.path)
        return self.path


def named_file(folder: Path, entry: Any, index: str) -> NamedFile:
    """The file that an entry of an index names, of which nothing is read.

    Raises:
        InputError: no name of a file in that folder, none there, or one of another size.
    """
    name = entry.get("file") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not _is_name(name):
        raise InputError(f"{folder / index}: {str(name)[:60]!r} is no name of a file beside it")
    path = folder / name
    try:
        found = path.stat()
    except OSError:
        found = None
    if found is None or not S_ISREG(found.st_mode):
        raise InputError(f"{path}: no such file, though {index} names it; encode again")
    if found.st_size < POINTER_BYTES:
        refuse_pointer(path)
    if entry.get("bytes", found.st_size) != found.st_size:
        raise _changed(path)
    return NamedFile(path, str(entry.get("sha256")), _stamp(found))


def whole_file(folder: Path, entry: Any, index: str) -> Path:
    """As `named_file`, and its bytes are what was written."""
    return named_file(folder, entry, index).whole()


def _changed(path: Path) -> InputError:
    return InputError(f"{path}: was changed since it was written; encode again")


def _is_name(name: str) -> bool:
    """Whether it is a file's own name, and leads nowhere else."""
    return Path(name).name == name and name not in {"", ".", ".."} and "\0" not in name


@cache  # clips are drawn from files in any order, and by three splits
def _sha256(path: Path, _stamp: tuple[int, int]) -> str:
    return file_sha256(path)


def _stamp(found: stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns
