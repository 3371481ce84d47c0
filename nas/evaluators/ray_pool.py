"""Evaluations by Ray actors: on this machine, or on a cluster whose nodes come and go.

The driver asks and tells; actors evaluate, one architecture at a time on one CPU and one thread.
What they need to begin with goes into the object store once. An actor that died, with its machine
or alone, or that was stopped for taking too long, is replaced when there is work for another; its
architecture comes back as an outcome without values.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from nas.evaluators import Outcome, in_a_line
from nas.evaluators.serial import Quality, evaluated
from nas.ray_cluster import connected
from search_spaces import Architecture, InputError

LONGEST_FIRST_S = 3600.0  # of an evaluation before any is known
PATIENCE, LEAST_S = 20.0, 60.0  # times the longest so far, and no less
START_S = 600.0  # for a worker to come up, its machine included
LOOK_S = 1.0  # from one look at the clock to the next
COUNT_S = 5.0  # from one look at the cluster's CPUs to the next


@dataclass
class _Job:
    """An architecture at an actor."""

    ticket: int
    worker: "_Worker"
    result: Any  # reference to its outcome
    begun: float = field(default_factory=time.monotonic)


@dataclass
class _Worker:
    """An actor, and whether it is ready to evaluate."""

    actor: Any
    came_up: Any  # reference: done when it is
    is_up: bool = False


class _Evaluating:
    """What an actor runs."""

    def __init__(self, make: Callable[[Any], Quality], parts: Any) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        self._quality = make(parts)

    def is_up(self) -> bool:
        """Answers when the quality is made."""
        return True

    def evaluate(self, ticket: int, architecture: Architecture) -> Outcome:
        """What the quality finds."""
        return evaluated(self._quality, ticket, architecture)


class RayPool:
    """An evaluator of many workers.

    Args:
        make: the quality out of `parts`, on each worker.
        parts: what goes into the object store; numpy arrays in it are not copied a worker.
        count: of workers; None for as many as there are CPUs.
        address: of the cluster; None starts one here.
        timeout_s: see `Workers`.

    Raises:
        InputError: no cluster at the address.
    """

    def __init__(
        self,
        make: Callable[[Any], Quality],
        parts: Any,
        count: int | None,
        address: str | None,
        timeout_s: float | None,
    ) -> None:
        self._opened = ExitStack()
        cpus = count or os.cpu_count() or 1
        self._ray = self._opened.enter_context(connected(address, cpus))
        self._make, self._parts = make, self._ray.put(parts)
        self._actor = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Evaluating)
        self._count = count
        self._timeout_s = timeout_s
        self._longest_s: float | None = None
        self._idle: list[_Worker] = []
        self._jobs: dict[Any, _Job] = {}
        self._counted: tuple[float, int] | None = None

    @property
    def capacity(self) -> int:
        """As many as were asked for, or as the cluster has CPUs now."""
        if self._count is not None:
            return self._count
        now = time.monotonic()
        if self._counted is None or now - self._counted[0] > COUNT_S:
            self._counted = now, int(self._ray.cluster_resources().get("CPU", 0))
        return max(1, self._counted[1])

    def submit(self, ticket: int, architecture: Architecture) -> None:
        """Give an architecture to an idle worker, or to a new one."""
        worker = self._idle.pop() if self._idle else self._new_worker()
        result = worker.actor.evaluate.remote(ticket, architecture)
        self._jobs[result] = _Job(ticket, worker, result)

    def wait(self) -> list[Outcome]:
        """The next outcomes."""
        while True:
            done, _ = self._ray.wait(list(self._jobs), num_returns=1, timeout=LOOK_S)
            outcomes = [self._outcome(self._jobs.pop(result)) for result in done]
            outcomes += [self._stopped(job) for job in self._late()]
            if outcomes:
                return outcomes

    def close(self) -> None:
        """End the workers, and Ray where it was started here."""
        for worker in (*self._idle, *(job.worker for job in self._jobs.values())):
            self._ray.kill(worker.actor)
        self._idle, self._jobs = [], {}
        self._opened.close()

    def _new_worker(self) -> _Worker:
        actor = self._actor.remote(self._make, self._parts)
        return _Worker(actor, actor.is_up.remote())

    def _outcome(self, job: _Job) -> Outcome:
        """What came of a job; a worker that has died is forgotten."""
        try:
            outcome: Outcome = self._ray.get(job.result)
        except self._ray.exceptions.RayError as error:
            return Outcome(job.ticket, error=f"its worker died: {_cause(error)}")
        if not job.worker.is_up:
            job.worker.is_up = True  # and the time since it was begun was not the evaluation's
        else:
            took_s = time.monotonic() - job.begun
            self._longest_s = max(took_s, self._longest_s or 0.0)
        self._idle.append(job.worker)
        return outcome

    def _late(self) -> list[_Job]:
        """Jobs that take too long; the clock starts when their worker is up."""
        now, late = time.monotonic(), []
        for job in self._jobs.values():
            if not job.worker.is_up:
                up, _ = self._ray.wait([job.worker.came_up], timeout=0)
                if up:
                    job.worker.is_up, job.begun = True, now
                elif now - job.begun > START_S:
                    raise InputError(
                        f"no worker came up within {START_S:g} s: the cluster has no CPU to spare"
                    )
            elif now - job.begun > self._limit_s:
                late.append(job)
        return late

    @property
    def _limit_s(self) -> float:
        if self._timeout_s is not None:
            return self._timeout_s
        if self._longest_s is None:
            return LONGEST_FIRST_S
        return max(LEAST_S, PATIENCE * self._longest_s)

    def _stopped(self, job: _Job) -> Outcome:
        del self._jobs[job.result]
        limit_s = self._limit_s
        self._ray.kill(job.worker.actor)
        return Outcome(job.ticket, error=f"took longer than {limit_s:.3g} s and was stopped")


def _cause(error: BaseException) -> str:
    """Ray's report of a dead actor in a line: what its process said last, where it said so."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return in_a_line(cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:200]}" if lines else type(error).__name__
