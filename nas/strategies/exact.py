"""Additive scores of parts, and the best arrangement under a budget by integer programming.

A part is a choice with all that depends on it: a slot with its block. Quality is taken for a sum
over parts (Bayesian ridge regression, one score an option of a part), and so are the costs; then
the best architecture under any budget is an integer program, which HiGHS solves exactly. Each
proposal draws scores from what they may be and a budget between the cheapest and the dearest, so
that proposals differ and cover the front.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nas.problem import Matrix, Problem, Vector
from nas.strategies.candidates import Searcher, Seen
from nas.strategies.whole import WholeArchitectures
from search_spaces import InputError, NumericChoice
from search_spaces.codes import INACTIVE, Coder, Codes

if TYPE_CHECKING:
    from search_spaces import Architecture

FIRST = 20
LARGEST_PART = 2000  # options of one part
LEVELS = 9  # of a number that varies freely
NOISES = (0.003, 0.01, 0.03, 0.1, 0.3)  # shares of the variance of what was evaluated
CUTS = 20  # arrangements that turn out to be known, or over a budget, before a proposal is given up


@dataclass(frozen=True)
class Parts:
    """A space as independent parts, each with all its options."""

    places: tuple[tuple[int, ...], ...]  # of each part's choices
    options: tuple[Codes, ...]  # of each part: (options, its choices)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where each part's columns begin, and where the last end."""
        return np.concatenate([[0], np.cumsum([len(o) for o in self.options])]).astype(np.int64)

    def columns(self, codes: Codes) -> Matrix:
        """(n, columns): which option each part has; nothing where it has none of them."""
        found = np.zeros((len(codes), int(self.starts[-1])))
        for part, (places, options) in enumerate(zip(self.places, self.options, strict=True)):
            far = np.abs(codes[:, None, places] - options[None]).sum(axis=2)
            found[np.arange(len(codes)), self.starts[part] + far.argmin(axis=1)] = 1.0
        return found

    def arranged(self, chosen: Vector) -> Codes:
        """The row of codes whose options are above one half in `chosen`, (columns,)."""
        row = np.full(sum(len(places) for places in self.places), INACTIVE)
        for part, (places, options) in enumerate(zip(self.places, self.options, strict=True)):
            inside = chosen[self.starts[part] : self.starts[part + 1]]
            row[list(places)] = options[int(np.argmax(inside))]
        return row


def parts_of(coder: Coder) -> Parts:
    """The parts of a space.

    Raises:
        InputError: a part has too many options to list.
    """
    root = list(range(len(coder.choices)))
    for place, parent in enumerate(coder.parents):
        if parent is not None:
            root[place] = root[parent[0]]
    places = [tuple(p for p in range(len(root)) if root[p] == r) for r in sorted(set(root))]
    return Parts(tuple(places), tuple(_options(coder, each) for each in places))


def _options(coder: Coder, places: tuple[int, ...]) -> Codes:
    levels = [
        np.linspace(0, 1, LEVELS)
        if isinstance(coder.choices[place], NumericChoice)
        else np.arange(coder.option_counts[place], dtype=float)
        for place in places
    ]
    count = int(np.prod([len(each) for each in levels]))
    if count > LARGEST_PART:
        name = coder.choices[places[0]].name
        raise InputError(
            f"strategy 'exact' lists every option of a choice with all that depends on it; "
            f"{name!r} has up to {count}; use 'cost-aware'"
        )
    rows = np.zeros((count, len(coder.choices)))
    rows[:, list(places)] = list(itertools.product(*levels))
    found: Codes = np.unique(coder.canonical(rows)[:, list(places)], axis=0)
    return found


