"""The study: ask a strategy, evaluate what is new and inside the budgets, tell, record.

The strategy sees one Optuna study, in memory (`nas.study.ask_tell`); the record keeps another, on a
storage, of what was evaluated and nothing else (`nas.study.record`). Where evaluations may look
more or less closely, `nas.study.race` says who is looked at again.
"""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from nas.evaluators import Evaluator, Outcome, Span
from nas.problem.fidelity import ONCE
from nas.problem.problem import Problem
from nas.strategies.beginning import best_of_earlier
from nas.study.ask_tell import AskTellSession, Proposal, Values
from nas.study.attempts import Attempts
from nas.study.evaluations import Evaluated, Evaluations
from nas.study.race import Look
from nas.study.record import STOPPED, Record, Seen
from nas.study.storage import StorageError
from search_spaces import Architecture, InputError

if TYPE_CHECKING:
    from nas.strategies import Strategy


@dataclass(frozen=True)
class _Running:
    architecture: Architecture
    attempt: int
    level: int = 0
    proposal: Proposal | None = None  # of a first look


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
        self._fidelity = problem.fidelity or ONCE
        self._found = Evaluations(self.problem, self._fidelity, self._session.as_seen_fully)
        self._race = self._found.race
        self._first = deque(best_of_earlier(self.problem))
        self._attempts = Attempts(self._session, self._race)
        self._is_exhausted = False
        self._begun = begun
        self.ended = ""
        if record is not None:
            self._take_up(record)

    def finished(self) -> list[Evaluated]:
        """Every evaluated architecture, in the order of its trial."""
        return self._found.finished()

    def answers(self) -> Iterator[tuple[Architecture, Span | None, Outcome]]:
        """All that was found, as an evaluator would say it again."""
        return self._found.answers()

    @property
    def spent(self) -> int:
        """Of what the fidelity counts, on all looks so far; where there is none, networks."""
        return self._found.spent

    @property
    def lost(self) -> str:
        """What became of the last closer look that was given up; empty where none was."""
        return self._attempts.lost

    def has_spent(self, trials: int) -> bool:
        """Whether as much was spent as so many full evaluations cost, but for a rest."""
        budget = trials * self._fidelity.full
        ended = self._record is not None and budget <= self._record.ended_at
        return ended or budget - self.spent < self._fidelity.cost(0)

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

        Where evaluations have a fidelity, as much is spent as so many full ones cost: on more
        networks, most of them seen less closely.

        Raises:
            InputError: the first architectures all could not be evaluated.
            FloatingPointError: what was found of them was no finite number.
            StorageError: the record could not be written.
        """
        budget = trials * self._fidelity.full
        running: dict[int, _Running] = {}
        if self._fidelity.top and self._record is not None and budget <= self._record.ended_at:
            return self.finished()  # what is left of it was too little for what was to come
        try:
            while True:
                self._start(budget, evaluator, running)
                if not running:
                    self._end(budget)
                    return self.finished()
                for outcome in evaluator.wait():
                    found = self._settled(running.pop(outcome.ticket), outcome)
                    if found is not None and on_trial is not None:
                        on_trial(found)
        except BaseException:
            self._stop(running)
            raise

    def _start(self, budget: int, evaluator: Evaluator, running: dict[int, _Running]) -> None:
        """Give the evaluator what it has room for."""
        self.ended = ""
        while len(running) < evaluator.capacity:
            costs = (self._fidelity.cost(each.level) for each in running.values())
            started = self._next(budget - self.spent - sum(costs), running)
            if started is None:
                return
            ticket = self._begin(started)
            running[ticket] = started
            span = self._fidelity.span(started.level) if self.problem.fidelity else None
            evaluator.submit(ticket, started.architecture, span)

    def _next(self, left: int, running: dict[int, _Running]) -> _Running | None:
        """What is evaluated next for what is left of the budget; None for nothing."""
        fidelity = self._fidelity
        levels = {each.architecture: each.level for each in running.values()}
        finalists = self._race.unseen_finalists()
        looks = [self._looked_at(each) for each in finalists if each not in levels]
        owed = sum(fidelity.cost_to_full(look.level - 1) for look in looks)
        owed += sum(fidelity.cost_to_full(levels[each]) for each in finalists if each in levels)
        affordable = (look for look in looks if fidelity.cost(look.level) <= left)
        if left - fidelity.cost(0) < owed:
            return next(affordable, None)
        promoted = self._promoted(levels, left)
        return promoted or self._first_look() or self._promoted(levels, left)

    def _promoted(self, running: Collection[Architecture], left: int) -> _Running | None:
        """Who goes on, if there is enough left; where nobody else comes, all do."""
        promoted = self._race.next(running, freely=self._is_exhausted)
        look = None if promoted is None else self._looked_at(promoted)
        return look if look and self._fidelity.cost(look.level) <= left else None

    def _first_look(self) -> _Running | None:
        """A network that was not evaluated yet."""
        if (again := self._attempts.next()) is not None:
            proposed, attempt = again
            return _Running(proposed.architecture, attempt, proposal=proposed)
        while self._first:
            first = self._first.popleft()
            if self._session.is_wanted(first):
                return _Running(first, 1, proposal=self._session.add(first))
        proposal = None if self._is_exhausted else self._session.propose()
        if proposal is None:
            self._is_exhausted = True
            self.ended = f"found no other architecture inside the budgets{self._lost()}"
            return None
        return _Running(proposal.architecture, 1, proposal=proposal)

    def _looked_at(self, architecture: Architecture) -> _Running:
        """The next look at a network that is in the race."""
        attempt = self._attempts.of_look(architecture)
        return _Running(architecture, attempt, len(self._race.looks(architecture)))

    def _begin(self, started: _Running) -> int:
        """Write what begins; the ticket is the trial's number."""
        if started.proposal is None:
            ticket = self._found.trial(started.architecture)
            if self._record is not None:
                self._record.begin_look(ticket, self._step(started.level), started.attempt)
            return ticket
        ticket = self._begun
        if self._record is not None:
            notes = started.proposal.notes
            ticket = self._record.begin(started.architecture, started.attempt, notes)
        self._begun += 1
        return ticket

    def _settled(self, ran: _Running, outcome: Outcome) -> Evaluated | None:
        """Tell and record what came of an evaluation."""
        look = self._found.joined(ran.architecture, ran.level, outcome)
        values, error = self._values(ran.architecture, outcome, look)
        if error is not None:
            if self._record is not None and ran.proposal is not None:
                self._record.fail(outcome.ticket, str(error))
            if outcome.fatal:
                raise error
            self._failed(ran, error)
            return None
        if self._record is not None:
            if self._fidelity.top:
                step = self._step(ran.level)
                self._record.look(outcome.ticket, step, look.values, look.samples)
            if ran.level == self._fidelity.top:
                self._record.finish(outcome.ticket, values)
        self._attempts.succeeded(ran.architecture, ran.level)
        if ran.proposal is None:
            self._found.add(ran.architecture, look)
            self._session.observe(ran.architecture, look)
        else:
            self._found.add_first(outcome.ticket, ran.architecture, values, look)
            self._session.tell(ran.proposal, values)
        return self._found.standing(ran.architecture)

    def _step(self, level: int) -> int:
        return self._fidelity.levels[level]

    def _values(
        self, architecture: Architecture, outcome: Outcome, look: Look
    ) -> tuple[Values, InputError | FloatingPointError | None]:
        """All objectives, or why there are none."""
        if outcome.error is not None:
            return (), InputError(outcome.error)
        values = tuple(self.problem.values(architecture, look.values))
        for value, objective in zip(values, self.problem.objectives, strict=True):
            if not math.isfinite(value):
                where = f" at {self._fidelity.name} {self._step(look.level)}"
                seen = where if self._fidelity.top else ""
                return (), FloatingPointError(f"{objective.name} is {value}{seen}")
        return values, None

    def _failed(self, ran: _Running, error: InputError | FloatingPointError) -> None:
        """What failed is tried again, or given up."""
        if ran.proposal is not None:
            self._attempts.failed(ran.proposal, ran.attempt, error)
            return
        self._found.charge(ran.level)
        said = f"at {self._fidelity.name} {self._step(ran.level)}: {error}"
        self._attempts.failed_look(ran.architecture, ran.attempt, ran.level, said)

    def _lost(self) -> str:
        given_up = self._attempts.given_up
        return f"; {given_up} could not be evaluated" if given_up else ""

    def _end(self, budget: int) -> None:
        """Write who leaves the race without having been seen fully, and that it ended."""
        if not self._fidelity.top:
            return
        for architecture in self._race.left():
            self._race.put_out(architecture)
            if self._record is not None:
                self._record.prune(self._found.trial(architecture))
        if self._record is not None:
            self._record.end(budget)

    def _stop(self, running: dict[int, _Running]) -> None:
        """Write, if that is possible, that what runs was stopped: it is no failed attempt."""
        if self._record is None:
            return
        with suppress(StorageError):
            for ticket, ran in running.items():
                if ran.proposal is None:
                    self._record.begin_look(ticket, self._step(ran.level), ran.attempt - 1)
                else:
                    self._record.fail(ticket, STOPPED)

    def _take_up(self, record: Record) -> None:
        """Go on from what a record holds."""
        for architecture, trial in record.finished:
            if self._fidelity.top:
                raise InputError(
                    f"trial {trial.number} was evaluated once and for all, and now networks are "
                    f"looked at by {self._fidelity.name}; give what the study was begun with"
                )
            self._session.add_finished(architecture, trial)
            values = tuple(trial.values)
            unknown = [v for v, k in zip(values, self.problem.is_known, strict=True) if not k]
            self._found.add_first(trial.number, architecture, values, Look(0, tuple(unknown)))
        for seen in record.seen:
            self._take_up_seen(seen)
        self._attempts.take_up(record.given_up, record.again)

    def _take_up_seen(self, seen: Seen) -> None:
        """A network that was looked at before, and what was found."""
        architecture = seen.architecture
        for level, (step, (values, samples)) in enumerate(seen.looks.items()):
            if level > self._fidelity.top or step != self._step(level):
                listed = ", ".join(map(str, seen.looks))
                raise InputError(
                    f"trial {seen.number} was seen at {listed}, and {self._fidelity.name} are "
                    f"{', '.join(map(str, self._fidelity.levels))} now; give what the study was "
                    "begun with"
                )
            look = Look(level, values, samples)
            if level:
                self._found.add(architecture, look)
                self._session.observe(architecture, look)
                continue
            every = tuple(self.problem.values(architecture, values))
            self._found.add_first(seen.number, architecture, every, look)
            self._session.add_seen(architecture, every, seen.notes)
        for step, tried in seen.attempts.items():
            if step in seen.looks:
                self._found.charge(self._fidelity.levels.index(step), tried)
        tried = sum(n for step, n in seen.attempts.items() if step not in seen.looks)
        self._attempts.looked(architecture, tried)
        if tried:
            self._found.charge(len(seen.looks), tried)
        if seen.state != TrialState.RUNNING:
            self._race.put_out(architecture)
        elif len(seen.looks) > self._fidelity.top and self._record is not None:
            # Killed between its last look and its end.
            self._record.finish(seen.number, self._found.standing(architecture).values)
