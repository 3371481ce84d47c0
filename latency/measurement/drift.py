"""Drift of a machine: how much slower or faster everything may be at another hour.

What is measured within minutes shares what the machine does then: its clock, its heat, what else
runs on it. A fit to that does not see it, so its bounds are those of the same hour. But from round
to round of the measurement the machine drifts, too. Its log latency is taken as white noise and
flicker noise (1/f; Allan 1966, "Statistics of atomic frequency standards"), whose amounts the
rounds tell; flicker noise carries on to an hour.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency.measurement.rounds import Round
from search_spaces import InputError
from search_spaces.files.document import Json, finite

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating]
Jobs = Sequence[Sequence[Round]]  # the rounds of each job of one table

HOUR_S = 3600.0
SHORTEST_S = 1.0  # between rounds
USUAL = 0.02  # a machine's white and flicker noise, each, before anything is known of it
USUAL_FACTOR = 3.5  # to a factor of which (one standard deviation)
AMOUNTS = np.geomspace(0.001, 0.5, 28)  # of noise that are weighed against each other
WIDEST = 1.0  # of a deviation of the log latency: 90% bounds at a fifth and five times
QUANTILE = 1.6449


@dataclass(frozen=True)
class Drift:
    """How far a machine's latencies an hour later are from those that were measured.

    Args:
        deviation: standard deviation of the log latency that all networks share.
        rounds: that it was seen over.
        span_s: from the first of them to the last.
    """

    deviation: float
    rounds: int
    span_s: float

    @property
    def factor(self) -> float:
        """By what factor it alone would put the 90% bounds from a prediction."""
        return math.exp(QUANTILE * self.deviation)

    def widened(self, latency_ms: Rows, low_ms: Rows, high_ms: Rows) -> tuple[Rows, Rows]:
        """Bounds an hour later, lower and upper, of those of the same hour: squares add."""
        own = QUANTILE * self.deviation
        with np.errstate(all="ignore"):  # what overflows stays infinite, and is refused as such
            down = np.hypot(np.log(latency_ms / low_ms), own)
            up = np.hypot(np.log(high_ms / latency_ms), own)
            return latency_ms * np.exp(-down), latency_ms * np.exp(up)

    @staticmethod
    def from_json(entry: Json, where: str) -> "Drift":
        """Read a drift out of a document; InputError where a number is none."""
        if not isinstance(entry, dict):
            raise InputError(f"{where}: expected deviation, rounds and span_s")
        found = {n: finite(entry.get(n), f"{where}, {n}") for n in ("deviation", "span_s")}
        rounds = entry.get("rounds")
        if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1:
            raise InputError(f"{where}, rounds: expected a whole number from 1; found {rounds!r}")
        if not (0 <= found["deviation"] <= WIDEST and found["span_s"] >= 0):
            raise InputError(f"{where}: expected a deviation from 0 to {WIDEST:g}, a span from 0")
        return Drift(found["deviation"], rounds, found["span_s"])


def drift_of(tables: Sequence[Jobs]) -> Drift | None:
    """Estimate the drift of a machine from the rounds of tables that were measured on it.

    None where no table has any.
    """
    series = [_Series.of(jobs) for jobs in _measured_together(tables)]
    if not series:
        return None
    white, flicker = (grid.ravel() for grid in np.meshgrid(AMOUNTS, AMOUNTS))
    log_odds = -0.5 * (_unusual(white) + _unusual(flicker))
    for each in series:
        log_odds += each.log_likelihoods(white, flicker)
    odds = np.exp(log_odds - log_odds.max())
    odds /= odds.sum()
    longest = max(series, key=lambda each: len(each.at_s))
    deviations = np.sqrt(longest.variances_later(white, flicker))
    return Drift(
        deviation=min(_bound(odds, deviations) / QUANTILE, WIDEST),
        rounds=sum(len(each.at_s) for each in series),
        span_s=float(max(each.at_s[-1] - each.at_s[0] for each in series)),
    )


@dataclass(frozen=True)
class _Series:
    """Rounds of jobs that were measured together: when, and the logarithm of their time in all."""

    at_s: Vector
    log_ms: Vector

    @staticmethod
    def of(jobs: Jobs) -> "_Series":
        """What all jobs take in each round, so that long ones count most, as networks do.

        In the order of time: a clock may be set back, and a table be written by hand.
        """
        at_s = np.array([[each.at_s for each in rounds] for rounds in jobs]).mean(axis=0)
        total_ms = np.array([[each.latency_ms for each in rounds] for rounds in jobs]).sum(axis=0)
        order = np.argsort(at_s)
        return _Series(at_s[order], np.log(total_ms[order]))

    @property
    def step_s(self) -> float:
        """How far rounds are apart: over so long each averages."""
        apart = (self.at_s[-1] - self.at_s[0]) / max(len(self.at_s) - 1, 1)
        return float(max(apart, SHORTEST_S))

    def log_likelihoods(self, white: Vector, flicker: Vector) -> Vector:
        """How likely the rounds are under amounts of noise, whatever their common level is."""
        count = len(self.at_s)
        if count < 2:
            return np.zeros_like(white)
        contrasts = np.linalg.svd(np.ones((1, count)))[2][1:]
        apart = np.abs(self.at_s[:, None] - self.at_s)
        shape = -contrasts @ self._flicker(apart) @ contrasts.T
        seen = contrasts @ self.log_ms
        values, vectors = np.linalg.eigh(shape)
        rotated = np.square(vectors.T @ seen)
        spread = white[:, None] ** 2 + flicker[:, None] ** 2 * np.maximum(values, 0.0)
        return np.asarray(-0.5 * (rotated / spread + np.log(spread)).sum(axis=1))

    def variances_later(self, white: Vector, flicker: Vector) -> Vector:
        """The variance of as many rounds an hour later, beside those that were seen.

        By the variograms of what is between the two, less those within each (Matheron 1963).
        """
        count = len(self.at_s)
        later_s = self.at_s + (self.at_s[-1] - self.at_s[0]) + HOUR_S
        between = self._flicker(np.abs(later_s[:, None] - self.at_s)).mean()
        within = self._flicker(np.abs(self.at_s[:, None] - self.at_s)).mean()
        return np.asarray(2 * white**2 / count + 2 * flicker**2 * (between - within))

    def _flicker(self, apart_s: Matrix) -> Matrix:
        """The semivariogram of flicker noise of amount one, averaged over a round (Allan variance).

        Half of (ln(lag / round) + 3/2) / ln 2, from lags of a round on; nothing within the same.
        """
        lag = np.maximum(apart_s / self.step_s, 1.0)
        return np.where(apart_s > 0, (np.log(lag) + 1.5) / (2 * math.log(2)), 0.0)


def _bound(odds: Vector, deviations: Vector) -> float:
    """What nine in ten of a mixture of normal distributions are within."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    def outside(bound: float) -> float:
        return float(odds @ (2 * norm.sf(bound / deviations))) - 0.1

    return float(brentq(outside, deviations.min(), 10 * deviations.max()))


def _unusual(amounts: Vector) -> Vector:
    """How far amounts of noise are from a machine's usual ones, in squared deviations."""
    return np.asarray(np.square(np.log(amounts / USUAL) / math.log(USUAL_FACTOR)))


def _measured_together(tables: Sequence[Jobs]) -> list[list[Sequence[Round]]]:
    """Tables whose rounds are interleaved as one; jobs that were measured alike often in each."""
    groups: list[list[Sequence[Round]]] = []
    kept = [[rounds for rounds in jobs if rounds] for jobs in tables]
    for jobs in sorted(filter(None, kept), key=_begin_s):
        alike = max(len(rounds) for rounds in jobs)
        whole = [rounds for rounds in jobs if len(rounds) == alike]
        if groups and len(groups[-1][0]) == alike and _begin_s(whole) < _end_s(groups[-1]):
            groups[-1] += whole
        else:
            groups.append(whole)
    return groups


def _begin_s(jobs: Jobs) -> float:
    return min(each.at_s for each in itertools.chain.from_iterable(jobs))


def _end_s(jobs: Jobs) -> float:
    return max(each.at_s for each in itertools.chain.from_iterable(jobs))
