"""What a command may not write to is refused before it works, whichever command it is."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]
FILES = {
    "calibrate": "t.csv", "import": "t.csv", "train": "--space moving_digits",
    "bench": "t.csv --objectives a_ms,b_loss --strategies random --trials 1 --seeds 1",
    "costs": "--device iphone-12", "train-autoencoder": "films",
    "profile": "--space moving_digits --backend torch --blocks",
}  # fmt: skip
FOLDERS = {
    "clips": "", "encode": "films --autoencoder a --size 2x2", "search": "",
    "export": "bundle --to coreml",
}  # fmt: skip


@pytest.mark.parametrize("command", [*FILES, *FOLDERS])
def test_pipes_and_devices_are_refused_at_once(
    tmp_path: Path, call: Call, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    given = {**FILES, **FOLDERS}[command].split()
    code, out, error = call(command, *given, "--out", "pipe")
    wanted = "an ordinary file" if command in FILES else "a folder"
    assert (code, out, error) == (2, "", f"nas: --out pipe: is a pipe; name {wanted}\n")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
