"""Design of a few-shot fit: the columns of measured networks, and the priors of what they weigh.

The prior mean is the sum of the blocks' own times where they have sizes or measurements, a constant
where they have names alone, the source devices where some are given. The figures below are the
same for all devices and spaces; examples/benchmarks/few_shot.py says what they were set on.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from latency.measurement.measurement import Measurement
from latency.regression import dead_edges, directions, interactions
from latency.regression.bayesian_linear import Posterior, Prior, Regression, Term
from latency.regression.features import (
    BASE,
    BaseTime,
    Feature,
    design_matrix,
    features_of_network,
)
from latency.regression.linear_model import LinearModel, Noise
from latency.regression.links import Link, linked
from latency.regression.transfer import Pair, Sources, matrix_normal_effects

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

AMPLITUDES = (0.1, 0.3, 1.0, 3.0)  # all variances of a prior together
EXPECTED = AMPLITUDES.index(1.0)
# Variances as a share of the mean latency, squared; of `group` and `name` over a whole network.
BY_NAME = {"constant": 0.1, "group": 0.3, "name": 0.002}
BY_SIZE = {"constant": 0.01, "base": 0.1, "factor": 0.03, "group": 0.003, "name": 0.001}
TRANSFER = {"constant": 0.01, "group": 0.001, "name": 0.003}
TRANSFER |= {"average": 0.003, "sources": 0.03, "pattern": 0.03}
LEAST = 0.1  # that sources without what is dead are taken to need, as a share
UNRELATED = 0.1  # how likely a device is to resemble none of the sources, beside resembling one


@dataclass(frozen=True)
class Design:
    """The design matrix of measured networks, in units of their mean latency.

    `columns` (networks, 1 + features + sources or pairs): an intercept, centred features, and what
    each source predicts; by the log link, which pairs stand. There `mean_ms` is one, and `shift`
    makes the targets' mean one.
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
    link: Link = "identity"
    shift: float = 0.0
    pairs: tuple[Pair, ...] = ()

    @staticmethod
    def of(
        networks: Sequence[Measurement],
        base_ms: BaseTime,
        sources: Sources | None,
        link: Link = "identity",
    ) -> "Design":
        """Set up the design of measured networks; the log link is for names alone, no sources."""
        summed = linked([network.latency_ms for network in networks], link)
        mean = float(summed.mean())
        mean_ms, shift = (1.0, mean - 1.0) if link == "log" else (mean, 0.0)
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
        pairs, paired = interactions.met(rows if link == "log" else [])
        columns = [np.ones((len(rows), 1)), values - center, predicted / scale]
        if pairs:
            columns.append(paired)
        return Design(
            targets=(summed - shift) / mean_ms,
            mean_ms=mean_ms,
            base=np.array([row.get(BASE, 0.0) for row in rows]),
            features=features,
            columns=np.concatenate(columns, axis=1),
            center=center,
            variance=variance,
            sources=sources,
            source_scale=scale,
            link=link,
            shift=shift,
            pairs=pairs,
        )

    def regression(self) -> Regression:
        """State the regression problem: terms and prior means over `columns`."""
        terms = {n: Term(self.columns @ w.T, w) for n, w in self._terms() if w.any()}
        prior_means = np.stack(list(self._prior_means()))
        found = Regression(self.targets, terms, self.columns @ prior_means.T, prior_means)
        if self.link == "log":  # where noise in proportion to latency is the same for all
            main = interactions.main_effects(self.pairs, self.features, self.center)
            return replace(found, noise_exponents=(0.0,), described=main)
        return found

    def priors(self) -> list[Prior]:
        """List the priors to average: own blocks or names; with sources, transfer from them too."""
        own = (
            [(BY_SIZE, 1.0)]
            if self.base.any()
            else dead_edges.priors_by_name(BY_NAME, self.features)
        )
        if self.sources is None:
            own = interactions.priors(own) if self.pairs else own
            return [_scaled_prior(v, a, (0,), p) for v, p in own for a in AMPLITUDES]
        count = 1 + len(self.sources.names)
        transfer = [
            (variances, tuple(range(first, first + count)), probability)
            for first, (variances, probability) in zip(
                itertools.count(1, count),
                dead_edges.priors_of_transfer(TRANSFER, self.features),
                strict=False,
            )
        ]
        return [
            *(_scaled_prior(v, a, means, p) for v, means, p in transfer for a in AMPLITUDES),
            *(_scaled_prior(v, a, (0,), p * UNRELATED) for v, p in own for a in AMPLITUDES),
        ]

    def _prior_means(self) -> Iterator[Vector]:
        """The sum of the parts, or a constant; then the mean of the sources, then each source.

        Those again as if they skipped what is dead, in the order of their priors.
        """
        yield self._parts_alone() if self.base.any() else self._unit_vector(0)
        for each in self._as_lent().values():
            yield each.mean(axis=0)
            yield from each

    def _as_lent(self) -> dict[str, Matrix]:
        """The sources as weights (sources, columns), as they are and as if they skipped.

        By what the names of their terms end in.
        """
        if self.sources is None:
            return {}
        each = np.eye(self.columns.shape[1])[self._first_source :]
        found = {"": each}
        for term, kinds in dead_edges.skipped(self.features).items():
            places = [i for i, (kind, _) in enumerate(self.features) if kind in kinds]
            saved = self.sources.saved_by([self.features[i] for i in places])
            saved = saved / self.source_scale[:, None]
            counted = np.eye(self.columns.shape[1])[[1 + i for i in places]]
            counted[:, 0] = self.center[places]
            rest = each - saved @ counted
            mean = (self.columns @ rest.T).mean(axis=0)
            found[f" {term}"] = rest / np.maximum(mean, LEAST)[:, None]
        return found

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
        yield from interactions.terms(self.pairs, self.columns)
        if self.sources:
            for skipped, each in self._as_lent().items():
                average = each.mean(axis=0)
                apart, moved = each - average, self.columns @ average - 1
                constant = self._unit_vector(0)
                yield (
                    f"average{skipped}",
                    (average - constant)[None] / max(float(moved.std()), 1e-9),
                )
                spread = np.sqrt(((self.columns @ apart.T) ** 2).sum(axis=1).mean())
                yield f"sources{skipped}", apart / max(float(spread), 1e-9)
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
        """Write the posterior as weights of features; sources become their own weights."""
        to_features, paired = self._to_features()
        weights = (posterior.weights @ to_features) * self.mean_ms
        along, rest = self._directions(posterior.covariance, to_features)
        rows = np.concatenate([weights[:, None], along, rest[:, None]], axis=1)
        noise = self._noise(posterior, along, rest)
        # Features stand less their usual value: the constant takes that back.
        rows[0, :-1] -= self.center @ rows[1:, :-1]
        rows[0, 0] += self.shift
        pairs = posterior.weights[self._first_source :] @ paired * self.mean_ms
        named = self.sources.pairs if self.sources else self.pairs
        unseen = self._spread_of_one("name", posterior.variances.get("name", 0.0))
        unknown = self._spread_of_one("group", BY_NAME["group"])
        return LinearModel(
            intercept=rows[0],
            weights=dict(zip(self.features, rows[1:], strict=True)),
            noise=noise,
            pairs={pair: float(ms) for pair, ms in zip(named, pairs, strict=True) if ms},
            unseen_ms=self.mean_ms * unseen,
            unknown_ms=self.mean_ms * float(np.hypot(unseen, unknown)),
            networks=len(self.targets),
            link=self.link,
        )

    def _noise(self, posterior: Posterior, along: Matrix, rest: Vector) -> Noise:
        """What varies beside the features' weights: what is unknown of pairs counts as noise."""
        if not self.pairs:
            return Noise(self.mean_ms, posterior.noise, posterior.exponent)
        columns = self.columns[:, : self._first_source]
        known = ((columns @ along) ** 2).sum(axis=1) + columns**2 @ rest
        unknown = float(np.median(posterior.leave_one_out_sd**2 - known))
        return Noise(1.0, float(np.sqrt(max(unknown, posterior.noise**2))), 0.0)

    def _spread_of_one(self, kind: str, variance: float) -> float:
        """Standard deviation of one feature's weight, where all of its kind together vary so."""
        moved = float(self.variance[[feature[0] == kind for feature in self.features]].sum())
        return float(np.sqrt(variance / max(moved, 1.0)))

    def _to_features(self) -> tuple[Matrix, Matrix]:
        """Matrices that turn weights of columns into weights of (1 + features), and of pairs."""
        size = self._first_source
        to_features = np.eye(self.columns.shape[1], size)
        if self.sources is None:
            return to_features, np.eye(len(self.pairs))
        place = [1 + self.features.index(feature) for feature in self.sources.features]
        additive = self.sources.additive / self.source_scale[:, None]
        to_features[size:, place] = additive[:, 1:]
        to_features[size:, 0] = additive[:, 0] + additive[:, 1:] @ self.sources.center
        return to_features, self.sources.interactions / self.source_scale[:, None]

    def _directions(self, covariance: Matrix, to_features: Matrix) -> tuple[Matrix, Vector]:
        """Directions in which the features' weights are uncertain, and what is left to each."""
        if self.link == "log":
            columns = self.columns[:, 1 : self._first_source]
            return directions.by_networks(covariance, self.features, columns)
        of_features = to_features.T @ covariance @ to_features * self.mean_ms**2
        return directions.by_variance(of_features, self.variance)


def _scaled_prior(
    variances: dict[str, float], amplitude: float, prior_means: tuple[int, ...], prior: float
) -> Prior:
    return Prior({n: v * amplitude for n, v in variances.items()}, prior_means, prior)
