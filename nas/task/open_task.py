"""A task of one's own, opened for one run."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from latency import Device
from nas import strategies
from nas.costs.limits import MAXIMISED, Limits
from nas.costs.resolve import resolve
from nas.evaluators import Evaluator
from nas.evaluators.serial import Serial
from nas.evaluators.workers import Workers
from nas.pipeline.contract import Outcome, Told
from nas.problem.problem import Problem
from nas.progress import Progress
from nas.run.results import Found, closest, in_order, most_closely, winner
from nas.run.run_folder import RunFolder
from nas.study.study import Study
from nas.task.deliver import deliver, hand_over
from nas.task.evaluation import Evaluation, known_elsewhere
from nas.task.pricing import Pricing, priced
from nas.task.task import Task
from nas.task.words import told
from search_spaces import Architecture, InputError, SearchSpace

OF_A_TRIAL = ("trial", "strategy", "seed", "parameters_count", "memory_mb", "flops_count")


class NetworkTask:
    """A task of one's own, as the pipeline takes it.

    Args:
        task: its parts.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    def opened(
        self, folder: RunFolder, progress: Progress, *, evaluates: bool = True
    ) -> "OpenNetworkTask":
        """The task for one run, as the folder's settings ask for it.

        Raises:
            InputError: it is not said what is traded off; as `OpenNetworkTask`.
        """
        if not folder.settings.objectives:
            raise InputError(
                "what is traded off is not said; give `objectives=`, as "
                f"accuracy_pct{MAXIMISED},latency_ms"
            )
        _check_names(self._task.space, folder.settings.objectives)
        return OpenNetworkTask(self._task, folder, progress, evaluates=evaluates)


class OpenNetworkTask:
    """A task of one's own, opened for one run."""

    def __init__(
        self, task: Task, folder: RunFolder, progress: Progress, *, evaluates: bool
    ) -> None:
        self._task = task
        self._folder = folder
        self._progress = progress
        self._pricing: Pricing = priced(task, folder.settings)
        self._strategy = strategies.load_strategy(folder.settings.strategy)
        self._finds: tuple[str, ...] = ()
        if evaluates:
            task.evaluation(self._finds)  # refused where there is none

    @property
    def space(self) -> SearchSpace:
        """The architectures."""
        return self._task.space

    @property
    def strategy(self) -> strategies.Strategy:
        """Proposes networks."""
        return self._strategy

    @property
    def own_stages(self) -> int:
        """Trace and measure: those that are asked for."""
        return (self._pricing.traces is not None) + self._pricing.on_host

    def limits(self) -> Limits:
        """The budgets, on devices that are known or measured now."""
        pricing, settings = self._pricing, self._folder.settings
        if (traces := pricing.traces) is not None:
            shown = self._progress.stage("trace networks", len(traces.first))
            with self._folder.timed("trace"), shown as advance:
                traces.begin(advance)
        main = self._measured_here() if pricing.on_host else pricing.main
        costs = pricing.costs(main, self._progress)
        return resolve(settings.budget, *costs, energy=pricing.energies(), sized=pricing.sized())

    def problem(self, limits: Limits) -> Problem:
        """What is searched; where costs are fitted, what is proposed is traced."""
        settings, traces = self._folder.settings, self._pricing.traces
        goal = settings.asked_goal()
        problem = limits.problem(settings.objectives, settings.seed, finds=None, goal=goal)
        self._finds = tuple(each.name for each in problem.objectives if not each.known)
        if said := known_elsewhere(self._finds):
            self._progress.say(f"evaluate must find {', '.join(self._finds)}{said}")
        looks = self._task.looks(settings.finalists, settings.trials)
        problem = replace(problem, fidelity=looks)
        return replace(problem, settle=self._exists if traces is None else traces.settle)

    def prepare(self) -> None:
        """Nothing: what `evaluate` needs is its own."""

    def evaluator(self, workers: Workers | None) -> Evaluator:
        """The user's function, in this process or others."""
        evaluation = self._task.evaluation(self._finds)
        return Serial(evaluation) if workers is None else workers.started(_as_it_is, evaluation)

    def begin(self, study: Study) -> None:
        """Nothing: the strategy begins."""

    def rivals(self, limits: Limits, problem: Problem) -> list[Found]:
        """None beside random picks."""
        return []

    def chosen(self, problem: Problem, *groups: list[Found]) -> Found:
        """The best of all; where evaluations have a fidelity, of those that were seen fully."""
        every = most_closely(*groups)
        self._folder.results.pop("finalists", None)
        if problem.fidelity is not None and any(each.is_full for each in every):
            self._folder.results["finalists"] = [
                {"trial": each.trial, "origin": each.origin, "seen": list(each.values)}
                for each in sorted(closest(every), key=in_order)
            ]
        return winner(every)

    def finish(self, winner: Architecture) -> None:
        """Nothing: weights are asked for when they are written."""

    def deliver(self, outcome: Outcome) -> dict[str, Any]:
        """Report, and hand over."""
        return deliver(self._folder, self._task, outcome, self._progress)

    def hand_over(self, outcome: Outcome, out: Path) -> None:
        """Write a bundle, or architecture and report, of one trial."""
        hand_over(self._folder, self._task, outcome, out)

    def told(self, summary: dict[str, Any]) -> Told:
        """The summary in words."""
        return told(summary, self._folder.path)

    @cached_property
    def _exists(self) -> Callable[[Architecture], bool] | None:
        """Which networks can be built, where a search needs no more of them."""
        if self._task.build is None:
            return None
        from nas.task.networks import Builds

        return Builds(self._task)

    def _measured_here(self) -> Device:
        from nas.calibration import profiling
        from nas.pipeline.host_profile import HostProfile
        from nas.task.networks import measured_as

        space = self._task.space
        return HostProfile(
            space,
            partial(profiling.plan_networks, space, build=partial(measured_as, self._task)),
            {},
            partial(profiling.measurements_of, costs=self._pricing.traces),
            self._folder,
            self._progress,
            self._pricing.traces.settle if self._pricing.traces else None,
        ).device()


def _check_names(space: SearchSpace, objectives: Sequence[str]) -> None:
    """Refuse choices that trials.csv has another column for."""
    taken = {*OF_A_TRIAL, *(name.removesuffix(MAXIMISED) for name in objectives)}
    for choice in space.choices:
        if choice.name in taken:
            raise InputError(
                f"space {space.name!r} has a choice called {choice.name!r}, as a column of "
                "trials.csv is; rename it"
            )


def _as_it_is(evaluation: Evaluation) -> Evaluation:
    """What a worker makes of what it is sent."""
    return evaluation
