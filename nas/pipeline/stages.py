"""The stages of a search. Each picks up where it was left."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from nas import strategies
from nas.costs.extremes import check_region
from nas.costs.limits import Limits
from nas.evaluators.cached import CachedEvaluator
from nas.evaluators.workers import Workers
from nas.pipeline.contract import OpenTask, Outcome
from nas.pipeline.earlier_runs import EarlierRun, earlier_of
from nas.problem.fidelity import ONCE
from nas.progress import Progress
from nas.run.results import Found, Origin, found, inside
from nas.run.run_folder import SEARCH, RunFolder
from nas.run.settings import MOST_SEEDS
from nas.run.studies import STUDIES, study_name
from nas.study.evaluations import Evaluated
from nas.study.record import Record
from nas.study.storage import sqlite
from nas.study.study import Study
from search_spaces import Architecture, InputError

BASELINE_SEED = 500_000
PICKS = "random picks, to compare"
STAGES = 3  # the search, its baseline, and the report; a task has its own


@dataclass(frozen=True)
class Studies:
    """The search and the random baseline beside it."""

    searched: Study
    picked: Study


@dataclass(frozen=True)
class Job:
    """The stages of one run.

    Args:
        task: what is searched.
        folder: where it stands.
        progress: where progress is shown.
        storage: of its studies; None for a file in the folder.
        earlier: runs that the search begins from, where its folder does not keep them yet.
    """

    task: OpenTask
    folder: RunFolder
    progress: Progress
    storage: str | None
    earlier: Sequence[EarlierRun] = ()

    def limits(self) -> Limits:
        """The budgets: latency comes first, so that one that nothing keeps is refused at once."""
        limits = self.task.limits()
        if limits.targets:
            self.progress.say(pipeline_line(limits))
        for line in _wondered_at(limits):
            self.progress.say(line)
        return limits

    @contextmanager
    def studies(self, limits: Limits) -> Iterator[Studies]:
        """The studies of the run, opened: what can be refused is, before long work."""
        problem = self.task.problem(limits)
        check_region(problem)
        told = replace(problem, earlier=earlier_of(self.earlier, self.folder, problem))
        url = self.storage or sqlite(self.folder.file("study.db"))
        records = [
            Record(url, study_name(self.folder.study, name), problem, partial(_described, limits))
            for name in STUDIES
        ]
        try:
            if problem.settle is not None:  # what an earlier try evaluated is known exactly again
                for architecture in (each for record in records for each in record.evaluated):
                    problem.settle(architecture)
            searched = Study(told, self.task.strategy, records[0])
            # Its own seed: a search that begins at random must not meet its own beginning.
            baseline = replace(problem, seed=(problem.seed + BASELINE_SEED) % MOST_SEEDS)
            yield Studies(searched, Study(baseline, strategies.random, records[1]))
        finally:
            for record in records:
                record.close()

    def outcome(self, studies: Studies, limits: Limits, workers: Workers | None) -> Outcome:
        """Search, compare, and choose the winner."""
        task, problem = self.task, studies.searched.problem
        task.prepare()
        with closing(CachedEvaluator(task.evaluator(workers))) as evaluator:
            if not studies.searched.has_spent(self.folder.settings.trials):
                task.begin(studies.searched)
            evaluated = self._evaluated(SEARCH, "search", studies.searched, evaluator, limits)
            picks = self._evaluated(PICKS, "random", studies.picked, evaluator, limits)
        rivals = task.rivals(limits, problem)
        best = task.chosen(problem, *inside(problem, evaluated, picks, rivals))
        task.finish(best.architecture)
        spent = studies.searched.spent
        return Outcome(limits, problem, evaluated, picks, rivals, best, spent)

    def _evaluated(
        self, title: str, origin: Origin, study: Study, evaluator: CachedEvaluator, limits: Limits
    ) -> list[Found]:
        """Run a study to its number of trials; every finished one stands in the storage."""
        problem, trials = study.problem, self.folder.settings.trials
        evaluator.known |= {(network, span): found for network, span, found in study.answers()}
        fidelity = problem.fidelity or ONCE
        total = trials * fidelity.full
        shown = title if fidelity is ONCE else f"{title}: {total:,} {fidelity.name}"
        with self.folder.timed(title), self.progress.stage(shown, total) as advance:
            advance(study.spent)

            def on_trial(_: Evaluated) -> None:
                self.folder.holds_trials = True
                advance(study.spent)

            evaluated = study.run(trials, evaluator, on_trial)
        if study.lost:
            self.progress.say(f"{title}: {study.lost}")
        if study.ended:
            self.progress.say(f"{title}: {study.ended}, so there are {len(evaluated)}")
        if not evaluated:
            raise InputError(f"{title}: {study.ended}")
        return found(evaluated, problem, limits, origin)


def _described(limits: Limits, architecture: Architecture) -> dict[str, float]:
    """What a trial says of its network beside the objectives."""
    meters = limits.meters
    found = {} if not limits.targets else {"network_ms": limits.costs.latencies_ms}
    sizes = {name.removesuffix("_count"): m for name, m in meters.items() if "latency" not in name}
    return {name: float(meter([architecture])[0]) for name, meter in (found | sizes).items()}


def _wondered_at(limits: Limits) -> Iterator[str]:
    """Limits that a person may not have meant so."""
    for target in limits.targets:
        if np.isfinite(target.latency_ms):
            slowest_ms = float(limits.limited_ms([target.costs.slowest], target)[0])
            if slowest_ms <= target.latency_ms:
                yield (
                    f"the limit of {target.latency_ms:.5g} ms excludes nothing on "
                    f"{target.costs.device.name}: its slowest network is predicted at "
                    f"{slowest_ms:.4g} ms"
                )


def pipeline_line(limits: Limits) -> str:
    """The pipeline on the main device, and what its budget leaves for the network."""
    target, steps = limits.targets[0], limits.budget.steps
    parts = "".join(
        f" + {part.name} {part.latency_ms:.4g} ms ({part.kind})" for part in target.parts
    )
    network = "network" if steps == 1 else f"{steps} x network"
    line = f"pipeline on {target.costs.device.name}: {network}{parts}"
    if np.isfinite(target.latency_ms):
        left_ms = target.network_ms(limits.budget)
        line += f"; {target.latency_ms:.5g} ms leave {left_ms:.4g} ms for a call of the network"
        if limits.budget.bound == "upper":
            line += "'s upper bound"
    return line
