"""The record of a study: Optuna's storage, which is the truth about what was evaluated.

One write when a trial begins and one when it ends. Whatever kills the driver, what is finished
stays, and what was running is known. A record is written by one driver at a time.

Where networks are seen at several fidelities, a network stays one trial: what a look finds of its
first objective is an intermediate value, whose step is the fidelity. A trial runs while its network
is in the race; who was not seen fully at the end is pruned.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState, create_trial

from nas.problem.distributions import directions, distributions
from nas.problem.problem import Problem
from nas.study.ask_tell import Notes, Values
from nas.study.storage import StorageError, opened
from nas.study.storage_url import public_url, reason_of
from search_spaces import Architecture, InputError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ATTEMPTS = 3  # to evaluate one architecture, in all
STOPPED = "stopped before it was finished"  # by the user, so it is no failed attempt
KILLED = "the driver was killed"
ENDED = "race ended, which could spend"  # in the attributes of the study
LOOK, ATTEMPT_AT = "look at ", "attempt at "  # a step, in the attributes of a trial
TRIES, PAUSE_S = 3, 1.0  # to write what was found: an evaluation costs more than a moment's wait
Describe = Callable[[Architecture], Mapping[str, Any]]


@dataclass(frozen=True)
class Again:
    """An architecture that was begun and never finished, and the attempt that comes next."""

    architecture: Architecture
    attempt: int


@dataclass(frozen=True)
class Seen:
    """A network's trial with what its looks found.

    Args:
        number: of the trial.
        architecture: that was seen.
        looks: by their steps, rising: the unknown objectives, and samples of the first of them.
        attempts: by the step of a look, how often it was begun and came to nothing.
        notes: what the sampler noted.
        state: running while it is in the race.
    """

    number: int
    architecture: Architecture
    looks: Mapping[int, tuple[Values, Values]]
    attempts: Mapping[int, int]
    notes: Notes
    state: TrialState


class Record:
    """One study in a storage.

    Args:
        url: the storage's, as Optuna spells it.
        name: the study's.
        problem: its space, objectives and budgets.
        describe: what else a person wants to read of an architecture's trial.

    Raises:
        InputError: the storage cannot be opened, or the study has other objectives.
    """

    def __init__(
        self, url: str, name: str, problem: Problem, describe: Describe | None = None
    ) -> None:
        self._url = url
        self._problem = problem
        self._describe = describe
        self._distributions = distributions(problem.space)
        self._storage = opened(url)
        self._ids: dict[int, int] = {}  # of running trials, by number
        self.finished: list[tuple[Architecture, FrozenTrial]] = []
        self.seen: list[Seen] = []
        self.again: list[Again] = []
        self.given_up: list[Architecture] = []
        try:
            self._study_id = self._opened_study(name)
            self._read()
        except optuna.exceptions.OptunaError as error:
            reason = reason_of(error, url)
            raise InputError(f"storage {public_url(url)}: {reason}") from None

    @property
    def evaluated(self) -> list[Architecture]:
        """All that has values."""
        return [a for a, _ in self.finished] + [each.architecture for each in self.seen]

    def begin(self, architecture: Architecture, attempt: int, notes: Notes) -> int:
        """Write that an architecture is being evaluated; the trial's number comes back."""
        described = dict(self._describe(architecture)) if self._describe else {}
        trial = create_trial(
            state=TrialState.RUNNING,
            params=dict(architecture),
            distributions={name: self._distributions[name] for name in architecture},
            user_attrs={"architecture": architecture.digest, "attempt": attempt, **described},
            system_attrs=notes,
        )
        with self._known_errors():
            trial_id = self._storage.create_new_trial(self._study_id, trial)
        number = self.begun
        self.begun += 1
        self._ids[number] = trial_id
        return number

    def begin_look(self, number: int, step: int, attempt: int) -> None:
        """Write that a network is looked at again; whatever kills the driver, it is known."""
        with self._known_errors():
            self._storage.set_trial_user_attr(self._ids[number], f"{ATTEMPT_AT}{step}", attempt)

    def look(self, number: int, step: int, values: Values, samples: Values) -> None:
        """Write what a look found."""
        trial_id, found = self._ids[number], {"values": values, "samples": samples}
        with self._known_errors():
            # The intermediate value comes last: it says that the look is there.
            self._insist(self._storage.set_trial_system_attr, trial_id, f"{LOOK}{step}", found)
            self._insist(self._storage.set_trial_intermediate_value, trial_id, step, values[0])

    def finish(self, number: int, values: Values) -> None:
        """Write what was found."""
        trial_id = self._ids.pop(number)
        with self._known_errors():
            self._insist(
                self._storage.set_trial_state_values, trial_id, TrialState.COMPLETE, values
            )

    def prune(self, number: int) -> None:
        """Write that a network is looked at no more, and was not seen fully."""
        trial_id = self._ids.pop(number, None)
        if trial_id is None:  # in an earlier try
            return
        with self._known_errors():
            self._insist(self._storage.set_trial_state_values, trial_id, TrialState.PRUNED)

    def end(self, budget: int) -> None:
        """Write that a race ended that had so much to spend."""
        with self._known_errors():
            self._insist(self._storage.set_study_user_attr, self._study_id, ENDED, budget)

    @property
    def ended_at(self) -> int:
        """What the race that ended had to spend; 0 where none did."""
        with self._known_errors():
            return int(self._storage.get_study_user_attrs(self._study_id).get(ENDED, 0))

    def fail(self, number: int, reason: str) -> None:
        """Write why an evaluation came to nothing."""
        with self._known_errors():
            self._fail(self._ids.pop(number), reason)

    def close(self) -> None:
        """Leave the storage; SQLite's files become one again."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _insist(self, write: Callable[..., Any], *arguments: Any) -> None:
        """Write, again where the connection was lost meanwhile."""
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                write(*arguments)
            except optuna.exceptions.UpdateFinishedTrialError:
                return  # written before the connection was lost
            except optuna.exceptions.StorageInternalError:
                if last:
                    raise
                time.sleep(PAUSE_S)
            else:
                return

    def _opened_study(self, name: str) -> int:
        study = optuna.create_study(
            study_name=name,
            storage=self._storage,
            directions=directions(self._problem),
            load_if_exists=True,
        )
        wanted = [objective.name for objective in self._problem.objectives]
        found = study.metric_names
        if found is None and not study.get_trials(deepcopy=False):
            with warnings.catch_warnings():  # experimental for years; dashboards show the names
                warnings.simplefilter("ignore")
                study.set_metric_names(wanted)
        elif found != wanted or study.directions != directions(self._problem):
            before = ", ".join(found or map(str, study.directions))
            raise InputError(
                f"storage {public_url(self._url)}: study {name!r} was begun with objectives "
                f"{before}, not {', '.join(wanted)}"
            )
        return self._storage.get_study_id_from_name(name)

    def _read(self) -> None:
        """Take note of every trial, and fail those that a killed driver left running."""
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        self.begun = len(trials)
        finished: set[Architecture] = set()
        attempts: dict[Architecture, int] = {}
        for trial in trials:
            architecture = self._architecture(trial)
            if trial.state == TrialState.RUNNING:
                self._was_running(trial)
            if architecture is None or architecture in finished:
                continue
            if trial.intermediate_values:
                finished.add(architecture)
                self.seen.append(_seen(architecture, trial))
            elif trial.state == TrialState.COMPLETE:
                finished.add(architecture)
                self.finished.append((architecture, trial))
            elif "attempt" in trial.user_attrs:
                stopped = trial.user_attrs.get("reason") == STOPPED
                attempts[architecture] = int(trial.user_attrs["attempt"]) - stopped
        for architecture, tried in attempts.items():
            if architecture in finished:
                continue
            if tried < ATTEMPTS:
                self.again.append(Again(architecture, tried + 1))
            else:
                self.given_up.append(architecture)

    def _was_running(self, trial: "FrozenTrial") -> None:
        """Keep a trial whose network is in the race; fail one without anything."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(
            self._study_id, trial.number
        )
        if trial.intermediate_values:
            self._ids[trial.number] = trial_id
        else:
            self._fail(trial_id, KILLED)

    def _architecture(self, trial: "FrozenTrial") -> Architecture | None:
        """What a trial is about; None where it was left before all was decided."""
        try:
            return self._problem.space.architecture(trial.params)
        except InputError:
            return None

    def _fail(self, trial_id: int, reason: str) -> None:
        self._storage.set_trial_user_attr(trial_id, "reason", reason)
        self._storage.set_trial_state_values(trial_id, TrialState.FAIL)

    @contextmanager
    def _known_errors(self) -> Iterator[None]:
        """Errors of databases as one line."""
        try:
            yield
        except Exception as error:  # drivers of databases raise errors of their own
            reason = reason_of(error, self._url)
            raise StorageError(f"storage {public_url(self._url)}: {reason}") from None


def _seen(architecture: Architecture, trial: "FrozenTrial") -> Seen:
    looks = {}
    for step in sorted(trial.intermediate_values):
        found = trial.system_attrs[f"{LOOK}{step}"]
        looks[step] = (tuple(found["values"]), tuple(found["samples"]))
    attempts = {
        int(name.removeprefix(ATTEMPT_AT)): int(attempt)
        for name, attempt in trial.user_attrs.items()
        if name.startswith(ATTEMPT_AT)
    }
    notes = {n: v for n, v in trial.system_attrs.items() if not n.startswith(LOOK)}
    return Seen(
        trial.number,
        architecture,
        looks,
        {step: tried - (step in looks) for step, tried in attempts.items()},
        notes,
        trial.state,
    )
