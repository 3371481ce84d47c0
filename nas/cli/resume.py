"""Ctrl-C on a long command, or SIGTERM: tidy up, and say what to type to go on."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM, being asked to end, do what Ctrl-C does: nothing half-written is left."""
    before = signal.signal(signal.SIGTERM, _interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def resumable() -> Iterator[None]:
    """Turn Ctrl-C, or being asked to end, into exit code 1 and the command that goes on."""
    try:
        with stoppable():
            yield
    except KeyboardInterrupt:
        words = ["nas", *sys.argv[1:]]
        command = shlex.join(words if "--resume" in words else [*words, "--resume"])
        print(f"nas: stopped; go on with: {command}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(1) from None


def _interrupted(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
