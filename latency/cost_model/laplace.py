"""Costs and a residual fitted together: a Gaussian around the mode, in logarithms.

log latency = log(sum over families of cost x amount) + residual + noise

with Gaussian logarithms of costs, a Gaussian process as the residual and Student-t noise. Around
the mode this is linear (Laplace's approximation; Rasmussen and Williams 2006, "Gaussian processes
for machine learning", chapters 2, 3 and 5); outliers are weighted down by expectation and
maximisation (Lange, Little and Taylor 1989). Settings were tuned on the published Neural Engine
rows (examples/benchmarks/neural_engine.py), then frozen.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from latency.cost_model.unit_costs import Rates
from latency.cost_model.work_amounts import FAMILIES, Vector, shape_features

NOISE = 0.05  # of one measurement, in ratio
DEGREES = 4.0  # of the Student-t: a measurement may be an outlier
REWEIGHTINGS = 4
LENGTH = 4.0  # networks whose mean operations are within a factor e^4 share a residual
# The least is the noise's: no sum of costs is exact to better. Where data are far it fades.
AMPLITUDES = (0.05, 0.1, 0.2, 0.4, 0.8)
UNMEASURED_AMPLITUDE = 0.1
AMPLITUDE_MEAN = 0.05  # of its exponential prior: a larger one must earn itself
COVERAGE = 0.9
QUANTILE = 1.6448536269514722  # of the normal: COVERAGE lies within it
IMAGINED = 10  # normal errors that stand beside few real ones when the width is calibrated
WIDEST = 4.0


@dataclass(frozen=True)
class Problem:
    """Amounts and logarithms of measured latencies, and a prior on the costs."""

    columns: Vector
    log_latency: Vector
    prior: Rates

    @cached_property
    def amounts(self) -> Vector:
        """(measurements, FAMILIES)."""
        return self.columns[:, : len(FAMILIES)]

    @cached_property
    def features(self) -> Vector:
        """(measurements, 5) that the residual looks at."""
        return shape_features(self.columns)

    def fitted(self, amplitude: float) -> "State":
        """The mode for one amplitude, outliers weighted down."""
        count = len(self.log_latency)
        log_costs, weights = self.prior.log_medians, np.ones(count)
        for _ in range(REWEIGHTINGS):
            log_costs = self._mode(log_costs, amplitude, weights)
            state = self.state(log_costs, amplitude, weights)
            weights = state.reweighted
        return self.state(self._mode(log_costs, amplitude, weights), amplitude, weights)

    def _mode(self, start: Vector, amplitude: float, weights: Vector) -> Vector:
        """Levenberg-Marquardt on whitened residuals of measurements and prior."""
        from scipy.optimize import least_squares

        of_errors = np.linalg.inv(np.linalg.cholesky(self._errors(amplitude, weights)))
        of_prior = np.linalg.inv(np.linalg.cholesky(self.prior.log_covariance))
        middle = self.prior.log_medians

        def residuals(log_costs: Any) -> Any:
            missed = self.log_latency - np.log(self.amounts @ np.exp(log_costs))
            return np.concatenate([of_errors @ missed, of_prior @ (log_costs - middle)])

        def jacobian(log_costs: Any) -> Any:
            return np.concatenate([-of_errors @ self.shares(log_costs), of_prior])

        found: Vector = least_squares(residuals, start, jacobian, method="lm", xtol=1e-10).x
        return found

    def shares(self, log_costs: Vector) -> Vector:
        """(measurements, FAMILIES) of the predicted latency: its logarithm's derivative."""
        each = self.amounts * np.exp(log_costs)
        return np.asarray(each / each.sum(axis=1, keepdims=True))

    def _errors(self, amplitude: float, weights: Vector) -> Vector:
        residual = amplitude**2 * kernel(self.features, self.features)
        return np.asarray(residual + np.diag(NOISE**2 / weights))

    def state(self, log_costs: Vector, amplitude: float, weights: Vector) -> "State":
        """Everything that is linear around given costs."""
        return State(self, log_costs, amplitude, weights, self._errors(amplitude, weights))


