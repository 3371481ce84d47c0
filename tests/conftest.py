"""What several tests share."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

settings.register_profile("tests", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("tests")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Two test processes on two cores: a thread each, and for the processes that tests start.

    OMP_NUM_THREADS=2 asks for another number: outputs must not depend on it.
    """
    torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Traces of tests stay out of the cache of whoever runs them."""
    os.environ["TEMPORAL_NAS_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public measurements beside the project; tests that want them skip where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no public measurements at {SHARED_DATA.name} beside the project")
    return SHARED_DATA
