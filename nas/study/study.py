"""The study: ask a strategy, evaluate what is new and inside the budgets, tell, record.

The strategy sees one Optuna study, in memory (`nas.study.ask_tell`); the record keeps another, on a
storage, of what was evaluated and nothing else (`nas.study.record`).
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nas.evaluators import Evaluator, Outcome
from nas.problem.problem import Problem
from nas.study.ask_tell import AskTellSession, Proposal, Values
from nas.study.record import ATTEMPTS, STOPPED, Again, Record
from nas.study.storage import StorageError
from search_spaces import Architecture, InputError

if TYPE_CHECKING:
    from nas.strategies import Strategy

HOPELESS_AT_FIRST = 3  # different architectures given up before any was evaluated
HOPELESS_IN_A_ROW = 20  # later on


@dataclass(frozen=True)
class Evaluated:
    """A finished trial."""

    trial: int
    architecture: Architecture
    values: tuple[float, ...]  # in the order of the problem's objectives


@dataclass(frozen=True)
class _Running:
    proposal: Proposal
    attempt: int


class Study:
    """One search, from wherever its record stands to as many evaluations as are asked for.

    Args:
        problem: what is searched; its seed is moved on where the record has trials, so that a
            resumed study does not draw the same again.
        strategy: proposes architectures.
        record: where evaluations are written; without one they are in memory alone.

    Attributes:
        problem: what is searched.
        ended: after `run`, why there are fewer than asked for; empty where there are not.
    """

    def __init__(
        self, problem: Problem, strategy: "Strategy", record: Record | None = None
    ) -> None:
        begun = record.begun if record else 0
        self.problem = replace(problem, seed=problem.seed + begun)
        self._record = record
        self._session = AskTellSession(self.problem, strategy)
        self._finished: dict[Architecture, Evaluated] = {}
        self._first: deque[Architecture] = deque()
        self._again: deque[Again] = deque()
        self._retried: dict[Architecture, Proposal] = {}  # still running for the strategy
        self._begun = begun
        self._given_up = len(record.given_up) if record else 0
        self._given_up_in_a_row = 0
        self.ended = ""
        if record is not None:
            for architecture, trial in record.finished:
                self._session.add_finished(architecture, trial)
                values = tuple(trial.values)
                self._finished[architecture] = Evaluated(trial.number, architecture, values)
            for architecture in record.given_up:
                self._session.give_up(self._session.add(architecture))
            self._again.extend(record.again)

    def finished(self) -> list[Evaluated]:
        """Every evaluated architecture, in the order of its trial."""
        return sorted(self._finished.values(), key=lambda found: found.trial)

    def start_with(self, architectures: Sequence[Architecture]) -> None:
        """Evaluate these before what the strategy proposes, where they are new and inside."""
        self._first.extend(architectures)

    def run(
        self,
        trials: int,
        evaluator: Evaluator,
        on_trial: Callable[[Evaluated], None] | None = None,
    ) -> list[Evaluated]:
        """Evaluate until `trials` different architectures are finished, or there are no more.

        Raises:
            InputError: the first architectures all could not be evaluated.
            FloatingPointError: what was found of them was no finite number.
            StorageError: the record could not be written.
        """
        running: dict[int, _Running] = {}
        try:
            while True:
                self._start(trials, evaluator, running)
                if not running:
                    return self.finished()
                for outcome in evaluator.wait():
                    found = self._settled(running.pop(outcome.ticket), outcome)
                    if found is not None and on_trial is not None:
                        on_trial(found)
        except BaseException:
            self._stop(running)
            raise

    def _start(self, trials: int, evaluator: Evaluator, running: dict[int, _Running]) -> None:
        """Give the evaluator what it has room for."""
        self.ended = ""
        while len(running) < evaluator.capacity:
            if len(self._finished) + len(running) >= trials:
                return
            started = self._next()
            if started is None:
                self.ended = f"found no other architecture inside the budgets{self._lost()}"
                return
            architecture = started.proposal.architecture
            if self._record is None:
                ticket = self._begun
            else:
                ticket = self._record.begin(architecture, started.attempt, started.proposal.notes)
            self._begun += 1
            running[ticket] = started
            evaluator.submit(ticket, architecture)

    def _next(self) -> _Running | None:
        if self._again:
            again = self._again.popleft()
            proposal = self._retried.pop(again.architecture, None)
            return _Running(proposal or self._session.add(again.architecture), again.attempt)
        while self._first:
            first = self._first.popleft()
            if self._session.is_wanted(first):
                return _Running(self._session.add(first), 1)
        proposal = self._session.propose()
        return None if proposal is None else _Running(proposal, 1)

    def _settled(self, ran: _Running, outcome: Outcome) -> Evaluated | None:
        """Tell and record what came of a trial."""
        architecture = ran.proposal.architecture
        values, error = self._values(architecture, outcome)
        if error is not None:
            if self._record is not None:
                self._record.fail(outcome.ticket, str(error))
            if outcome.fatal:
                raise error
            self._failed(ran, error)
            return None
        if self._record is not None:
            self._record.finish(outcome.ticket, values)
        self._session.tell(ran.proposal, values)
        self._given_up_in_a_row = 0
        found = Evaluated(outcome.ticket, architecture, values)
        self._finished[architecture] = found
        return found

    def _values(
        self, architecture: Architecture, outcome: Outcome
    ) -> tuple[Values, InputError | FloatingPointError | None]:
        """All objectives, or why there are none."""
        if outcome.error is not None:
            return (), InputError(outcome.error)
        values = tuple(self.problem.values(architecture, outcome.values))
        for value, objective in zip(values, self.problem.objectives, strict=True):
            if not math.isfinite(value):
                return (), FloatingPointError(f"{objective.name} is {value}")
        return values, None

    def _failed(self, ran: _Running, error: InputError | FloatingPointError) -> None:
        """Put an architecture back in the queue, or give it up."""
        architecture = ran.proposal.architecture
        if ran.attempt < ATTEMPTS:
            self._again.append(Again(architecture, ran.attempt + 1))
            self._retried[architecture] = ran.proposal
            return
        self._session.give_up(ran.proposal)
        self._given_up += 1
        self._given_up_in_a_row += 1
        hopeless = HOPELESS_IN_A_ROW if self._finished else HOPELESS_AT_FIRST
        if self._given_up_in_a_row >= hopeless:
            raise type(error)(
                f"{self._given_up_in_a_row} architectures in a row could not be evaluated, each "
                f"tried {ATTEMPTS} times; the last, {architecture}: {error}"
            )

    def _lost(self) -> str:
        return f"; {self._given_up} could not be evaluated" if self._given_up else ""

    def _stop(self, running: dict[int, _Running]) -> None:
        """Write, if that is possible, that what runs was stopped: it is no failed attempt."""
        if self._record is not None:
            with suppress(StorageError):
                for ticket in running:
                    self._record.fail(ticket, STOPPED)
