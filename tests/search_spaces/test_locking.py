"""A lock keeps other processes out, and goes with the process that has it, however that ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces import InputError
from search_spaces.files.locking import lock

HOLDER = """
import sys
from search_spaces.files.locking import lock
with open(sys.argv[1], "a") as file:
    lock(file, "taken")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("kept")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with path.open("a") as file, pytest.raises(InputError, match="^another has it$"):
        lock(file, "another has it")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with path.open("a") as file:
        lock(file, "another has it")
    assert path.read_text() == "kept"
