"""The default strategy: Bayesian optimisation of quality, where costs are known exactly.

After some balanced first points, a Gaussian process is the surrogate of quality; proposed is what
has the largest expected improvement inside the budgets: of the best quality where one winner
counts, else of the hypervolume up to the goal's corner or of the whole front. The settings are the
same everywhere. They were chosen on NAS-Bench-201 with its two errors and four devices, so what
examples/benchmarks/search_nb201.py prints is no blind test of them; the share of the whole front
was, beside two of these devices, on made-up chains of blocks; `first_share` on supernets of
moving_digits and of the twin of snapgen_v.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nas.problem.earlier import Earlier
from nas.problem.fidelity import Fidelity
from nas.problem.pareto import nondominated
from nas.problem.problem import Matrix, Problem, Vector
from nas.strategies.candidates import Candidates, Searcher, Seen
from nas.strategies.compression import Compression
from nas.strategies.expected_hypervolume import Growth, ParetoFront
from nas.strategies.fidelities import CloserLooks
from nas.strategies.joint import JointSampler
from nas.strategies.kernel import Kernel
from nas.strategies.observations import Observations
from nas.strategies.surrogate import Prediction, Surrogate, first_parameters, fitted, some_of
from nas.strategies.transfer import Source, TransferKernel, rank_correlation, source_of
from search_spaces.space.integer_encoding import Codes

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

    from search_spaces import Architecture


@dataclass(frozen=True)
class Settings:
    """The same for every problem."""

    first: int = 12  # balanced points before anything is modelled
    first_told: int = 8  # where earlier studies were told, their best among them, and ...
    agrees: float = 0.3  # ... one of them ranks these with such a Kendall's tau; else as many
    candidates: int = 400
    generations: int = 4
    # Of what so many full looks cost, the share that first points take where these are first looks:
    # few of them leave a large space unseen.
    first_share: float = 0.5
    batch_share: float = 0.05  # of what was evaluated: so many are proposed from one model ...
    largest_batch: int = 25  # ... and no more
    chosen_from: int = 4  # times as many as a batch takes: the best by themselves
    fit_steps: int = 8
    fit_points: int = 200
    model_points: int = 500
    # Between the best quality seen (0) and a typical one (1): where differences begin to matter
    # less, and where the better part of the front ends, which counts beside the whole of it.
    compressed_from: float = 0.3
    reach: float = 0.9
    # Of the whole front beside its better part, of which it is 1: this over the evaluations so far,
    # as few networks make its cheap end.
    whole: float = 20.0

    def with_looks(self, fidelity: Fidelity | None) -> "Settings":
        """The same where evaluations are looks: more first points, as each costs less."""
        if fidelity is None:
            return self
        more = max(1, round(self.first_share * fidelity.full / fidelity.levels[0]))
        return replace(self, first=more * self.first, first_told=more * self.first_told)


class CostAware(JointSampler):
    """Models quality, knows costs."""

    def __init__(self, problem: Problem, settings: Settings | None = None) -> None:
        super().__init__(problem)
        self.settings = (settings or Settings()).with_looks(problem.fidelity)
        self._kernel = Kernel(self.coder)
        self._searcher = Searcher(inside_region(problem), self.coder, self.rng)
        known = problem.is_known
        self._main, *self._rest = np.flatnonzero(~known).tolist()
        self._costs = [*np.flatnonzero(known).tolist(), *self._rest]  # objectives that cost
        told = [each for earlier in problem.earlier for each in earlier.architectures]
        self._first_points = self.settings.first_told if told else self.settings.first
        self._told = self.coder.keys(self.coder.codes(told))
        on_any = problem.goal.kind != "region"
        self._looks = (
            CloserLooks(problem.fidelity, self.coder, on_any=on_any) if problem.fidelity else None
        )

    def observe(self, architecture: "Architecture", level: int, values: tuple[float, ...]) -> None:
        """Learn what a closer look found of the main quality."""
        if self._looks is not None:
            sign = float(self.problem.signs[self._main])
            key = int(self.coder.keys(self.coder.codes([architecture]))[0])
            self._looks.add(key, level, sign * values[0])

    def as_seen_fully(
        self, architectures: "Sequence[Architecture]", first: "Sequence[float]"
    ) -> "Sequence[float] | None":
        """The main quality as full looks should find it; `nas.strategies.fidelities` says more."""
        if self._looks is None or not self._looks.is_told:
            return None
        sign, codes = float(self.problem.signs[self._main]), self.coder.codes(architectures)
        keys = self.coder.keys(codes).tolist()
        with _threads().limit(limits=1, user_api="blas"):
            found = self._looks.as_seen_fully(codes, keys, sign * np.array(first), self.rng)
        expected: list[float] = (sign * found).tolist()
        return expected

    def propose(self, seen: Observations, *, first: bool) -> "list[Architecture]":
        """A batch that differs: each is chosen as if those before it had come out as expected."""
        settings, taken = self.settings, Seen(self.coder, seen.codes, seen.pending, seen.avoided)
        if first or (self._told.size and len(seen.codes) < settings.first):
            # A resumed study has begun before, and others with the best of earlier studies.
            wanted = max(0, self._wanted_first(seen) - len(seen.codes) - len(seen.pending))
            if wanted and len(begin := self._searcher.balanced(wanted, taken)):
                return self.coder.architectures(begin)
        if not len(seen.codes):  # all that was tried failed, or is being tried
            return self.coder.architectures(
                self._searcher.inside(taken, self._searcher.random(50)).codes[:1]
            )
        count = min(max(1, int(len(seen.codes) * settings.batch_share)), settings.largest_batch)
        # Matrices this small are slower on several threads, and workers need the other cores.
        with _threads().limit(limits=1, user_api="blas"):
            best = self._best(seen, taken, count)
        return self.coder.architectures(best)

    def _wanted_first(self, seen: Observations) -> int:
        """How many first points: fewer, where an earlier study ranks what was evaluated so far."""
        if len(seen.codes) < self._first_points:
            return self._first_points
        kernel = self._models[self._main].kernel
        if not isinstance(kernel, TransferKernel):
            return self.settings.first
        agreed = max(
            rank_correlation(means, seen.values[:, self._main])
            for means in kernel.rows(seen.codes).means
        )
        return self._first_points if agreed >= self.settings.agrees else self.settings.first

    def foreseen(self, codes: Codes, quality: Vector) -> tuple[Matrix, Vector]:
        """What earlier studies foresee of what was evaluated, and how much of it is theirs.

        Args:
            codes: (n, choices) of it.
            quality: (n,), less is better.

        Returns:
            Means, (studies, n), each in a unit of its own; shares of the variance, (studies,).
        """
        scale = _Scale.of(quality, self._unchosen(codes, quality), self.settings)
        with _threads().limit(limits=1, user_api="blas"):
            model = self._models[self._main].of(codes, scale.compression(quality), self.rng)
        assert isinstance(model.kernel, TransferKernel), "there are earlier studies"
        shares = model.kernel.explained(model.parameters[:-1], model.rows)
        return model.kernel.rows(codes).means, shares

    def _best(self, seen: Observations, taken: Seen, count: int) -> Codes:
        codes, values, pending = seen.codes, seen.values, seen.pending
        costs = values[:, self._costs]
        worst_costs = self._worst(costs)
        quality = self._cleaned(codes, values[:, self._main])
        scale = _Scale.of(quality, self._unchosen(codes, quality), self.settings)
        target = scale.compression(quality)
        model = self._models[self._main].of(codes, target, self.rng)
        # Models of what else is unknown; their means stand for it as known costs do.
        others = [self._models[i].of(codes, values[:, i], self.rng) for i in self._rest]

        def costs_of(found: Candidates) -> Matrix:
            predicted = [each.predict(found.codes).mean[:, None] for each in others]
            return np.concatenate([found.costs, *predicted], axis=1)

        # What runs is taken to come out as expected.
        expected = model.predict(pending) if len(pending) else None
        if expected is not None:
            architectures = self.coder.architectures(pending)
            running = Candidates(pending, self.problem.costs(architectures))
            target = np.concatenate([target, expected.mean])
            costs = np.concatenate([costs, costs_of(running)])
        growth = self._growth(costs, target, worst_costs, scale)

        asked: list[tuple[Prediction, Matrix, Vector]] = []

        def acquisition(found: Candidates) -> Vector:
            prediction, candidate_costs = model.predict(found.codes), costs_of(found)
            alone = growth.expected(candidate_costs, prediction.mean, prediction.deviation)
            asked.append((prediction, candidate_costs, alone))
            return alone

        unbeaten = nondominated(np.column_stack([costs, target]))
        front = np.concatenate([codes, pending])[unbeaten]
        found = self._searcher.evolved(
            front, taken, acquisition, self.settings.candidates, self.settings.generations
        )
        if not len(found):
            return found.codes
        if not asked:  # what is listed was not asked for one by one
            acquisition(found)
        predictions, parts, scores = zip(*asked, strict=True)
        prediction = predictions[0].followed_by(predictions[1:])
        candidate_costs, alone = np.concatenate(parts), np.concatenate(scores)
        some = np.argsort(-alone, kind="stable")[: self.settings.chosen_from * count]
        chosen = _chosen(growth, candidate_costs[some], prediction[some], min(count, len(some)))
        return found.codes[some[chosen]]

    def _cleaned(self, codes: Codes, first: Vector) -> Vector:
        """Qualities as full looks should find them, by all looks; as first looks did, before."""
        if self._looks is None or not self._looks.is_told:
            return first
        keys = self.coder.keys(codes).tolist()
        return self._looks.as_seen_fully(codes, keys, first, self.rng)

    @functools.cached_property
    def _models(self) -> "list[_Model]":
        """A model of each objective; of quality, one that earlier studies may teach."""
        kernels = [self._kernel for _ in self.problem.objectives]
        if earlier := self.problem.earlier:
            sources = [self._source(each) for each in earlier]
            kernels[self._main] = TransferKernel(self.coder, sources)
        return [_Model(kernel, self.settings) for kernel in kernels]

    def _source(self, earlier: Earlier) -> Source:
        """The model of an earlier study, as it would be at that study's end."""
        quality = np.array(earlier.quality) * float(self.problem.signs[self._main])
        scale = _Scale.of(quality, quality[: self.settings.first], self.settings)
        target = scale.compression(quality)
        return source_of(self._kernel, self.coder, earlier.architectures, target)

    def _unchosen(self, codes: Codes, quality: Vector) -> Vector:
        """Qualities of the first points, those apart that were the best elsewhere."""
        first = quality[: self._first_points]
        chosen = np.isin(self.coder.keys(codes[: self._first_points]), self._told)
        return first if chosen.all() else first[~chosen]

    def _growth(
        self, costs: Matrix, target: Vector, worst_costs: Vector, scale: "_Scale"
    ) -> Growth:
        """What is to grow, by the goal: the best quality, a region up to its corner, the front."""
        if self.problem.goal.kind == "best" or not self._costs:
            front = ParetoFront(costs[:, :0], target, worst_costs[:0], scale.worst)
            return Growth.relative([(front, 1)])
        limits = self.problem.corner[self._costs]
        worst_costs = np.where(np.isfinite(limits), limits, worst_costs)
        limit = self._limit
        if np.isfinite(limit):
            end = float(scale.compression(np.array(limit)))
            front = ParetoFront(costs, target, worst_costs, end)
            return Growth.relative([(front, 1)])
        # The better part is where fronts differ; the whole counts in the unit before compression,
        # or what lies at its cheap end would be no gain.
        better = ParetoFront(costs, target, worst_costs, scale.good)
        whole = ParetoFront(costs, target, worst_costs, scale.worst, scale.compression)
        return Growth.relative([(better, 1), (whole, self.settings.whole / len(target))])

    @property
    def _limit(self) -> float:
        """The goal's limit of quality, which is of full looks; endless while these are not told."""
        if self._looks is not None and not self._looks.is_told:
            return np.inf
        return float(self.problem.corner[self._main])

    def _worst(self, costs: Matrix) -> Vector:
        """The costs from which on nothing is gained: a little beyond the dearest seen."""
        worst: Vector = costs.max(axis=0)
        known = int(self.problem.is_known.sum())
        worst[:known] = np.maximum(worst[:known], self._searcher.largest_costs)
        beyond: Vector = worst + 0.02 * (worst - costs.min(axis=0))
        return beyond


