"""From measured networks to weights: the priors, and the fit.

A physical prior where the parts have sizes or measurements of their own; counts of options where
they have names alone; other devices where some are lent. The figures below are the same for all
devices and spaces; examples/benchmarks/few_shot.py says what they were set on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency.measurement.measurement import Measurement
from latency.regression import bayesian_linear
from latency.regression.bayesian_linear import Hypothesis, Posterior, Problem, Term
from latency.regression.features import BASE, BaseTime, Feature, matrix, of_network
from latency.regression.linear_model import LinearModel, Noise
from latency.regression.transfer import Sources
from latency.workload.workload import Workload, option_of

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

AMPLITUDES = (0.1, 0.3, 1.0, 3.0)  # all variances of a hypothesis together
EXPECTED = AMPLITUDES.index(1.0)
# Variances as a share of the mean latency, squared; of `group` and `name` over a whole network.
BY_NAME = {"constant": 0.1, "group": 0.3, "name": 0.002}
BY_SIZE = {"constant": 0.01, "base": 0.1, "factor": 0.03, "group": 0.003, "name": 0.001}
BORROWED = {"constant": 0.01, "group": 0.001, "name": 0.003}
BORROWED |= {"average": 0.003, "sources": 0.03, "pattern": 0.03}
UNLIKE = 0.1  # how likely a device is to resemble none of the sources, beside resembling one
DIRECTIONS = 12  # of uncertainty that a model keeps; the rest becomes variance


@dataclass(frozen=True)
class Fit:
    """A model, and what it predicts of each network when that is left out, with its spread."""

    model: LinearModel
    left_out_ms: Vector
    left_out_sd_ms: Vector


def fit(networks: Sequence[Measurement], base_ms: BaseTime, sources: Sources | None = None) -> Fit:
    """Fit to measured networks; `sources` are devices to borrow from."""
    design = _Design.of(networks, base_ms, sources)
    posterior = bayesian_linear.fit(design.problem(), design.hypotheses())
    mean_ms = design.mean_ms
    return Fit(
        design.model(posterior), posterior.left_out * mean_ms, posterior.left_out_sd * mean_ms
    )


def prior_effects(
    networks: Sequence[Workload], base_ms: BaseTime, sources: Sources | None = None
) -> Matrix:
    """(networks, effects) such that latencies in units of their mean have covariance E E^T.

    What the priors expect of networks that nobody has measured yet.
    """
    design = _Design.of([Measurement(n, 1.0) for n in networks], base_ms, sources)
    problem, hypothesis = design.problem(), design.hypotheses()[EXPECTED]
    return np.concatenate(
        [
            term.columns * np.sqrt(hypothesis.variances[name])
            for name, term in problem.terms.items()
            if name in hypothesis.variances
        ],
        axis=1,
    )


@dataclass(frozen=True)
class _Design:
    """Measured networks as matrices, in units of their mean latency.

    `columns` (networks, 1 + features + sources): a constant, features less their usual value,
    and what each source predicts.
    """

    targets: Vector
    mean_ms: float
    base: Vector
    features: tuple[Feature, ...]
    columns: Matrix
    center: Vector
    variance: Vector
    sources: Sources | None
    source_scale: Vector  # what each source's predictions were divided by

    @staticmethod
    def of(
        networks: Sequence[Measurement], base_ms: BaseTime, sources: Sources | None
    ) -> "_Design":
        latency_ms = np.array([network.latency_ms for network in networks])
        mean_ms = float(latency_ms.mean())
        rows = [of_network(network.workload, base_ms) for network in networks]
        lent = set(sources.features) if sources else set()
        features = tuple(sorted({feature for row in rows for feature in row} | lent))
        values = matrix(rows, features)
        center, variance = values.mean(axis=0), values.var(axis=0, ddof=1)
        if sources:
            place = [features.index(feature) for feature in sources.features]
            center[place], variance[place] = sources.center, sources.variance
        center[[f[0] in {"base", "factor"} for f in features]] = 0.0
        predicted = (
            sources.predict([n.workload for n in networks]) if sources else np.zeros((len(rows), 0))
        )
        scale = predicted.mean(axis=0)
        columns = [np.ones((len(rows), 1)), values - center, predicted / scale]
        return _Design(
            targets=latency_ms / mean_ms,
            mean_ms=mean_ms,
            base=np.array([row.get(BASE, 0.0) for row in rows]),
            features=features,
            columns=np.concatenate(columns, axis=1),
            center=center,
            variance=variance,
            sources=sources,
            source_scale=scale,
        )

    def problem(self) -> Problem:
        """Terms and guesses over `columns`."""
        terms = {n: Term(self.columns @ w.T, w) for n, w in self._terms() if w.any()}
        guesses = np.stack(list(self._guesses()))
        return Problem(self.targets, terms, self.columns @ guesses.T, guesses)

    def hypotheses(self) -> list[Hypothesis]:
        """The priors that the evidence is asked about."""
        own = BY_SIZE if self.base.any() else BY_NAME
        if self.sources is None:
            return [_scaled(own, amplitude, (0,), 1.0) for amplitude in AMPLITUDES]
        guesses = tuple(range(1, 2 + len(self.sources.names)))
        borrowed = [_scaled(BORROWED, amplitude, guesses, 1.0) for amplitude in AMPLITUDES]
        return borrowed + [_scaled(own, amplitude, (0,), UNLIKE) for amplitude in AMPLITUDES]

    def _guesses(self) -> Iterator[Vector]:
        """The parts' own times, or a constant; then the mean of the sources, then each."""
        first = self._unit(BASE) / self.mean_ms if self.base.any() else self._at(0)
        yield first
        if self.sources:
            each = [self._at(self._first_source + i) for i in range(len(self.sources.names))]
            yield np.mean(each, axis=0)
            yield from each

    def _terms(self) -> Iterator[tuple[str, Matrix]]:
        """Name and effects of each term: (effects, columns)."""
        yield "constant", self._at(0)[None]
        yield "base", self._family("base") / self.mean_ms
        yield "factor", self._family("factor") / self.mean_ms
        for family in ("group", "name"):
            yield family, self._of_unit_variance(self._family(family))
        if self.sources:
            average = np.mean(
                [self._at(self._first_source + i) for i in range(len(self.sources.names))], axis=0
            )
            apart = np.eye(self.columns.shape[1])[self._first_source :] - average
            moved = self.columns @ average - 1
            yield "average", (average - self._at(0))[None] / max(float(moved.std()), 1e-9)
            spread = np.sqrt(((self.columns @ apart.T) ** 2).sum(axis=1).mean())
            yield "sources", apart / max(float(spread), 1e-9)
            yield "pattern", self._of_unit_variance(self._pattern(self.sources))

    def _pattern(self, sources: Sources) -> Matrix:
        """How sources differ, as choice times option: a step between them costs alike anywhere.

        The covariance of two names' weights is that of their choices times that of their options
        (a matrix normal prior, Dawid 1981), both from the sources' departures from their mean.
        """
        names = [name for _, name in sources.features]
        choices = sorted({name.partition("=")[0] for name in names})
        options = sorted({option_of(name) for name in names})
        rows = [choices.index(name.partition("=")[0]) for name in names]
        columns = [options.index(option_of(name)) for name in names]
        apart = np.zeros((len(sources.names), len(choices), len(options)))
        apart[:, rows, columns] = sources.additive[:, 1:]
        held = np.zeros(apart.shape[1:], dtype=bool)
        held[rows, columns] = True
        means = apart.sum(axis=2) / np.maximum(held.sum(axis=1), 1)
        apart = np.where(held, apart - means[:, :, None], 0.0)
        if len(sources.names) > 1:
            apart = apart - apart.mean(axis=0)
        by_choice = np.einsum("sco,sdo->cd", apart, apart)
        by_option = np.einsum("sco,scp->op", apart, apart)
        covariance = by_choice[np.ix_(rows, rows)] * by_option[np.ix_(columns, columns)]
        values, vectors = np.linalg.eigh(covariance)
        effects = (vectors * np.sqrt(np.maximum(values, 0.0))).T
        placed = np.zeros((len(effects), self.columns.shape[1]))
        for index, feature in enumerate(sources.features):
            placed[:, 1 + self.features.index(feature)] = effects[:, index]
        return placed

    def _of_unit_variance(self, effects: Matrix) -> Matrix:
        """Scaled so that all effects together move a random network by one, in the mean square."""
        moved = (effects[:, 1 : self._first_source] ** 2 * self.variance).sum()
        return effects / np.sqrt(moved) if moved > 1e-12 else effects * 0.0

    def _family(self, family: str) -> Matrix:
        """A unit effect for each feature; numbers that vary freely move as much as an option."""
        found = [self._unit(f) for f in self.features if f[0] == family]
        return np.stack(found) if found else np.zeros((0, self.columns.shape[1]))

    def _unit(self, feature: Feature) -> Vector:
        index = self.features.index(feature)
        numeric = feature[0] == "name" and "=" not in feature[1]
        return self._at(1 + index) / (np.sqrt(self.variance[index]) or 1.0 if numeric else 1.0)

    def _at(self, index: int) -> Vector:
        unit = np.zeros(self.columns.shape[1])
        unit[index] = 1.0
        return unit

    @property
    def _first_source(self) -> int:
        return 1 + len(self.features)

    def model(self, posterior: Posterior) -> LinearModel:
        """The posterior in ms, by feature; sources give way to their own weights."""
        collapse, paired = self._collapse()
        weights = (posterior.weights @ collapse) * self.mean_ms
        covariance = collapse.T @ posterior.covariance @ collapse * self.mean_ms**2
        directions, rest = self._directions(covariance)
        rows = np.concatenate([weights[:, None], directions, rest[:, None]], axis=1)
        # Features stand less their usual value: the constant takes that back.
        rows[0, :-1] -= self.center @ rows[1:, :-1]
        pairs = posterior.weights[self._first_source :] @ paired * self.mean_ms
        named = self.sources.pairs if self.sources else ()
        unseen = self._spread_of_one("name", posterior.variances.get("name", 0.0))
        unknown = self._spread_of_one("group", BY_NAME["group"])
        return LinearModel(
            intercept=rows[0],
            weights=dict(zip(self.features, rows[1:], strict=True)),
            noise=Noise(self.mean_ms, posterior.noise, posterior.exponent),
            pairs={pair: float(ms) for pair, ms in zip(named, pairs, strict=True) if ms},
            unseen_ms=self.mean_ms * unseen,
            unknown_ms=self.mean_ms * float(np.hypot(unseen, unknown)),
            networks=len(self.targets),
        )

    def _spread_of_one(self, family: str, variance: float) -> float:
        """Of one feature's weight, where all of its family together vary so much."""
        moved = float(self.variance[[feature[0] == family for feature in self.features]].sum())
        return float(np.sqrt(variance / max(moved, 1.0)))

    def _collapse(self) -> tuple[Matrix, Matrix]:
        """What turns weights of columns into weights of (1 + features), and of pairs."""
        size = self._first_source
        collapse = np.eye(self.columns.shape[1], size)
        if self.sources is None:
            return collapse, np.zeros((0, 0))
        place = [1 + self.features.index(feature) for feature in self.sources.features]
        additive = self.sources.additive / self.source_scale[:, None]
        collapse[size:, place] = additive[:, 1:]
        collapse[size:, 0] = additive[:, 0] + additive[:, 1:] @ self.sources.center
        return collapse, self.sources.paired / self.source_scale[:, None]

    def _directions(self, covariance: Matrix) -> tuple[Matrix, Vector]:
        """The main directions of a covariance, and what variance they leave to each weight.

        Main for networks as they are drawn, so each feature counts by how much it varies.
        """
        usual = np.sqrt(np.concatenate([[1.0], np.maximum(self.variance, 1e-6)]))
        values, vectors = np.linalg.eigh(covariance * np.outer(usual, usual))
        main = np.argsort(values)[::-1][:DIRECTIONS]
        directions = vectors[:, main] * np.sqrt(np.maximum(values[main], 0.0)) / usual[:, None]
        rest = np.maximum(np.diag(covariance) - (directions**2).sum(axis=1), 0.0)
        return directions, rest


def _scaled(
    variances: dict[str, float], amplitude: float, guesses: tuple[int, ...], prior: float
) -> Hypothesis:
    return Hypothesis({n: v * amplitude for n, v in variances.items()}, guesses, prior)