class Exact(WholeArchitectures):
    """Proposes the best arrangements of additive scores."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._parts = parts_of(self.coder)
        self._searcher = Searcher(problem, self.coder, self.rng)
        self._begun = False

    def propose(self, codes: Codes, values: Matrix, pending: Codes) -> "list[Architecture]":
        """One arrangement at a time, after balanced first points."""
        seen = Seen(codes, pending)
        if not self._begun:
            self._begun = True
            wanted = max(0, FIRST - len(codes))
            if wanted and len(first := self._searcher.balanced(wanted, seen)):
                return self.coder.architectures(first)
        if len(codes) < 2 or self.problem.listed is not None:
            return self.coder.architectures(self._near(codes, values, seen))
        scores = self._drawn_scores(codes, values)
        row = self._arranged(scores, np.concatenate([codes, pending]))
        return [] if row is None else self.coder.architectures(row[None])

    def _near(self, codes: Codes, values: Matrix, seen: Seen) -> Codes:
        """Of listed rows, the one of the best drawn score that a random budget allows."""
        found = self._searcher.inside(seen, self._searcher.random(2000))
        if not len(found) or len(codes) < 2:
            return found.codes[:1]
        score = self._parts.columns(found.codes) @ self._drawn_scores(codes, values)
        if found.costs.shape[1]:
            cost = found.costs[:, int(self.rng.integers(found.costs.shape[1]))]
            score[cost > self.rng.uniform(cost.min(), cost.max())] = np.inf
        return found.codes[[int(np.argmin(score))]]

    def _drawn_scores(self, codes: Codes, values: Matrix) -> Vector:
        """Scores of all options (columns,), drawn from their posterior."""
        columns = self._parts.columns(codes)
        quality = values[:, int(np.flatnonzero(~self.problem.is_known)[0])]
        target = (quality - quality.mean()) / max(float(quality.std()), 1e-12)
        count, parts = len(target), len(self._parts.places)
        alike = columns @ columns.T / parts
        factor: Matrix = np.eye(count)
        best, noise = -np.inf, NOISES[0]
        for each in NOISES:
            lower = np.linalg.cholesky(alike + each * np.eye(count))
            half = np.linalg.solve(lower, target)
            evidence = -half @ half / 2 - np.log(np.diag(lower)).sum()
            if evidence > best:
                best, noise = float(evidence), each
                factor = np.asarray(lower, dtype=float)
        # A draw from the prior, corrected by what was seen (Matheron's rule).
        prior = self.rng.normal(0, 1 / np.sqrt(parts), columns.shape[1])
        left = target - columns @ prior - self.rng.normal(0, np.sqrt(noise), count)
        answer = np.linalg.solve(factor.T, np.linalg.solve(factor, left))
        drawn: Vector = prior + columns.T @ answer / parts
        return drawn

    def _arranged(self, scores: Vector, known: Codes) -> Codes | None:
        """The best new row inside the budgets for these scores; None where none was found."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        parts, (base, table) = self._parts, self._cost_table
        width = len(scores)
        one_each = np.zeros((len(parts.places), width))
        for part, (start, stop) in enumerate(itertools.pairwise(parts.starts.tolist())):
            one_each[part, start:stop] = 1.0
        limits = [LinearConstraint(one_each, 1, 1)]
        costs = int(self.problem.is_known.sum())
        if costs:
            cost = table[:, int(self.rng.integers(costs))]
            spans = [cost[a:b] for a, b in itertools.pairwise(parts.starts.tolist())]
            low, high = sum(s.min() for s in spans), sum(s.max() for s in spans)
            limits.append(LinearConstraint(cost[None], -np.inf, self.rng.uniform(low, high)))
        limits += [
            LinearConstraint(table[None, :, number], -np.inf, -base[number])
            for number in range(costs, table.shape[1])
        ]
        taken = {row.tobytes() for row in known}
        for _ in range(CUTS):
            found = milp(
                scores,
                constraints=limits,
                integrality=np.ones(width, dtype=np.int64),
                bounds=Bounds(0, 1),
                options={"time_limit": 5.0},
            )
            if found.x is None:
                return None
            row = parts.arranged(found.x)
            keeps = self.problem.keeps(self.coder.architectures(row[None]))[0]
            if row.tobytes() not in taken and keeps:
                return row
            # Not this arrangement again: it was evaluated, or the sums are not exact enough.
            columns = parts.columns(row[None])
            limits.append(LinearConstraint(columns, -np.inf, len(parts.places) - 1))
        return None

    @cached_property
    def _cost_table(self) -> tuple[Vector, Matrix]:
        """What each option adds to a base architecture's costs and excesses.

        Returns:
            Of the base (costs and excesses,), and (columns, costs and excesses).
        """
        parts = self._parts
        base = np.concatenate([options[0] for options in parts.options])
        order = np.argsort(np.concatenate([np.array(places) for places in parts.places]))
        rows = np.repeat(base[order][None], int(parts.starts[-1]) + 1, axis=0)
        for places, options, start in zip(parts.places, parts.options, parts.starts, strict=False):
            rows[np.ix_(range(start, start + len(options)), places)] = options
        architectures = self.coder.architectures(rows)
        excess = self.problem.excess(architectures)
        found = np.column_stack([self.problem.costs(architectures), *excess.values()])
        return found[-1], found[:-1] - found[-1]