@dataclass(frozen=True)
class _Scale:
    """How qualities are compressed, and where the better part and the whole front end."""

    compression: Compression
    good: float  # compressed
    worst: float

    @staticmethod
    def of(quality: Vector, first: Vector, settings: Settings) -> "_Scale":
        """By the best of what was evaluated, (n,), and a typical one of the first points, (m,)."""
        best = float(quality.min())
        typical = float(np.median(first))
        scale = max(typical - best, 1e-9 * max(abs(best), 1e-9))
        compression = Compression(best, settings.compressed_from * scale)
        ends = np.array([best + settings.reach * scale, quality.max()])
        return _Scale(compression, *compression(ends).tolist())


class _Model:
    """One objective's Gaussian process, whose parameters live on from fit to fit."""

    def __init__(self, kernel: Kernel, settings: Settings) -> None:
        self.kernel = kernel
        self._settings = settings
        self._parameters = first_parameters(kernel)

    def of(self, codes: Codes, values: Vector, rng: np.random.Generator) -> Surrogate:
        """The model of what is known; of very much, of the best and of some of the rest."""
        settings = self._settings
        rows = self.kernel.rows(codes)
        some = some_of(values, settings.fit_points, rng)
        self._parameters = fitted(
            self.kernel, self._parameters, rows[some], values[some], settings.fit_steps
        )
        some = some_of(values, settings.model_points, rng)
        return Surrogate(self.kernel, self._parameters, rows[some], values[some])


