"""A toy bundle and its clips; none of the toolkit is needed."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from toy import write_clips

from adversarial_finetune.cli import main
from temporal_bundle.testing import write_toy

Call = Callable[..., tuple[int, str, str]]
FEW_STEPS = ("--stage-one-steps", "6", "--stage-two-steps", "6", "--clips-per-step", "4")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Two test processes of two threads each on two cores wait for each other most of the time."""
    torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy(folder / "bundle")
    write_clips(folder / "clips")
    return folder


@pytest.fixture
def clips(made: Path) -> Path:
    return made / "clips"


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(made / "bundle", tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Call:
    """Runs `adversarial-finetune ARGUMENTS` in a folder of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main([str(each) for each in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
