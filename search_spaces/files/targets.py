"""Where something may be written: nothing but ordinary files and folders is ever replaced.

Links are followed: what they lead to is replaced, and they stay. Devices, pipes and sockets are
refused, as whoever may write anywhere would put an ordinary file in their place.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from search_spaces.files.errors import InputError


def file_target(path: Path) -> Path:
    """Where a file may be written: an ordinary file or nothing stands there; links are followed.

    Raises:
        InputError: a folder, a device, a pipe or what this process prints to stands there, or a
            link that leads nowhere.
    """
    found = _status(path)
    if found is not None:
        if stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path}: is a folder; name a file in it")
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path}: is {_kind(found.st_mode)}; name an ordinary file")
        if any(os.path.samestat(found, printed) for printed in _printed()):
            raise InputError(f"{path}: is what this command prints to; name another file")
    return _followed(path)


def folder_target(path: Path) -> Path:
    """Where a folder may be put: a folder or nothing stands there; links are followed.

    Raises:
        InputError: a file, a device or a pipe stands there, or a link that leads nowhere.
    """
    found = _status(path)
    if found is not None and not stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path}: is {_kind(found.st_mode)}; name a folder")
    return _followed(path)


def made_folder(path: Path, target: Path) -> Path:
    """The folder of what will be written at `target`, which `path` names; made where missing."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    return target.parent


def check_right_to_write(path: Path, target: Path) -> None:
    """Refuse, before any work, a place where no file can be made: one without a name is tried.

    Raises:
        InputError: why not.
    """
    folder = next(each for each in target.absolute().parents if each.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def _status(path: Path) -> os.stat_result | None:
    """What stands at a path or at the end of its links; None where nothing does."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:  # links in a circle, a file in place of a folder, no right to look
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def _followed(path: Path) -> Path:
    """The path itself, or what its link leads to."""
    if not path.is_symlink():
        return path
    target = path.resolve()
    if not target.parent.is_dir():  # a disk that is not mounted, perhaps: no folder is made there
        raise InputError(f"{path}: is a link into a folder that is not there: {target.parent}")
    return target


def _kind(mode: int) -> str:
    """What stands there, in words."""
    kinds = {stat.S_IFREG: "a file", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _printed() -> Iterator[os.stat_result]:
    for stream in (1, 2):
        with suppress(OSError):  # closed
            yield os.fstat(stream)
