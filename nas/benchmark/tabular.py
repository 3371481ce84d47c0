"""A table as a search whose answer is known: what it asks, what it hides, and how it is judged."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from nas.benchmark.lookup import Lookup, Rows
from nas.problem.goal import FRONT, Goal
from nas.problem.hypervolume import growth, hypervolume
from nas.problem.pareto import nondominated
from nas.problem.problem import Matrix, Objective, Problem, Vector, signs_of, unconstrained
from search_spaces import Architecture, SearchSpace

Evaluate = Callable[[Architecture], tuple[float, ...]]


@dataclass(frozen=True)
class Benchmark:
    """What strategies are compared on; made by `nas.benchmark.of_table`.

    Args:
        path: of the table.
        space: where architectures come from.
        objectives: what is traded off.
        values: the objectives of each row, (n, objectives), natural signs.
        at_most: hard budgets: a column that is known beforehand, and its limit.
        over: by how much each row passes each of them, (n,) a budget.
        reference: the corner of the box that is judged, (judged objectives,), natural signs.
        lookup: finds rows.
        given_front: the true front where it is known to lie beyond the rows, (n, objectives).
        goal: what strategies are told that counts: of the reference nothing, but where it is the
            goal's region.
    """

    path: Path
    space: SearchSpace
    objectives: tuple[Objective, ...]
    values: Matrix
    at_most: Mapping[str, float]
    over: Mapping[str, Vector]
    reference: Vector
    lookup: Lookup
    given_front: Matrix | None = None
    goal: Goal = FRONT

    def problem(self, seed: int) -> Problem:
        """What a strategy is told."""
        violations = self._violations if self.over else unconstrained
        return Problem(
            self.space,
            self.objectives,
            self._known,
            violations,
            seed,
            self._listed,
            goal=self.goal,
        )

    def evaluate(self, architecture: Architecture) -> tuple[float, ...]:
        """What an evaluation finds: the objectives that are not known, in order."""
        row = self.lookup.rows([architecture])[0]
        return tuple(self.values[row, ~self._is_known].tolist())

    @property
    def signs(self) -> Vector:
        """1 for each objective that is minimised, -1 for each that is maximised."""
        return signs_of(self.objectives)

    def less(self, values: Matrix) -> Matrix:
        """The judged objectives of (n, objectives) in natural signs; less is better."""
        places = [self.objectives.index(each) for each in self.judged]
        return np.asarray(values[:, places] * signs_of(self.judged))

    @cached_property
    def judged(self) -> tuple[Objective, ...]:
        """The objectives that count: where one winner is wanted, its quality alone."""
        return judged_by(self.goal.kind, self.objectives)

    @property
    def respelled(self) -> int:
        """How many rows are left out, as others spell their networks without dead edges."""
        dead = self.lookup.has_dead_edges
        return int((dead & ~dead[self.lookup.first]).sum())

    @cached_property
    def feasible(self) -> Rows:
        """The rows of different architectures inside every hard budget."""
        kept = self.lookup.first == np.arange(len(self.values))
        for over in self.over.values():
            kept &= over <= 0
        return np.flatnonzero(kept)

    @cached_property
    def front(self) -> Matrix:
        """The true front inside the box, (n, judged objectives), natural signs."""
        values = self._true_values
        inside = values[(values < self._corner).all(axis=1)]
        if not len(inside):
            return inside
        front = np.unique(inside[nondominated(inside, keep_equal=True)], axis=0)
        return np.asarray(front * signs_of(self.judged))

    @cached_property
    def front_size(self) -> int:
        """How many points the true front has, inside the box or not."""
        values = self._true_values
        return len(np.unique(values[nondominated(values, keep_equal=True)], axis=0))

    @cached_property
    def whole(self) -> float:
        """The hypervolume of the true front."""
        return hypervolume(self.front * signs_of(self.judged), self._corner)

    def shares(self, values: Matrix) -> Vector:
        """The share of the true front's hypervolume after each of n evaluations, (n,)."""
        grown = growth(self.less(values), self._corner) / self.whole
        # What was found in another order may sum to another last digit.
        return np.where(grown > 1 - 1e-12, 1.0, grown)

    def regrets(self, values: Matrix) -> Vector:
        """What the best of n evaluations lacks of the true best, (n,), never below 0.

        Of one objective in its own unit; of several, the hypervolume that was not found.
        """
        if len(self.judged) > 1:
            return np.asarray(self.whole * (1 - self.shares(values)))
        best = np.minimum.accumulate(self.less(values)[:, 0])
        return np.asarray(np.maximum(best - (self.front * signs_of(self.judged)).min(), 0.0))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What results belong to, as JSON: all that strategies see. How they are judged is not."""
        said = sha256(json.dumps(self.space.to_json(), sort_keys=True).encode())
        for held in (self.lookup.codes, self.values):
            said.update(np.ascontiguousarray(held).tobytes())
        return {
            "table": self.path.name,
            "table_sha256": said.hexdigest(),
            "objectives": [
                f"{each.name}:max" if each.maximize else each.name for each in self.objectives
            ],
            "known": [each.name for each in self.objectives if each.known],
            "at_most": dict(self.at_most),
            "goal": self.goal.kind,
            "region": dict(self.goal.region),
        }

    @property
    def _true_values(self) -> Matrix:
        """What is judged of every network inside the budgets, or of the given front."""
        rows = self.values[self.feasible] if self.given_front is None else self.given_front
        return self.less(rows)

    @property
    def _corner(self) -> Vector:
        return np.asarray(self.reference * signs_of(self.judged))

    @cached_property
    def _is_known(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array([objective.known for objective in self.objectives])

    @cached_property
    def _listed(self) -> tuple[Architecture, ...] | None:
        rows = np.flatnonzero(self.lookup.first == np.arange(len(self.values)))
        return None if len(rows) == self.space.size else self.lookup.architectures(rows)

    def _known(self, architectures: Sequence[Architecture]) -> Matrix:
        return np.asarray(self.values[self.lookup.rows(architectures)][:, self._is_known])

    def _violations(self, architectures: Sequence[Architecture]) -> Mapping[str, Vector]:
        rows = self.lookup.rows(architectures)
        return {name: over[rows] for name, over in self.over.items()}


def judged_by(goal: str, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
    """The objectives that count under a goal."""
    if goal != "best":
        return objectives
    return (next(each for each in objectives if not each.known),)