@dataclass(frozen=True)
class WithRegion:
    """Constraint values of hard budgets, and of a region's known limits."""

    problem: Problem

    def __call__(self, architectures: "Sequence[Architecture]") -> dict[str, Vector]:
        """Of n architectures, (n,) a constraint."""
        problem = self.problem
        limits = problem.corner[problem.is_known]
        over = problem.costs(architectures) - limits
        region = {f"region {i}": over[:, i] for i in np.flatnonzero(np.isfinite(limits))}
        return {**problem.violations(architectures), **region}


def inside_region(problem: Problem) -> Problem:
    """A problem whose goal's limits on known objectives are hard budgets, too."""
    limits = problem.corner[problem.is_known]
    return (
        replace(problem, violations=WithRegion(problem)) if np.isfinite(limits).any() else problem
    )


def _chosen(growth: Growth, costs: Matrix, prediction: Prediction, count: int) -> list[int]:
    """A greedy batch: the model is conditioned on each before the next is chosen."""
    chosen: list[int] = []
    for _ in range(count):
        expected = growth.expected(costs, prediction.mean, prediction.deviation)
        expected[chosen] = -np.inf
        best = int(np.argmax(expected))
        chosen.append(best)
        growth = growth.followed_by(costs[best], float(prediction.mean[best]))
        prediction.condition_on_mean(best)
    return chosen


@functools.cache
def _threads() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
