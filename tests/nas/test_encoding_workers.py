"""Tasks that workers of Ray share: handed out a few at a time, given back when those take long."""

import math
import os

import pytest

from nas import ray_cluster
from nas.training import encoding_workers
from nas.training.encoding_workers import spread_over
from search_spaces import InputError


def test_a_worker_gives_back_what_it_has_not_begun() -> None:
    done = encoding_workers._done
    assert done(abs, [-1, -2, -3], math.inf) == [1, 2, 3]
    assert done(abs, [-1, -2, -3], 0.0) == [1], "one at least"


@pytest.mark.long
def test_each_task_is_done_once_however_long_groups_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    tasks = list(range(0, -300, -1))
    with spread_over(2) as spread:
        for group_s in (0.0, math.inf):
            monkeypatch.setattr(encoding_workers, "GROUP_S", group_s)
            found = list(spread(abs, tasks))
            assert sorted(found) == [(number, number) for number in range(300)]
    assert os.environ["PYTHONPATH"] == "somewhere"


def test_a_cluster_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def late(*_: object, **__: object) -> None:
        raise Exception("The current node timed out\nduring startup")  # noqa: TRY002  # as Ray does

    monkeypatch.setattr(ray, "init", late)
    with (
        pytest.raises(InputError, match="did not start on this machine: The current node timed"),
        ray_cluster.connected(None, 2),
    ):
        pass
