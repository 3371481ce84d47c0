"""Evaluations by Ray actors: on this machine, or on a cluster whose nodes come and go.

The driver asks and tells; actors evaluate, one architecture at a time on one CPU and one thread.
What they need to begin with goes into the object store once. An actor that died, with its machine
or alone, or that was stopped for taking too long, is replaced when there is work for another; its
architecture comes back as an outcome without values.
"""

import math
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from nas.evaluators import Outcome, Span
from nas.evaluators.serial import Quality, evaluated
from nas.problem.errors import in_a_line
from nas.ray_cluster import connected
from search_spaces import Architecture, InputError

LONGEST_FIRST_S = 3600.0  # of an evaluation before any is known
PATIENCE, LEAST_S = 20.0, 60.0  # times the longest so far, and no less
START_S = 600.0  # for a worker to come up, its machine included
BEGIN_TRIES = 2  # workers in a row that cannot begin, where none is up
LOOK_S = 1.0  # from one look at the clock to the next
COUNT_S = 5.0  # from one look at the cluster's CPUs to the next


@dataclass(frozen=True)
class _Job:
    """An architecture at an actor."""

    ticket: int
    actor: Any
    begun: float
    size: int  # samples of its span, which take as many times as long


class _Evaluating:
    """What an actor runs."""

    def __init__(self, make: Callable[[Any], Quality], parts: Any) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        self._quality = make(parts)

    def is_up(self) -> bool:
        """Answers when the quality is made."""
        return True

    def evaluate(self, ticket: int, architecture: Architecture, span: Span | None) -> Outcome:
        """What the quality finds."""
        return evaluated(self._quality, ticket, architecture, span)


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
        self._waiting: deque[tuple[int, Architecture, Span | None]] = deque()
        self._coming: dict[Any, tuple[Any, float]] = {}  # answer to come: actor, since when
        self._idle: list[Any] = []
        self._jobs: dict[Any, _Job] = {}  # by their results to come
        self._counted: tuple[float, int] | None = None
        self._failed_to_begin = 0  # workers in a row

    @property
    def capacity(self) -> int:
        """As many as were asked for, or as the cluster has CPUs for us now."""
        if self._count is not None:
            return self._count
        return max(1, self._up + self._free_cpus())

    def submit(self, ticket: int, architecture: Architecture, span: Span | None = None) -> None:
        """Take an architecture; the first worker that has nothing to do evaluates it."""
        self._waiting.append((ticket, architecture, span))
        self._call_workers()

    def wait(self) -> list[Outcome]:
        """The next outcomes."""
        while True:
            while self._idle and self._waiting:
                self._begin(self._idle.pop(), *self._waiting.popleft())
            self._call_workers()
            answers = [*self._jobs, *self._coming]
            done, _ = self._ray.wait(answers, num_returns=1, timeout=LOOK_S)
            outcomes = [self._outcome(answer) for answer in done if answer in self._jobs]
            outcomes += [o for answer in done if answer in self._coming for o in self._came(answer)]
            outcomes += [self._stopped(answer) for answer in self._late()]
            if outcomes:
                return outcomes
            self._check_coming()

    def close(self) -> None:
        """End the workers, and Ray where it was started here."""
        coming = (actor for actor, _ in self._coming.values())
        for actor in (*self._idle, *coming, *(job.actor for job in self._jobs.values())):
            self._ray.kill(actor)
        self._idle, self._coming, self._jobs = [], {}, {}
        self._opened.close()

    @property
    def _up(self) -> int:
        return len(self._idle) + len(self._jobs)

    def _free_cpus(self) -> int:
        """Of the cluster, as of a moment ago."""
        now = time.monotonic()
        if self._counted is None or now - self._counted[0] > COUNT_S:
            self._counted = now, int(self._ray.available_resources().get("CPU", 0))
        return self._counted[1]

    def _call_workers(self) -> None:
        """Start workers for what waits, as far as there is room."""
        room = self._free_cpus() if self._count is None else self._count - self._up
        room = max(room, 0 if self._up else 1)
        missing = len(self._waiting) - len(self._idle)
        while len(self._coming) < min(room, missing):
            actor = self._actor.remote(self._make, self._parts)
            self._coming[actor.is_up.remote()] = actor, time.monotonic()

    def _begin(
        self, actor: Any, ticket: int, architecture: Architecture, span: Span | None
    ) -> None:
        result = actor.evaluate.remote(ticket, architecture, span)
        begin, end = span or (0, 1)
        self._jobs[result] = _Job(ticket, actor, time.monotonic(), end - begin)

    def _outcome(self, result: Any) -> Outcome:
        """What came of a job; a worker that has died is forgotten."""
        job = self._jobs.pop(result)
        try:
            outcome: Outcome = self._ray.get(result)
        except self._ray.exceptions.RayError as error:
            return Outcome(job.ticket, error=f"its worker died: {_cause(error)}")
        took_s = (time.monotonic() - job.begun) / job.size
        self._longest_s = max(took_s, self._longest_s or 0.0)
        self._idle.append(job.actor)
        return outcome

    def _came(self, answer: Any) -> list[Outcome]:
        """A worker is up; of one that could not begin, what waits longest pays with an attempt."""
        actor, _ = self._coming.pop(answer)
        try:
            self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            self._failed_to_begin += 1
            if not self._up and self._failed_to_begin >= BEGIN_TRIES:
                raise InputError(f"no worker can begin: {_cause(error)}") from None
            if not self._waiting:
                return []
            ticket, *_ = self._waiting.popleft()
            return [Outcome(ticket, error=f"a worker could not begin: {_cause(error)}")]
        self._failed_to_begin = 0
        self._idle.append(actor)
        return []

    def _check_coming(self) -> None:
        """Where none is up, one must come; beside others, it may take what time it wants."""
        oldest = min((since for _, since in self._coming.values()), default=math.inf)
        if not self._up and time.monotonic() - oldest > START_S:
            raise InputError(f"no worker came up within {START_S:g} s: the cluster has no CPU free")

    def _late(self) -> list[Any]:
        """Results of jobs that take too long."""
        now = time.monotonic()
        jobs = self._jobs.items()
        return [result for result, job in jobs if now - job.begun > self._limit_s(job)]

    def _limit_s(self, job: _Job) -> float:
        if self._timeout_s is not None:
            return self._timeout_s
        if self._longest_s is None:
            return LONGEST_FIRST_S
        return max(LEAST_S, PATIENCE * self._longest_s * job.size)

    def _stopped(self, result: Any) -> Outcome:
        job = self._jobs.pop(result)
        limit_s = self._limit_s(job)
        self._ray.kill(job.actor)
        return Outcome(job.ticket, error=f"took longer than {limit_s:.3g} s and was stopped")


def _cause(error: BaseException) -> str:
    """Ray's report of a dead actor in a line: what its process said last, where it said so."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return in_a_line(cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:200]}" if lines else type(error).__name__
