"""A table's benchmark as an objective of Optuna's, in the shape of OptunaHub's problems.

What `optunahub.benchmarks.BaseProblem` asks for is here, so that anybody's samplers run on our
tables; optunahub itself is not needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.benchmark.tabular import Benchmark
from search_spaces import Architecture, InputError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import StudyDirection
    from optuna.trial import Trial


@dataclass(frozen=True)
class OptunaProblem:
    """An objective for `study.optimize`, with `search_space` and `directions`."""

    benchmark: Benchmark

    @property
    def search_space(self) -> "dict[str, BaseDistribution]":
        """The distribution of each choice."""
        from nas.problem.distributions import distributions

        return distributions(self.benchmark.space)

    @property
    def directions(self) -> "list[StudyDirection]":
        """Of the objectives, in their order."""
        from nas.problem.distributions import directions

        return directions(self.benchmark.problem(0))

    def evaluate(self, params: Mapping[str, Any]) -> tuple[float, ...]:
        """All objectives of the network that parameters decide, whether known beforehand or not.

        Raises:
            InputError: no network of the space, or none of the table's.
        """
        row = self._row(self.benchmark.space.architecture(params))
        return tuple(self.benchmark.values[row].tolist())

    def evaluate_constraints(self, params: Mapping[str, Any]) -> dict[str, float]:
        """By how much the network passes each hard budget; 0 or less where it keeps it."""
        row = self._row(self.benchmark.space.architecture(params))
        return {name: float(over[row]) for name, over in self.benchmark.over.items()}

    def __call__(self, trial: "Trial") -> tuple[float, ...]:
        """Let a trial decide what matters, and evaluate it; what the table lacks is pruned."""
        from optuna import TrialPruned

        architecture = self.benchmark.space.suggest(trial)
        try:
            row = self._row(architecture)
        except InputError as error:
            raise TrialPruned(str(error)) from None
        for name, over in self.benchmark.over.items():
            trial.set_constraint(name, float(over[row]))
        return tuple(self.benchmark.values[row].tolist())

    def _row(self, architecture: Architecture) -> int:
        return int(self.benchmark.lookup.rows([architecture])[0])
