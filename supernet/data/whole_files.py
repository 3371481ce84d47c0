"""Files that an index names by hash: there, whole, and what they were."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from search_spaces import InputError
from search_spaces.files.git_lfs import refuse_pointer
from supernet.checkpoint import file_sha256


def whole_file(folder: Path, entry: Any, index: str) -> Path:
    """The file that an entry of an index names.

    Raises:
        InputError: no name of a file in that folder, none there, or one that was changed.
    """
    name = entry.get("file") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not _is_name(name):
        raise InputError(f"{folder / index}: {str(name)[:60]!r} is no name of a file beside it")
    path = folder / name
    refuse_pointer(path)
    try:
        found = path.stat()
        same = _sha256((path, found.st_size, found.st_mtime_ns)) == entry.get("sha256")
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path}: no such file, though {index} names it; encode again") from None
    if not same:
        raise InputError(f"{path}: was changed since it was written; encode again")
    return path


def _is_name(name: str) -> bool:
    """Whether it is a file's own name, and leads nowhere else."""
    return Path(name).name == name and name not in {"", ".", ".."} and "\0" not in name


@lru_cache(maxsize=100_000)  # the three splits ask for the same files
def _sha256(file: tuple[Path, int, int]) -> str:
    return file_sha256(file[0])
