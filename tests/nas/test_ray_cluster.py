"""Clusters as `ray start --head` makes them: with a token where the user has one, else without."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from nas.ray_cluster import check_address
from search_spaces import InputError

STARTS = 3  # ray gives up after 30 s, which a busy machine may need
RAY = str(Path(sys.executable).parent / "ray")
EVALUATE = """
import sys
from killed_driver import PROBLEM, loss
from nas.evaluators.workers import Workers
from nas.strategies import random
from nas.study.study import Study
workers = Workers(address=sys.argv[1])
workers.check()
pool = workers.started(lambda weights: loss, {})
found = Study(PROBLEM, random).run(3, pool)
pool.close()
print(all(each.values[0] == loss(each.architecture) for each in found), len(found))
"""


@contextmanager
def head(home: Path) -> Iterator[str]:
    """The address of a cluster that `ray start` made for a user with that home."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ray-")  # short: its sockets' paths may have 107 letters
    command = [
        RAY, "start", "--head", "--block", "--port", str(port), "--num-cpus", "1",
        "--node-ip-address", "127.0.0.1", "--include-dashboard=false", "--temp-dir", folder,
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0"}
    try:
        with ExitStack() as running:
            for _ in range(STARTS):
                said = running.enter_context(started(command, environment))
                if "Ray runtime started" in said[-1]:
                    break
            assert "Ray runtime started" in said[-1], "".join(said)
            yield f"127.0.0.1:{port}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def started(command: list[str], environment: dict[str, str]) -> Iterator[list[str]]:
    """What a cluster says until it runs, or gives up; all of its processes end at the end."""
    process = subprocess.Popen(
        command, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = [""]
        while "Ray runtime started" not in said[-1] and (line := process.stdout.readline()):
            said.append(line)
        yield said
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user who has set nothing of Ray's."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def evaluated(address: str) -> str:
    """What a search says that evaluates on a cluster, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", EVALUATE, address], cwd=Path(__file__).parent,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.long
@pytest.mark.slow
def test_a_cluster_that_wants_a_token(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = subprocess.run(
        [RAY, "get-auth-token", "--generate"], check=True, capture_output=True, text=True
    )
    with head(home) as address:
        with pytest.raises(InputError, match="wants a token; set RAY_AUTH_MODE=token") as caught:
            check_address(address)
        assert "\n" not in str(caught.value)
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        assert evaluated(address) == "True 3"
        monkeypatch.setenv("RAY_AUTH_TOKEN", made.stdout.strip()[::-1])
        with pytest.raises(InputError, match="refuses this user's token; set RAY_AUTH_TOKEN"):
            check_address(address)
        monkeypatch.setenv("RAY_AUTH_TOKEN", made.stdout.strip())
        monkeypatch.setenv("HOME", str(home / "elsewhere"))
        check_address(address)
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        with pytest.raises(InputError, match="there is none; set RAY_AUTH_TOKEN"):
            check_address(address)


@pytest.mark.long
@pytest.mark.slow
def test_a_cluster_without_a_token(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with head(home) as address:
        assert evaluated(address) == "True 3"
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)  # of another cluster's
        check_address(address)
