"""Ask-and-tell session: a study in memory, asked until a strategy proposes what is worth a trial.

Proposals that cost nothing are answered here, from what is known: a network that was evaluated
before with its values, one over a hard budget with its violation, so that Optuna's samplers learn.
"""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState, create_trial

from nas.problem.distributions import directions, distributions
from nas.problem.errors import in_a_line
from nas.problem.problem import Problem
from nas.study.fallback import FallbackSampler, Listed
from nas.study.race import Look
from search_spaces import Architecture, InputError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

    from nas.strategies import Strategy

PATIENCE = 50  # proposals of no use in a row, then the driver looks for another itself
LEAST_PATIENCE = 5  # where that happens again and again
NAME = "session"
Notes = dict[str, Any]
Values = tuple[float, ...]


@dataclass(frozen=True)
class Proposal:
    """An architecture that is worth a trial.

    Args:
        number: of its trial in the session.
        architecture: new, and inside every hard budget.
        notes: what the sampler noted of the trial, and its constraints: its system attributes.
    """

    number: int
    architecture: Architecture
    notes: Notes


class AskTellSession:
    """The Optuna study that a strategy sees, its proposals sifted."""

    def __init__(self, problem: Problem, strategy: "Strategy") -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._problem = problem
        self._distributions = distributions(problem.space)
        self._fallback = FallbackSampler(problem)
        self._listed = None if problem.listed is None else Listed(problem, problem.listed)
        self._storage = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(
            study_name=NAME,
            storage=self._storage,
            directions=directions(problem),
            sampler=_sampler(problem, strategy),
        )
        self._study_id = self._storage.get_study_id_from_name(NAME)
        self._trials = 0
        self._patience = PATIENCE
        self._taken: set[Architecture] = set()  # never to be proposed again
        self._evaluated: dict[Architecture, Values] = {}
        self._worst: Values | None = None  # of each objective, among what was evaluated

    def propose(self) -> Proposal | None:
        """The strategy's next architecture, or after too many of no use another one.

        Returns:
            None where no other architecture is left, or none was found.
        """
        notes: Notes = {}
        for _ in range(self._patience):
            with _blamed():
                trial = self._study.ask()
                architecture = self._problem.space.suggest(trial)
            self._trials += 1
            notes = self._notes(trial.number)
            if self._listed is not None and architecture not in self._listed:
                self._study.tell(trial, state=TrialState.FAIL)
                return self._instead(self._listed.nearest(architecture), notes)
            violation = self._violations(architecture)
            for name, over in violation.items():
                trial.set_constraint(name, over)
            if architecture in self._evaluated:
                self._study.tell(trial, self._evaluated[architecture])
            elif architecture in self._taken:
                self._study.tell(trial, state=TrialState.FAIL)
            elif any(over > 0 for over in violation.values()) or not self._exists(architecture):
                self._turn_down(trial, architecture)
            else:
                self._patience = min(2 * self._patience, PATIENCE)
                return self._proposal(trial.number, architecture)
        self._patience = max(self._patience // 2, LEAST_PATIENCE)
        return self._instead(self._any_other(), notes)

    def is_wanted(self, architecture: Architecture) -> bool:
        """Whether an architecture exists, is new, and inside every hard budget."""
        exists = self._listed is None or architecture in self._listed
        inside = all(over <= 0 for over in self._violations(architecture).values())
        wanted = exists and inside and architecture not in self._taken
        return wanted and self._settled(architecture)

    def add(self, architecture: Architecture, notes: Notes | None = None) -> Proposal:
        """Add an architecture that is to be evaluated, whatever the sampler would propose."""
        trial = create_trial(
            state=TrialState.RUNNING,
            params=dict(architecture),
            distributions={name: self._distributions[name] for name in architecture},
            system_attrs=notes,
            constraints=self._violations(architecture),
        )
        self._study.add_trial(trial)
        self._trials += 1
        return self._proposal(self._trials - 1, architecture)

    def add_finished(self, architecture: Architecture, trial: "FrozenTrial") -> None:
        """Add a trial that was evaluated before."""
        self._study.add_trial(trial)
        self._trials += 1
        self._take(architecture)
        self._remember(architecture, tuple(trial.values))

    def add_seen(self, architecture: Architecture, values: Values, notes: Notes) -> None:
        """Add what a first look found before."""
        self.tell(self.add(architecture, notes), values)

    def observe(self, architecture: Architecture, look: Look) -> None:
        """Tell of a closer look, where the sampler asks for that; a trial is told once."""
        observe = getattr(self._study.sampler, "observe", None)
        if observe is not None:
            with _blamed():
                observe(architecture, look.level, look.values)

    def as_seen_fully(
        self, architectures: Sequence[Architecture], first: Sequence[float]
    ) -> Sequence[float] | None:
        """What the sampler expects of full looks at networks, where it says that."""
        tell = getattr(self._study.sampler, "as_seen_fully", None)
        if tell is None:
            return None
        with _blamed():
            said = tell(architectures, first)
        if said is None:
            return None
        try:
            found = np.array(said, dtype=float)
        except (TypeError, ValueError):  # no numbers, or lists of several lengths
            found = np.full(len(architectures), np.nan)
        if found.shape != (len(architectures),) or not np.isfinite(found).all():
            raise InputError(
                f"the strategy's as_seen_fully must return None or {len(architectures)} finite "
                f"numbers, one a network; found {str(said)[:80]}"
            )
        expected: list[float] = found.tolist()
        return expected

    def tell(self, proposal: Proposal, values: Values) -> None:
        """Finish a proposal."""
        self._study.tell(proposal.number, values)
        self._remember(proposal.architecture, values)

    def give_up(self, proposal: Proposal) -> None:
        """Finish a proposal that cannot be evaluated: for the strategy as bad as the worst so far.

        A sampler that learned nothing of it would propose what is like it again and again.
        """
        self._tell_worst(proposal.number, proposal.architecture)

    def _settled(self, architecture: Architecture) -> bool:
        """Whether what seemed to exist and to keep every budget does, once it is known exactly."""
        settle = self._problem.settle
        if settle is None:
            return True
        inside = settle(architecture)
        return inside and all(over <= 0 for over in self._violations(architecture).values())

    def _exists(self, architecture: Architecture) -> bool:
        """As `_settled`; one that does not is never proposed again."""
        if self._settled(architecture):
            return True
        self._take(architecture)
        return False

    def _turn_down(self, trial: "Trial", architecture: Architecture) -> None:
        """Over a budget: what is known is told as it is, the rest as bad as the worst so far."""
        self._tell_worst(trial, architecture)

    def _tell_worst(self, trial: "Trial | int", architecture: Architecture) -> None:
        if self._worst is None:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        known = self._problem.is_known
        unknown = [
            worst for worst, is_known in zip(self._worst, known, strict=True) if not is_known
        ]
        self._study.tell(trial, self._problem.values(architecture, unknown))

    def _any_other(self) -> Architecture | None:
        """Some architecture that is worth a trial, where the strategy proposes none."""
        if self._listed is not None:
            return self._listed.any_other()
        while True:
            other = self._fallback.any_other(self._taken, self._evaluated)
            if other is None or self._settled(other):
                return other
            self._take(other)

    def _instead(self, architecture: Architecture | None, notes: Notes) -> Proposal | None:
        """Another architecture's trial takes over what the sampler noted of the one it replaces.

        Without it, samplers that count generations would never see the trial.
        """
        return None if architecture is None else self.add(architecture, notes)

    def _proposal(self, number: int, architecture: Architecture) -> Proposal:
        self._take(architecture)
        return Proposal(number, architecture, self._notes(number))

    def _take(self, architecture: Architecture) -> None:
        self._taken.add(architecture)
        if self._listed is not None:
            self._listed.take([architecture])

    def _violations(self, architecture: Architecture) -> dict[str, float]:
        found = self._problem.violations([architecture])
        return {name: float(np.asarray(over).reshape(-1)[0]) for name, over in found.items()}

    def _notes(self, number: int) -> Notes:
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        return dict(self._storage.get_trial(trial_id).system_attrs)

    def _remember(self, architecture: Architecture, values: Values) -> None:
        self._evaluated[architecture] = values
        worst = values if self._worst is None else self._worst
        signs = self._problem.signs.tolist()
        self._worst = tuple(
            sign * max(sign * value, sign * before)
            for sign, value, before in zip(signs, values, worst, strict=True)
        )


def _sampler(problem: Problem, strategy: "Strategy") -> BaseSampler:
    with _blamed():
        found = strategy(problem)
    if not isinstance(found, BaseSampler):
        raise InputError(
            f"a strategy returns an Optuna sampler (BaseSampler); found {type(found).__name__}"
        )
    return found


@contextmanager
def _blamed() -> Iterator[None]:
    """What a strategy raises, as one line that says where."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}, line {last.lineno}"
        raise InputError(f"the strategy failed ({where}): {in_a_line(error)}") from error
