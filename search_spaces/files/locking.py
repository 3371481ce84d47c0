"""Lock a file against other processes (advisory, flock); the lock goes when the process does."""

from typing import IO, Any

from search_spaces.files.errors import InputError


def lock(stream: IO[Any], refusal: str) -> None:
    """Keep other processes out until the file is closed, or its process ends however it ends.

    Raises:
        InputError: another process has it; its text is `refusal`.
    """
    from filelock import lock_descriptor

    if not lock_descriptor(stream.fileno(), blocking=False):
        raise InputError(refusal)
