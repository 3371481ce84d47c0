"""A toy bundle; none of the toolkit is needed."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from temporal_bundle.testing import write_toy


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Two test processes of two threads each on two cores wait for each other most of the time."""
    torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "bundle"
    write_toy(folder)
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(made, tmp_path / "bundle")
    return tmp_path / "bundle"
