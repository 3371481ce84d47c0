"""Workers elsewhere: what they find, and what is left when they, or their machines, die."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from killed_driver import PROBLEM
from optuna.trial import TrialState

from nas import ray_cluster
from nas.evaluators.ray_pool import RayPool
from nas.evaluators.workers import Workers
from nas.strategies import random
from nas.study.record import ATTEMPTS, Record
from nas.study.storage import sqlite
from nas.study.study import Study
from search_spaces import Architecture, InputError

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Troubled:
    """Makes a quality that fails in its own way when it sees an architecture for the first time."""

    notes: Path  # a file for every architecture that was seen
    once: bool = True

    def __call__(self, weights: Any) -> Callable[[Architecture], float]:
        def quality(architecture: Architecture) -> float:
            note = self.notes / architecture.digest
            first, number = not note.exists(), len(list(self.notes.iterdir()))
            note.touch()
            if first or not self.once:
                if number % 5 == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                if number % 5 == 2:
                    time.sleep(1000)
                if number % 5 == 3:
                    raise RuntimeError("no moon tonight")
                if number % 5 == 4:
                    return float("nan")
            return float(weights["first"].sum()) + int(architecture["digit0"])

        return quality


def plain(weights: Any) -> Callable[[Architecture], float]:
    """A quality that takes a moment."""

    def quality(architecture: Architecture) -> float:
        time.sleep(0.3)
        return float(weights["first"].sum()) + int(architecture["digit0"])

    return quality


WEIGHTS = {"first": np.ones(1000)}


@pytest.mark.long
def test_workers_that_die_hang_raise_and_return_nan(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    url = sqlite(tmp_path / "s.db")
    pool = Workers(2, timeout_s=5).started(Troubled(tmp_path / "notes"), WEIGHTS)
    try:
        evaluated = Study(PROBLEM, random, Record(url, "s", PROBLEM)).run(10, pool)
    finally:
        pool.close()
    assert len({each.architecture for each in evaluated}) == 10
    for each in evaluated:
        assert each.values[0] == 1000 + int(each.architecture["digit0"])
    trials = optuna.load_study(study_name="s", storage=url).trials
    reasons = " | ".join(t.user_attrs["reason"] for t in trials if t.state == TrialState.FAIL)
    for why in ("its worker died", "took longer than 5 s", "RuntimeError: no moon", "is nan"):
        assert why in reasons
    assert max(t.user_attrs["attempt"] for t in trials) <= ATTEMPTS
    assert all(t.state.is_finished() for t in trials)


@pytest.mark.long
def test_a_cluster_that_loses_a_node_accounts_for_every_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    url, lost = sqlite(tmp_path / "s.db"), []
    pool = None
    try:
        cluster.wait_for_nodes()
        pool = Workers(address=cluster.address).started(plain, WEIGHTS)
        assert pool.capacity == 4

        def after(_: object) -> None:
            lost.append(0)
            if len(lost) == 12:
                cluster.remove_node(nodes[0], allow_graceful=False)

        evaluated = Study(PROBLEM, random, Record(url, "s", PROBLEM)).run(30, pool, after)
        capacity = pool.capacity
    finally:
        if pool is not None:
            pool.close()
        cluster.shutdown()
    assert len({each.architecture for each in evaluated}) == 30
    assert capacity == 3
    trials = optuna.load_study(study_name="s", storage=url).trials
    states = [t.state for t in trials]
    assert states.count(TrialState.COMPLETE) == 30
    assert states.count(TrialState.FAIL) == len(trials) - 30
    failed = [t for t in trials if t.state == TrialState.FAIL]
    assert all("its worker died" in t.user_attrs["reason"] for t in failed)
    done = {each.architecture for each in evaluated}
    for trial in failed:  # what the lost node was at was evaluated elsewhere
        assert PROBLEM.space.architecture(trial.params) in done


def test_addresses_where_no_cluster_is() -> None:
    for address in ("127.0.0.1:1", "no.such.host.invalid:6379", "nonsense", "127.0.0.1:99999"):
        with pytest.raises(InputError, match=f"ray {address}: ") as caught:
            Workers(address=address).check()
        assert "\n" not in str(caught.value)


@pytest.fixture
def silent() -> Iterator[str]:
    """Something that listens and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_a_port_where_nothing_answers(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ray_cluster.ANSWER_S == 60
    monkeypatch.setattr(ray_cluster, "ANSWER_S", 2)
    with pytest.raises(InputError, match="no cluster answers within 2 s"):
        Workers(address=silent).check()


@pytest.mark.parametrize(("count", "timeout_s"), [(0, None), (2, 0.0), (2, float("nan"))])
def test_workers_that_make_no_sense(count: int, timeout_s: float | None) -> None:
    with pytest.raises(InputError):
        Workers(count, timeout_s=timeout_s)


@pytest.mark.long
def test_a_worker_that_cannot_begin_is_said_in_a_line() -> None:
    def broken(_: Any) -> Callable[[Architecture], float]:
        raise InputError("no such data")

    pool = RayPool(broken, WEIGHTS, 1, None, None)
    try:
        with pytest.raises(InputError, match="no worker can begin: .*no such data") as caught:
            Study(PROBLEM, random).run(3, pool)
    finally:
        pool.close()
    assert "\n" not in str(caught.value)
