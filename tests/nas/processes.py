"""Commands that tests stop when they have come so far, however long that takes them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_until(process: subprocess.Popen[Any], ready: Callable[[], bool]) -> None:
    """Wait for a command to come so far; it may take its time, and must not end before."""
    while not ready():
        assert process.poll() is None, f"it ended too early: {process.communicate()}"
        time.sleep(0.005)


def kill_when(process: subprocess.Popen[Any], ready: Callable[[], bool]) -> None:
    """Kill a command when it has come so far."""
    wait_until(process, ready)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def killed_once(path: Path) -> str:
    """A task whose worker dies the first time.

    It stands here, as a worker imports the module that a task is of, and has no conftest of ours.
    """
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name
