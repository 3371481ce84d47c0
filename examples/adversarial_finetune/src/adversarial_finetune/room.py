"""Disk space and rights for what a command will write, tried before it computes for minutes.

To ask for rights and free space answers little: root may not write on a read-only mount, quotas and
limits of a process show only when a file grows. So files of the sizes are made, and removed.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path

from safetensors import safe_open

from adversarial_finetune.errors import InputError
from temporal_bundle import WEIGHTS, Bundle

NOT_HERE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}  # the file system reserves nothing


def size_of_weights(bundle: Bundle) -> int:
    """Bytes of a network's weights in float32, by the header of their file."""
    with safe_open(bundle.path / WEIGHTS, framework="pt") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
    return sum(4 * prod(shape) for shape in shapes)


@contextmanager
def reserved(files: Sequence[tuple[Path, int]]) -> Iterator[None]:
    """Hold room for files, by their sizes in bytes, while the body runs; nothing is left then.

    Raises:
        InputError: one of them cannot be written, before the body runs.
    """
    with ExitStack() as held:
        for file, size in files:
            check_ordinary(file)
            held.enter_context(_held(_folder(file), size, file))
        yield


def check_ordinary(file: Path) -> None:
    """Refuse to put a file in the place of what is none: root may replace devices, too.

    Raises:
        InputError: a link, a folder, a device or a pipe stands there.
    """
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise InputError(f"{file}: no ordinary file stands there; remove it, or choose another")


def check_files(*files: Path) -> None:
    """Refuse places where no file can be written.

    Raises:
        InputError: which, and why.
    """
    with reserved([(file, 0) for file in files]):
        pass


def check_parent(file: Path, flag: str) -> None:
    """Refuse a file that a flag names, where none can be written.

    Raises:
        InputError: why.
    """
    if not file.parent.is_dir():
        raise InputError(f"{flag} {file}: there is no folder {file.parent}")
    check_files(file)


def check_folder(folder: Path) -> None:
    """Refuse a place where no folder can stand, or where it would take no files.

    Raises:
        InputError: why.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is no folder; choose another")
    with _held(_folder(folder / "any"), 0, folder):
        pass


@contextmanager
def _held(folder: Path, size: int, wanted: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            _grow(stream.fileno(), size, folder)
        except OSError as error:
            mend = f"make room for {size / 1e6:,.1f} MB there, or choose" if size else "choose"
            raise InputError(
                f"{wanted}: could not be written ({error.strerror}), so nothing was begun; {mend} "
                "a folder that takes files"
            ) from None
        yield


def _folder(file: Path) -> Path:
    """The folder that is there already, in which those that are missing will be made."""
    return next(each for each in file.parents if each.exists())


def _grow(handle: int, size: int, folder: Path) -> None:
    if size == 0:
        return
    try:
        os.posix_fallocate(handle, 0, size)
    except AttributeError:  # macOS
        _check_free(size, folder)
    except OSError as error:
        if error.errno not in NOT_HERE:
            raise
        _check_free(size, folder)


def _check_free(size: int, folder: Path) -> None:
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
