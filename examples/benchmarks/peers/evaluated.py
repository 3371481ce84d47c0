"""A peer's memory: only different architectures inside the budgets are evaluated, and count."""

from collections.abc import Sequence

import numpy as np

from nas.benchmark.tabular import Evaluate
from nas.problem.problem import Matrix, Problem, Vector
from search_spaces import Architecture


class Evaluated:
    """What was found so far, in order; `trials` of it is all that is asked."""

    def __init__(self, problem: Problem, trials: int, evaluate: Evaluate) -> None:
        self.problem = problem
        self.trials = trials
        self._evaluate = evaluate
        self._found: dict[Architecture, Vector] = {}

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, architecture: Architecture) -> bool:
        return architecture in self._found

    @property
    def is_full(self) -> bool:
        return len(self._found) >= self.trials

    @property
    def architectures(self) -> list[Architecture]:
        return list(self._found)[: self.trials]

    @property
    def all_values(self) -> Matrix:
        """What was found, (evaluated, objectives), less is better."""
        return np.array(list(self._found.values()))

    def violations(self, architectures: Sequence[Architecture]) -> Vector:
        """By how much each passes the budgets, all together, (n,); 0 where it keeps them."""
        passed = self.problem.violations(architectures).values()
        return sum((np.maximum(each, 0.0) for each in passed), np.zeros(len(architectures)))

    def values(self, architectures: Sequence[Architecture]) -> Matrix:
        """The objectives of each, (n, objectives), less is better; infinite beyond a budget."""
        kept = self.violations(architectures) <= 0
        worst = np.full(len(self.problem.objectives), np.inf)
        return np.stack(
            [
                self._values(each) if inside else worst
                for each, inside in zip(architectures, kept, strict=True)
            ]
        )

    def _values(self, architecture: Architecture) -> Vector:
        if architecture not in self._found:
            values = self.problem.values(architecture, self._evaluate(architecture))
            self._found[architecture] = self.problem.signs * values
        return self._found[architecture]
