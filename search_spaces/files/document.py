"""Versioned JSON documents: architectures, spaces and devices are all stored this way.

A document is an object with `format` and `version` ("MAJOR.MINOR"). Unknown fields are kept by
whoever reads and writes it again; a newer major version is refused.
"""

import json
import os
import shutil
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search_spaces.files.errors import InputError, LeftBehindWarning
from search_spaces.files.git_lfs import refuse_pointer
from search_spaces.files.targets import file_target, folder_target, made_folder

Json = dict[str, Any]
LARGEST = sys.float_info.max  # whole numbers in JSON know no bounds


def dumps(document: Mapping[str, Any]) -> str:
    """JSON text with numbers that every reader accepts (NaN and infinities are refused)."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a file that exists whole or not at all, even if the process is killed midway."""
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file for the body to write, which then takes the place of `path`, whole or not at all.

    A link stays, and what it leads to is replaced; a file keeps its mode.

    Raises:
        InputError: as `file_target`.
    """
    target = file_target(path)
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(dir=made_folder(path, target), prefix=f".{target.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(mode)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_folder(new: Path, path: Path) -> None:
    """Put a whole folder where another may stand; no reader ever sees a half of either.

    Where the new one cannot be put there, the other comes back. Where that cannot be removed
    afterwards, a `LeftBehindWarning` names what is left of it.
    """
    target = folder_target(path)
    if not target.exists():
        new.rename(target)
        return
    old = new.with_name(f"{new.name}.old")
    try:
        target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
    if old.exists():
        line = f"{old}: what stood at {path} before; it cannot be removed whole, remove it yourself"
        warnings.warn(line, LeftBehindWarning, stacklevel=2)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A folder for the body to fill, which then takes the place of `path`, whole or not at all.

    Raises:
        InputError: as `folder_target`.
    """
    target = folder_target(path)
    name = tempfile.mkdtemp(dir=made_folder(path, target), prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        replace_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read(path: Path, format_name: str, major: int) -> Json:
    """Read a document of the given format.

    Raises:
        InputError: missing or unreadable file, no JSON object, another format, a newer version.
    """
    refuse_pointer(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text: {error}") from None
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    return check(document, format_name, major, where=str(path))


def check(document: object, format_name: str, major: int, where: str) -> Json:
    """The document itself, once its format and version are known to be ours to read."""
    if not isinstance(document, dict):
        raise InputError(f"{where}: expected a JSON object with format {format_name!r}")
    if document.get("format") != format_name:
        found = document.get("format")
        raise InputError(f"{where}: expected format {format_name!r}, found {found!r}")
    version = document.get("version")
    try:
        found_major = int(str(version).split(".")[0])
    except ValueError:
        raise InputError(f"{where}: version {version!r} is not MAJOR.MINOR") from None
    if found_major > major:
        raise InputError(
            f"{where}: {format_name} version {version} is newer than the {major}.x that this "
            "version of temporal-nas reads; upgrade temporal-nas"
        )
    return document


def finite(value: object, where: str) -> float:
    """A finite number out of a document, or an InputError that says where it was wrong."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not -LARGEST <= value <= LARGEST:  # type: ignore[operator]
        raise InputError(f"{where}: expected a finite number, found {repr(value)[:40]}")
    return float(value)  # type: ignore[arg-type]


def positive(value: object, where: str) -> float:
    """A finite number above zero out of a document, or an InputError that says where."""
    number = finite(value, where)
    if number <= 0:
        raise InputError(f"{where}: expected a number above 0, found {value!r}")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not allowed")
