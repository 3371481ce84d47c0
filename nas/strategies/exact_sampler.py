"""Additive scores of parts, and the best arrangement under a budget by integer programming.

A part is a choice with all that depends on it: a slot with its block. Quality is taken for a sum
over parts (Bayesian ridge regression, one score an option of a part), and so are the costs; then
the best architecture under any budget is an integer program, which HiGHS solves exactly. Each
proposal draws scores from what they may be and a budget between the cheapest and the dearest, so
that proposals differ and cover the front.

Where quality has a cheap proxy, as a supernet on few clips is, scores are fitted to what it guesses
before anything is evaluated; `warm_start` arranges them for any other strategy to begin with.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nas.problem.problem import Matrix, Problem, Vector
from nas.strategies.candidates import Searcher, Seen
from nas.strategies.joint import JointSampler
from nas.strategies.observations import Observations
from nas.strategies.parts import parts_of
from search_spaces.space.integer_encoding import Codes

if TYPE_CHECKING:
    from search_spaces import Architecture

FIRST = 20
GUESSES, MOST_GUESSES = 1, 128  # as many guesses an option, and in all
NOISES = (0.003, 0.01, 0.03, 0.1, 0.3)  # shares of the variance of what was evaluated
CUTS = 20  # arrangements that turn out to be over a budget before the program is given up ...
DRAWN = 2000  # ... and random rows are looked at
ROUNDING = 1e-9  # what a sum of costs may be off by
KNOWN = 200  # evaluated arrangements that are ruled out beforehand: those of the best scores


@dataclass(frozen=True)
class _Posterior:
    """What the scores of all options may be, given sums of them with noise."""

    columns: Matrix
    target: Vector
    parts: int
    noise: float
    factor: Matrix
    evidence: float  # log marginal likelihood

    @classmethod
    def of(cls, columns: Matrix, target: Vector, parts: int) -> "_Posterior":
        """With the noise of most evidence."""
        alike = columns @ columns.T / parts
        found: list[tuple[float, float, Matrix]] = []
        for noise in NOISES:
            lower = np.asarray(np.linalg.cholesky(alike + noise * np.eye(len(target))))
            half = np.linalg.solve(lower, target)
            evidence = float(-half @ half / 2 - np.log(np.diag(lower)).sum())
            found.append((evidence, noise, lower))
        evidence, noise, factor = max(found, key=lambda each: each[0])
        return cls(columns, target, parts, noise, factor, evidence)

    @property
    def mean(self) -> Vector:
        """(columns,)."""
        return self._corrected(np.zeros(self.columns.shape[1]), np.zeros(len(self.target)))

    def drawn(self, rng: np.random.Generator) -> Vector:
        """One possibility, (columns,): a draw from the prior, corrected (Matheron's rule)."""
        prior = rng.normal(0, 1 / np.sqrt(self.parts), self.columns.shape[1])
        return self._corrected(prior, rng.normal(0, np.sqrt(self.noise), len(self.target)))

    def _corrected(self, prior: Vector, noise: Vector) -> Vector:
        left = self.target - self.columns @ prior - noise
        answer = np.linalg.solve(self.factor.T, np.linalg.solve(self.factor, left))
        found: Vector = prior + self.columns.T @ answer / self.parts
        return found


def _standard(quality: Vector) -> Vector:
    found: Vector = (quality - quality.mean()) / max(float(quality.std()), 1e-12)
    return found


def spread(count: int) -> list[float]:
    """Shares of a range, the whole first; any beginning covers it (Halton's sequence)."""
    from scipy.stats import qmc

    shares: list[float] = qmc.Halton(1, scramble=False).random(count)[:, 0].tolist()
    return [1.0, *shares[1:]][:count]


class Exact(JointSampler):
    """Proposes the best arrangements of additive scores."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._parts = parts_of(self.coder)
        self._searcher = Searcher(problem, self.coder, self.rng)

    def propose(self, seen: Observations, *, first: bool) -> "list[Architecture]":
        """One arrangement at a time, after balanced first points where nothing can be guessed."""
        taken = Seen(self.coder, seen.codes, seen.pending, seen.avoided)
        if first and self.problem.proxy is None:
            wanted = max(0, FIRST - len(seen.codes))
            if wanted and len(begin := self._searcher.balanced(wanted, taken)):
                return self.coder.architectures(begin)
        posterior = self._posterior(seen.codes, seen.values)
        scores = None if posterior is None else posterior.drawn(self.rng)
        share = float(self.rng.uniform())
        if scores is None or self.problem.listed is not None:
            return self.coder.architectures(self._near(scores, share, taken))
        known = np.concatenate([seen.codes, seen.pending, seen.avoided])
        return self.coder.architectures(self._arranged_or_near(scores, share, known))

    def warm_start(self, count: int) -> "list[Architecture]":
        """The best arrangements by guesses alone, under budgets all over what is allowed.

        Any beginning of them is spread too. Fewer than `count` where no others were found.
        """
        found = np.zeros((0, len(self.coder.choices)))
        posterior = self._posterior(found, np.zeros((0, len(self.problem.objectives))))
        if posterior is None:
            return []
        for share in spread(count):
            found = np.concatenate([found, self._arranged_or_near(posterior.mean, share, found)])
        return self.coder.architectures(found)

    def scoring_set(self) -> "list[Architecture]":
        """Architectures in which every option stands equally often: guesses of them score it."""
        count = min(MOST_GUESSES, GUESSES * int(self._parts.starts[-1]))
        rows = self.coder.balanced_sample(
            count, np.random.default_rng(0)
        )  # the same in every resume
        return self.coder.architectures(np.unique(rows, axis=0))

    def _arranged_or_near(self, scores: Vector, share: float, known: Codes) -> Codes:
        """The best arrangement; where the program finds none, a good one; one row or none."""
        row = self._arranged(scores, share, known)
        return self._near(scores, share, Seen(self.coder, known)) if row is None else row[None]

    def _near(self, scores: Vector | None, share: float, seen: Seen) -> Codes:
        """Of random rows, the one of the best score that a budget allows."""
        found = self._searcher.inside(seen, self._searcher.random(DRAWN))
        if not len(found) or scores is None:
            return found.codes[:1]
        score = self._parts.columns(found.codes) @ scores
        if found.costs.shape[1]:
            cost = found.costs[:, int(self.rng.integers(found.costs.shape[1]))]
            score[cost > cost.min() + share * (cost.max() - cost.min())] = np.inf
        return found.codes[[int(np.argmin(score))]]

    def _posterior(self, codes: Codes, values: Matrix) -> "_Posterior | None":
        """Of the scores, by what was evaluated and what was guessed; None without either.

        Guesses are left out where evaluations are more likely without them (Bayes' factor).
        """
        main = int(np.flatnonzero(~self.problem.is_known)[0])
        evaluated = self._posterior_of((codes, values[:, main]))
        if self._guessed is None:
            return evaluated
        guessed = self._posterior_of(self._guessed)
        if evaluated is None or guessed is None:
            return evaluated or guessed
        both = self._posterior_of((codes, values[:, main]), self._guessed)
        assert both is not None
        helps = both.evidence - guessed.evidence >= evaluated.evidence
        return both if helps else evaluated

    def _posterior_of(self, *groups: tuple[Codes, Vector]) -> "_Posterior | None":
        # Each against its own mean: guesses are worth their differences.
        known = [(each, _standard(quality)) for each, quality in groups if len(each) > 1]
        if not known:
            return None
        columns = self._parts.columns(np.concatenate([each for each, _ in known]))
        target = np.concatenate([quality for _, quality in known])
        return _Posterior.of(columns, target, len(self._parts.places))

    @cached_property
    def _guessed(self) -> tuple[Codes, Vector] | None:
        """What was guessed; None where nothing can be, or no guess is a number."""
        if self.problem.proxy is None:
            return None
        architectures = self.scoring_set()
        guesses = np.asarray(self.problem.proxy(architectures), dtype=float)
        kept = np.isfinite(guesses)
        if not kept.any():
            return None
        return self.coder.codes(architectures)[kept], guesses[kept]

    def _arranged(self, scores: Vector, share: float, known: Codes) -> Codes | None:
        """The best new row inside the budgets for these scores; None where none was found.

        Args:
            scores: (columns,).
            share: where the budget of one of the costs lies, between the least and the largest
                that the hard budgets allow.
            known: rows that are not wanted again.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp

        parts, (base, table) = self._parts, self._cost_table
        width = len(scores)
        one_each = np.zeros((len(parts.places), width))
        for part, (start, stop) in enumerate(itertools.pairwise(parts.starts.tolist())):
            one_each[part, start:stop] = 1.0
        limits = [LinearConstraint(one_each, 1, 1)]
        costs = int(self.problem.is_known.sum())
        limits += [
            LinearConstraint(table[None, :, number], -np.inf, -base[number])
            for number in range(costs, table.shape[1])
        ]

        def solved(scores: Vector) -> Vector | None:
            chosen = milp(
                scores,
                constraints=limits,
                integrality=np.ones(width, dtype=np.int64),
                bounds=Bounds(0, 1),
                options={"time_limit": 5.0},
            ).x
            return None if chosen is None else np.asarray(chosen, dtype=float)

        columns = parts.columns(known)
        if costs:
            cost = table[:, int(self.rng.integers(costs))]
            least, dearest = solved(cost), solved(-cost)
            if least is None or dearest is None:
                return None
            low, high = float(cost @ least), float(cost @ dearest)
            most = low + share * (high - low) + ROUNDING
            limits.append(LinearConstraint(cost[None], -np.inf, most))
            columns = columns[columns @ cost <= most]
        if len(columns):
            # None of these again.
            best = columns[np.argsort(columns @ scores, kind="stable")[:KNOWN]]
            limits.append(LinearConstraint(best, -np.inf, len(parts.places) - 1))
        seen = Seen(self.coder, known)
        for _ in range(CUTS):
            chosen = solved(scores)
            if chosen is None:
                return None
            row: Codes = parts.arranged(chosen)[None]
            if self.problem.keeps(self.coder.architectures(row))[0] and len(seen.fresh(row)):
                return parts.arranged(chosen)
            # Not this arrangement again: it is known, or the sums are not exact enough.
            limits.append(LinearConstraint(parts.columns(row), -np.inf, len(parts.places) - 1))
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
        violation = self.problem.violations(architectures)
        found = np.column_stack([self.problem.costs(architectures), *violation.values()])
        return found[-1], found[:-1] - found[-1]
