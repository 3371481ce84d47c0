"""Few-shot fit: a linear model of few measured networks, by priors for blocks, names and transfer.

The prior mean is the sum of the blocks' own times where they have sizes or measurements, a constant
where they have names alone, the source devices where some are given. The figures below are the
same for all devices and spaces; examples/benchmarks/few_shot.py says what they were set on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from latency.measurement.measurement import Measurement
from latency.regression import bayesian_linear, dead_edges
from latency.regression.bayesian_linear import Posterior, Prior, Regression, Term
from latency.regression.features import (
    BASE,
    BaseTime,
    Feature,
    design_matrix,
    features_of_network,
)
from latency.regression.linear_model import LinearModel, Noise
from latency.regression.transfer import Sources, matrix_normal_effects
from latency.workload.workload import Workload

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

AMPLITUDES = (0.1, 0.3, 1.0, 3.0)  # all variances of a prior together
EXPECTED = AMPLITUDES.index(1.0)
# Variances as a share of the mean latency, squared; of `group` and `name` over a whole network.
BY_NAME = {"constant": 0.1, "group": 0.3, "name": 0.002}
BY_SIZE = {"constant": 0.01, "base": 0.1, "factor": 0.03, "group": 0.003, "name": 0.001}
TRANSFER = {"constant": 0.01, "group": 0.001, "name": 0.003}
TRANSFER |= {"average": 0.003, "sources": 0.03, "pattern": 0.03}
UNRELATED = 0.1  # how likely a device is to resemble none of the sources, beside resembling one
DIRECTIONS = 12  # of uncertainty that a model keeps; the rest becomes variance


@dataclass(frozen=True)
class Fit:
    """A fitted model, and its leave-one-out predictions with their standard deviations."""

    model: LinearModel
    leave_one_out_ms: Vector
    leave_one_out_sd_ms: Vector


def fit(
    networks: Sequence[Measurement],
    base_ms: BaseTime,
    sources: Sources | None = None,
    always_ms: float = 0.0,
) -> Fit:
    """Fit an additive model to measured networks.

    Args:
        networks: what was measured.
        base_ms: what a part takes by itself, 0 where that is not known.
        sources: devices to transfer from.
        always_ms: what every network takes beside its parts, as far as it was measured.
    """
    design = replace(_Design.of(networks, base_ms, sources), always_ms=always_ms)
    posterior = bayesian_linear.fit(design.regression(), design.priors())
    mean_ms = design.mean_ms
    return Fit(
        design.model(posterior),
        posterior.leave_one_out * mean_ms,
        posterior.leave_one_out_sd * mean_ms,
    )


def prior_factor(
    networks: Sequence[Workload], base_ms: BaseTime, sources: Sources | None = None
) -> Matrix:
    """Factor E (networks, effects) of the prior covariance E E^T of latencies over their mean.

    What the priors expect of networks that nobody has measured yet.
    """
    design = _Design.of([Measurement(n, 1.0) for n in networks], base_ms, sources)
    regression, prior = design.regression(), design.priors()[EXPECTED]
    return np.concatenate(
        [
            term.columns * np.sqrt(prior.variances[name])
            for name, term in regression.terms.items()
            if name in prior.variances
        ],
        axis=1,
    )


@dataclass(frozen=True)
class _Design:
    """The design matrix of measured networks, in units of their mean latency.

    `columns` (networks, 1 + features + sources): an intercept, centred features, and what each
    source predicts.
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
    always_ms: float = 0.0

    @staticmethod
    def of(
        networks: Sequence[Measurement], base_ms: BaseTime, sources: Sources | None
    ) -> "_Design":
        latency_ms = np.array([network.latency_ms for network in networks])
        mean_ms = float(latency_ms.mean())
        rows = [features_of_network(network.workload, base_ms) for network in networks]
        met = dead_edges.completed({feature for row in rows for feature in row})
        features = tuple(sorted(met | (set(sources.features) if sources else set())))
        values = design_matrix(rows, features)
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

    def regression(self) -> Regression:
        """State the regression problem: terms and prior means over `columns`."""
        terms = {n: Term(self.columns @ w.T, w) for n, w in self._terms() if w.any()}
        prior_means = np.stack(list(self._prior_means()))
        return Regression(self.targets, terms, self.columns @ prior_means.T, prior_means)

    def priors(self) -> list[Prior]:
        """List the priors to average: own blocks or names; with sources, transfer from them too."""
        own = (
            [(BY_SIZE, 1.0)]
            if self.base.any()
            else dead_edges.priors_by_name(BY_NAME, self.features)
        )
        if self.sources is None:
            return [_scaled_prior(v, a, (0,), p) for v, p in own for a in AMPLITUDES]
        means = tuple(range(1, 2 + len(self.sources.names)))
        transfer = dead_edges.priors_of_transfer(TRANSFER, self.features)
        return [
            *(_scaled_prior(v, a, means, p) for v, p in transfer for a in AMPLITUDES),
            *(_scaled_prior(v, a, (0,), p * UNRELATED) for v, p in own for a in AMPLITUDES),
        ]

    def _prior_means(self) -> Iterator[Vector]:
        """The sum of the parts, or a constant; then the mean of the sources, then each source."""
        yield self._parts_alone() if self.base.any() else self._unit_vector(0)
        if self.sources:
            each = [
                self._unit_vector(self._first_source + i) for i in range(len(self.sources.names))
            ]
            yield np.mean(each, axis=0)
            yield from each

    def _parts_alone(self) -> Vector:
        return (self._unit(BASE) + self.always_ms * self._unit_vector(0)) / self.mean_ms

    def _terms(self) -> Iterator[tuple[str, Matrix]]:
        """Name and effects of each term: (effects, columns)."""
        yield "constant", self._unit_vector(0)[None]
        yield "base", self._unit_effects("base") / self.mean_ms
        yield "factor", self._unit_effects("factor") / self.mean_ms
        for kind in ("group", "name"):
            yield kind, self._of_unit_variance(self._unit_effects(kind))
        for term, effects in dead_edges.terms(self.features, self._unit):
            yield term, self._of_unit_variance(effects)
        if self.sources:
            average = np.mean(
                [self._unit_vector(self._first_source + i) for i in range(len(self.sources.names))],
                axis=0,
            )
            apart = np.eye(self.columns.shape[1])[self._first_source :] - average
            moved = self.columns @ average - 1
            yield "average", (average - self._unit_vector(0))[None] / max(float(moved.std()), 1e-9)
            spread = np.sqrt(((self.columns @ apart.T) ** 2).sum(axis=1).mean())
            yield "sources", apart / max(float(spread), 1e-9)
            yield "pattern", self._of_unit_variance(self._pattern(self.sources))

    def _pattern(self, sources: Sources) -> Matrix:
        """The sources' matrix normal prior, placed among the columns."""
        effects = matrix_normal_effects(sources)
        placed = np.zeros((len(effects), self.columns.shape[1]))
        place = [1 + self.features.index(feature) for feature in sources.features]
        placed[:, place] = effects
        return placed

    def _of_unit_variance(self, effects: Matrix) -> Matrix:
        """Scale the effects so that together they move a random network by one in mean square."""
        moved = (effects[:, 1 : self._first_source] ** 2 * self.variance).sum()
        return effects / np.sqrt(moved) if moved > 1e-12 else effects * 0.0

    def _unit_effects(self, kind: str) -> Matrix:
        """A unit effect for each feature; numbers that vary freely move as much as an option."""
        found = [self._unit(f) for f in self.features if f[0] == kind]
        return np.stack(found) if found else np.zeros((0, self.columns.shape[1]))

    def _unit(self, feature: Feature) -> Vector:
        index = self.features.index(feature)
        numeric = feature[0] == "name" and "=" not in feature[1]
        return self._unit_vector(1 + index) / (
            np.sqrt(self.variance[index]) or 1.0 if numeric else 1.0
        )

    def _unit_vector(self, index: int) -> Vector:
        unit = np.zeros(self.columns.shape[1])
        unit[index] = 1.0
        return unit

    @property
    def _first_source(self) -> int:
        return 1 + len(self.features)

    def model(self, posterior: Posterior) -> LinearModel:
        """Write the posterior as weights of features in ms; sources become their own weights."""
        to_features, paired = self._to_features()
        weights = (posterior.weights @ to_features) * self.mean_ms
        covariance = to_features.T @ posterior.covariance @ to_features * self.mean_ms**2
        directions, rest = self._principal_directions(covariance)
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

    def _spread_of_one(self, kind: str, variance: float) -> float:
        """Standard deviation of one feature's weight, where all of its kind together vary so."""
        moved = float(self.variance[[feature[0] == kind for feature in self.features]].sum())
        return float(np.sqrt(variance / max(moved, 1.0)))

    def _to_features(self) -> tuple[Matrix, Matrix]:
        """Matrices that turn weights of columns into weights of (1 + features), and of pairs."""
        size = self._first_source
        to_features = np.eye(self.columns.shape[1], size)
        if self.sources is None:
            return to_features, np.zeros((0, 0))
        place = [1 + self.features.index(feature) for feature in self.sources.features]
        additive = self.sources.additive / self.source_scale[:, None]
        to_features[size:, place] = additive[:, 1:]
        to_features[size:, 0] = additive[:, 0] + additive[:, 1:] @ self.sources.center
        return to_features, self.sources.interactions / self.source_scale[:, None]

    def _principal_directions(self, covariance: Matrix) -> tuple[Matrix, Vector]:
        """Principal directions of a covariance, and the variance that they leave to each weight.

        Principal for networks as they are drawn: each feature counts by how much it varies.
        """
        usual = np.sqrt(np.concatenate([[1.0], np.maximum(self.variance, 1e-6)]))
        values, vectors = np.linalg.eigh(covariance * np.outer(usual, usual))
        main = np.argsort(values)[::-1][:DIRECTIONS]
        directions = vectors[:, main] * np.sqrt(np.maximum(values[main], 0.0)) / usual[:, None]
        rest = np.maximum(np.diag(covariance) - (directions**2).sum(axis=1), 0.0)
        return directions, rest


def _scaled_prior(
    variances: dict[str, float], amplitude: float, prior_means: tuple[int, ...], prior: float
) -> Prior:
    return Prior({n: v * amplitude for n, v in variances.items()}, prior_means, prior)
