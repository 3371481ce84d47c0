"""What several tests share."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import settings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

settings.register_profile("tests", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("tests")


@pytest.fixture(autouse=True, scope="session")
def _hear_ctrl_c() -> None:
    """A shell's background jobs are born deaf to Ctrl-C, and so would what tests start be."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Two test processes on two cores: a thread each, and for the processes that tests start.

    OMP_NUM_THREADS=2 asks for another number: outputs must not depend on it.
    """
    torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))


Made = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A folder by name, filled by the first test process that wants it, and read by all of them."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        path, unfinished = shared / f"shared-{name}", shared / f"shared-{name}.unfinished"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                shutil.rmtree(unfinished, ignore_errors=True)  # of a try that failed
                unfinished.mkdir()
                fill(unfinished)
                unfinished.rename(path)
        return path

    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(made_once: Made) -> None:
    """Traces of tests stay out of the cache of whoever runs them."""
    os.environ["TEMPORAL_NAS_CACHE"] = str(made_once("cache", lambda _: None))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public measurements beside the project; tests that want them skip where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no public measurements at {SHARED_DATA.name} beside the project")
    return SHARED_DATA
