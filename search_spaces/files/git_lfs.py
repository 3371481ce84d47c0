"""Git LFS pointers: the few lines that stand in place of a large file that was not fetched."""

from contextlib import suppress
from pathlib import Path

from search_spaces.files.errors import InputError

POINTER = b"version https://git-lfs.github.com/spec/v1"
WORDS = "is a Git LFS pointer in place of the file itself; fetch it: git lfs pull"


def is_pointer(path: Path) -> bool:
    """Whether that is what stands there; False where nothing can be read."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER
    return False


def refuse_pointer(path: Path) -> None:
    """Say so instead of calling the file damaged.

    Raises:
        InputError: a pointer stands there.
    """
    if path.is_file() and is_pointer(path):
        raise InputError(f"{path}: {WORDS}")