@dataclass(frozen=True)
class State:
    """A problem, linear in logarithms around costs that fit it."""

    problem: Problem
    log_costs: Vector
    amplitude: float
    weights: Vector
    errors: Vector  # (measurements, measurements) covariance of residual and noise

    @cached_property
    def shares(self) -> Vector:
        """(measurements, FAMILIES): what each family is of a predicted latency."""
        return self.problem.shares(self.log_costs)

    @cached_property
    def inverse(self) -> Vector:
        """Of the covariance of the measurements, costs unknown."""
        prior = self.problem.prior.log_covariance
        return np.asarray(np.linalg.inv(self.shares @ prior @ self.shares.T + self.errors))

    @cached_property
    def covariance(self) -> Vector:
        """(FAMILIES, FAMILIES) of the logarithms of the costs, given the measurements."""
        prior = self.problem.prior.log_covariance
        if not len(self.weights):
            return prior
        crossed = self.shares @ prior
        return np.asarray(prior - crossed.T @ self.inverse @ crossed)

    @cached_property
    def missed(self) -> Vector:
        """Logarithms of measured over predicted, costs at the mode."""
        predicted = self.problem.amounts @ np.exp(self.log_costs)
        return np.asarray(self.problem.log_latency - np.log(predicted))

    @cached_property
    def left_out(self) -> tuple[Vector, Vector]:
        """Each measurement's error and its variance without itself (their equation 5.12)."""
        from_prior = self.log_costs - self.problem.prior.log_medians
        surprise = self.missed + self.shares @ from_prior
        diagonal = np.diag(self.inverse)
        known = np.maximum(1 / diagonal - NOISE**2 / self.weights, 1e-9)
        return self.inverse @ surprise / diagonal, known + NOISE**2

    @cached_property
    def score(self) -> float:
        """Leave-one-out log likelihood, and the amplitude's prior."""
        from scipy.stats import t

        error, variance = self.left_out
        likelihood = t.logpdf(error / np.sqrt(variance), DEGREES) - np.log(variance) / 2
        return float(likelihood.sum()) - self.amplitude / AMPLITUDE_MEAN

    @cached_property
    def reweighted(self) -> Vector:
        """Weights of the measurements as their errors deserve (expectation-maximisation)."""
        from_prior = self.log_costs - self.problem.prior.log_medians
        noise = NOISE**2 / self.weights
        error = noise * (self.inverse @ (self.missed + self.shares @ from_prior))
        variance = np.maximum(noise - noise**2 * np.diag(self.inverse), 0.0)
        return np.asarray((DEGREES + 1) / (DEGREES + (error**2 + variance) / NOISE**2))

    @cached_property
    def width(self) -> float:
        """What makes the bounds hold COVERAGE of the left-out measurements; never below 1."""
        from scipy.stats import norm

        error, variance = self.left_out
        imagined = norm.ppf(0.5 + (np.arange(IMAGINED) + 0.5) / IMAGINED / 2)
        sizes = np.concatenate([np.abs(error) / np.sqrt(variance), imagined])
        return float(np.clip(np.quantile(sizes, COVERAGE) / QUANTILE, 1.0, WIDEST))

    def residual(self, columns: Vector, shares: Vector) -> tuple[Vector, Vector]:
        """Mean of the residual at (workloads, COLUMNS), and what it adds to the variance."""
        if not (self.amplitude and len(self.weights)):
            nothing = np.zeros(len(columns))
            return nothing, nothing + self.amplitude**2
        near = self.amplitude**2 * kernel(shape_features(columns), self.problem.features)
        shift = near @ np.linalg.solve(self.errors, self.missed)
        prior = self.problem.prior.log_covariance
        crossed = shares @ prior @ self.shares.T + near
        both = np.einsum("wf,fg,wg->w", shares, prior, shares) + self.amplitude**2
        both -= np.einsum("wm,mn,wn->w", crossed, self.inverse, crossed)
        of_costs = np.einsum("wf,fg,wg->w", shares, self.covariance, shares)
        return shift, np.maximum(both - of_costs, 0.0)


def kernel(features: Vector, others: Vector) -> Vector:
    """Matern 3/2: the residual may bend, as where another engine takes over."""
    squared = ((features[:, None] - others[None]) ** 2).sum(axis=-1)
    scaled = np.sqrt(3 * squared) / LENGTH
    return np.asarray((1 + scaled) * np.exp(-scaled))
