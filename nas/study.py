"""The study: ask a strategy, evaluate what is new and inside the budget, tell, store.

Optuna's storage is the truth. What is finished there is never evaluated again, whatever killed
the process; a trial that was running is proposed again.
"""

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from nas.budget import Limits
from nas.run_folder import public_url
from nas.strategies import Problem, Strategy
from search_spaces import Architecture, InputError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

Quality = Callable[[Architecture], float]  # validation loss, lower is better
METRICS = ["validation_loss", "latency_ms"]
TURNED_DOWN_IN_A_ROW = 50  # then the driver picks at random itself
RANDOM_TRIES = 2000
LISTABLE = 100_000


@dataclass(frozen=True)
class Evaluated:
    """A finished trial."""

    trial: int
    architecture: Architecture
    loss: float
    latency_ms: float


class Study:
    """One Optuna study over (validation loss, latency) with the budget as constraints."""

    def __init__(
        self,
        name: str,
        storage: str,
        limits: Limits,
        strategy: Strategy,
        seed: int,
    ) -> None:
        self._space = limits.costs.space
        self._limits = limits
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self._study = optuna.create_study(
                study_name=name,
                storage=storage,
                directions=[StudyDirection.MINIMIZE, StudyDirection.MINIMIZE],
                load_if_exists=True,
            )
        except Exception as error:  # drivers of databases raise errors of their own
            reason = str(error).strip().splitlines()[0]
            where = public_url(storage)
            raise InputError(f"storage {where}: cannot be opened: {reason}") from error
        with warnings.catch_warnings():  # experimental for years; dashboards show the names
            warnings.simplefilter("ignore")
            self._study.set_metric_names(METRICS)
        # A resumed study draws on where it was, not from the start again.
        begun = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = strategy(
            Problem(self._space, limits.pipeline_ms, limits.keeps, seed + begun)
        )
        self._rng = np.random.default_rng((seed, begun))
        self._propose_again()

    def finished(self) -> list[Evaluated]:
        """Every evaluated architecture, in the order of its trial."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [
            Evaluated(t.number, self._space.architecture(t.params), t.values[0], t.values[1])
            for t in trials
        ]

    def run(
        self,
        trials: int,
        quality: Quality,
        on_trial: Callable[[Evaluated], None] | None = None,
    ) -> list[Evaluated]:
        """Evaluate until `trials` different architectures are finished, or there are no more.

        Raises:
            FloatingPointError: an evaluation returned no finite loss; the trial is marked failed.
        """
        seen = {found.architecture for found in self.finished()}
        turned_down = 0
        while len(seen) < trials:
            if turned_down >= TURNED_DOWN_IN_A_ROW:
                fresh = self._any_other(seen)
                if fresh is None:
                    break
                self._study.enqueue_trial(dict(fresh))
            trial = self._study.ask()
            architecture = self._space.suggest(trial)
            if architecture in seen or not self._limits.keeps(architecture):
                why = "evaluated before" if architecture in seen else "over the budget"
                trial.set_user_attr("turned_down", why)
                self._study.tell(trial, state=TrialState.FAIL)
                turned_down += 1
                continue
            turned_down = 0
            found = self._evaluate(trial, architecture, quality)
            seen.add(architecture)
            if on_trial is not None:
                on_trial(found)
        return self.finished()

    def _evaluate(self, trial: "Trial", architecture: Architecture, quality: Quality) -> Evaluated:
        latency_ms = self._limits.pipeline_ms(architecture)
        trial.set_user_attr("architecture", architecture.digest)
        trial.set_user_attr("network_ms", self._limits.costs.network_ms(architecture).latency_ms)
        trial.set_user_attr("parameters", self._limits.costs.parameters(architecture))
        trial.set_user_attr("memory_mb", self._limits.costs.memory_mb(architecture))
        for name, excess in self._limits.excess(architecture).items():
            trial.set_constraint(name, excess)
        loss = quality(architecture)
        if not math.isfinite(loss):
            self._study.tell(trial, state=TrialState.FAIL)
            raise FloatingPointError(f"trial {trial.number}: loss of {architecture} is {loss}")
        self._study.tell(trial, [loss, latency_ms])
        return Evaluated(trial.number, architecture, loss, latency_ms)

    def _propose_again(self) -> None:
        """Trials that a killed process left running fail, and their architectures come again."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            if _is_whole(self._space.architecture, trial):
                self._study.enqueue_trial(trial.params)

    def _any_other(self, seen: set[Architecture]) -> Architecture | None:
        """Some architecture inside the budget that was not evaluated; None where all were."""
        drawn = (self._space.sample(self._rng) for _ in range(RANDOM_TRIES))
        # Where almost nothing keeps the budget, what does lies near what is known to.
        inside = [self._limits.costs.fastest, *sorted(seen, key=self._limits.pipeline_ms)]
        near = (n for architecture in inside for n in self._space.neighbours(architecture))
        listed: Iterator[Architecture] = iter(())
        if self._space.size <= LISTABLE:
            listed = self._space.enumerate()
        for architecture in itertools.chain(drawn, inside[:1], near, listed):
            if architecture not in seen and self._limits.keeps(architecture):
                return architecture
        return None


def sqlite(path: Path) -> str:
    """The storage URL of a SQLite file, which is made where there is none.

    Its tables are made beside it and renamed into place: a process that is killed while Optuna
    makes them leaves no half of a database behind.
    """
    if not path.exists():
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{new}")
        storage.remove_session()
        storage.engine.dispose()
        new.replace(path)
    return f"sqlite:///{path}"


def front(evaluated: list[Evaluated]) -> list[Evaluated]:
    """Those that no other beats in both loss and latency, fastest first."""
    best = math.inf
    found = []
    for candidate in sorted(evaluated, key=lambda e: (e.latency_ms, e.loss)):
        if candidate.loss < best:
            best = candidate.loss
            found.append(candidate)
    return found


def winner(evaluated: list[Evaluated]) -> Evaluated:
    """The best quality; everything evaluated is inside the budget."""
    return min(evaluated, key=lambda e: (e.loss, e.latency_ms))


def _is_whole(parse: Callable[[dict[str, object]], Architecture], trial: "FrozenTrial") -> bool:
    try:
        parse(dict(trial.params))
    except InputError:
        return False
    return True
