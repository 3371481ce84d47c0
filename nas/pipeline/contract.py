"""Tasks as the pipeline sees them: what is searched, and the parts that each task does in its way.

`nas.temporal` is one (temporal blocks on an image U-Net, by a supernet), `nas.task` another (a
user's own functions). The pipeline asks none of them what kind it is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nas.costs.limits import Limits
from nas.evaluators import Evaluator
from nas.evaluators.workers import Workers
from nas.problem.problem import Problem
from nas.progress import Progress
from nas.run.results import Found
from nas.run.run_folder import RunFolder
from nas.study.study import Study
from search_spaces import Architecture, SearchSpace


@dataclass(frozen=True)
class Outcome:
    """What a search came to, before it is written down.

    Args:
        limits: that all networks keep, but those that are shown beside.
        problem: that was searched.
        evaluated: by the search, in order.
        picks: the random baseline: as many networks inside the same limits.
        rivals: others that a task sets beside: the uniform layouts of a U-Net.
        winner: the best of them all.
        spent: by the search, of what its fidelity counts, on closer looks that failed, too.
    """

    limits: Limits
    problem: Problem
    evaluated: list[Found]
    picks: list[Found]
    rivals: list[Found]
    winner: Found
    spent: int


@dataclass(frozen=True)
class Told:
    """What a search says at its end, for people: a table and some lines."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...]


class OpenTask(Protocol):
    """A task, opened for one run: what is misspelt or does not fit was refused."""

    @property
    def space(self) -> SearchSpace:
        """The architectures."""

    @property
    def strategy(self) -> Any:
        """A `nas.strategies.Strategy`."""

    @property
    def own_stages(self) -> int:
        """How many stages of its own show progress."""

    def limits(self) -> Limits:
        """The budgets, on devices that are known or measured now."""

    def problem(self, limits: Limits) -> Problem:
        """What is searched inside them; what can be refused is, before the long work."""

    def prepare(self) -> None:
        """Make what evaluations need: a task may train."""

    def evaluator(self, workers: Workers | None) -> Evaluator:
        """What evaluates, here or on workers."""

    def begin(self, study: Study) -> None:
        """Say what the search's study begins with, if anything."""

    def rivals(self, limits: Limits, problem: Problem) -> list[Found]:
        """Networks that the search is compared with, beside random picks."""

    def chosen(self, problem: Problem, *groups: list[Found]) -> Found:
        """The winner of all that was evaluated, whoever found it."""

    def finish(self, winner: Architecture) -> None:
        """Make of the winner what is delivered."""

    def deliver(self, outcome: Outcome) -> dict[str, Any]:
        """Write what a finished run leaves, run.json among it; the summary comes back."""

    def hand_over(self, outcome: Outcome, out: Path) -> None:
        """Write a bundle, or architecture and report, of one trial; the run stays as it is."""

    def told(self, summary: dict[str, Any]) -> Told:
        """The summary in words."""


class Task(Protocol):
    """What can be searched."""

    def opened(self, folder: RunFolder, progress: Progress, *, evaluates: bool = True) -> OpenTask:
        """The task for one run, as the folder's settings ask for it.

        Args:
            folder: of the run.
            progress: where progress is shown.
            evaluates: whether networks will be evaluated, or only handed over.

        Raises:
            InputError: nothing of such a name, or what does not fit together.
        """
