"""Laplace approximation: fit unit costs and a Gaussian-process residual to measured latencies.

log latency = log(sum over kinds of work of unit cost x amount) + residual + noise

Logarithms of unit costs are Gaussian, the residual is a Gaussian process, the noise Student-t.
Linear around the maximum a posteriori, all of it is one Gaussian (Rasmussen and Williams 2006,
"Gaussian processes for machine learning", chapters 2, 3 and 5). Outliers are weighted down by
expectation-maximisation (Lange, Little and Taylor 1989). Settings were tuned on the published
Neural Engine rows (examples/benchmarks/neural_engine.py), then frozen. The noise of a measurement
is the machine's, and, where networks of different designs were measured, what each design adds
(`latency.cost_model.designs`).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from latency.cost_model.unit_costs import UnitCosts
from latency.cost_model.work_amounts import GROUPS, WORK_KINDS, Vector, size_features

NOISE = 0.05  # of one measurement, in ratio
STUDENT_DEGREES = 4.0  # of the Student-t: a measurement may be an outlier
REWEIGHTINGS = 4
LENGTH_SCALE = 4.0  # networks whose mean operations are within a factor e^4 share a residual
# The least is the noise's: no sum of costs is exact to better. Where data are far it fades.
AMPLITUDES = (0.05, 0.1, 0.2, 0.4, 0.8)
UNMEASURED_AMPLITUDE = 0.1
AMPLITUDE_MEAN = 0.05  # of its exponential prior: a larger one must earn itself
COVERAGE = 0.9
QUANTILE = 1.6448536269514722  # of the normal: COVERAGE lies within it
PSEUDO_ERRORS = 10  # normal errors that stand beside few real ones when the width is calibrated
WIDEST = 4.0


@dataclass(frozen=True)
class CostRegression:
    """The regression problem: amounts of work, measured log latencies, a prior on unit costs.

    Args:
        columns: amounts of work, (measurements, COLUMNS).
        log_latency: measured, (measurements,).
        prior: on unit costs.
        family: scale of the error that each measured network's own design has, by GROUPS.
    """

    columns: Vector
    log_latency: Vector
    prior: UnitCosts
    family: tuple[float, ...] = (0.0,) * len(GROUPS)

    @cached_property
    def amounts(self) -> Vector:
        """The design matrix, (measurements, WORK_KINDS)."""
        return self.columns[:, : len(WORK_KINDS)]

    @cached_property
    def features(self) -> Vector:
        """Inputs of the residual's Gaussian process, (measurements, 5)."""
        return size_features(self.columns)

    def map_estimate(self, amplitude: float) -> "LaplaceApproximation":
        """Approximate at the maximum a posteriori for one amplitude, by iterated reweighting."""
        count = len(self.log_latency)
        log_costs, weights = self.prior.log_medians, np.ones(count)
        for _ in range(REWEIGHTINGS):
            log_costs = self._mode(log_costs, amplitude, weights)
            approximation = self.approximation(log_costs, amplitude, weights)
            weights = approximation.em_weights
        return self.approximation(self._mode(log_costs, amplitude, weights), amplitude, weights)

    def _mode(self, start: Vector, amplitude: float, weights: Vector) -> Vector:
        """Find the mode: Levenberg-Marquardt on whitened residuals of measurements and prior."""
        from scipy.optimize import least_squares

        of_errors = np.linalg.inv(np.linalg.cholesky(self._noise_covariance(amplitude, weights)))
        of_prior = np.linalg.inv(np.linalg.cholesky(self.prior.log_covariance))
        middle = self.prior.log_medians

        def residuals(log_costs: Any) -> Any:
            missed = self.log_latency - np.log(self.amounts @ np.exp(log_costs))
            return np.concatenate([of_errors @ missed, of_prior @ (log_costs - middle)])

        def derivative(log_costs: Any) -> Any:
            return np.concatenate([-of_errors @ self.jacobian(log_costs), of_prior])

        found: Vector = least_squares(residuals, start, derivative, method="lm", xtol=1e-10).x
        return found

    def jacobian(self, log_costs: Vector) -> Vector:
        """Derivative of log latency by log costs: each kind's share, (measurements, WORK_KINDS)."""
        each = self.amounts * np.exp(log_costs)
        return np.asarray(each / each.sum(axis=1, keepdims=True))

    def own_variance(self, log_costs: Vector) -> Vector:
        """Squared scale of each measurement's noise, and of its design's error, (measurements,)."""
        of_groups = self.jacobian(log_costs) @ GROUPS.T
        return np.asarray(NOISE**2 + np.square(of_groups * np.array(self.family)).sum(axis=1))

    def _noise_covariance(self, amplitude: float, weights: Vector) -> Vector:
        residual = amplitude**2 * kernel(self.features, self.features)
        return np.asarray(residual + np.diag(NOISE**2 / weights))

    def approximation(
        self, log_costs: Vector, amplitude: float, weights: Vector
    ) -> "LaplaceApproximation":
        """Linearise around given costs."""
        return LaplaceApproximation(
            self, log_costs, amplitude, weights, self._noise_covariance(amplitude, weights)
        )


@dataclass(frozen=True)
class LaplaceApproximation:
    """The Gaussian posterior of a regression that is linear around `log_costs`."""

    regression: CostRegression
    log_costs: Vector
    amplitude: float
    weights: Vector  # NOISE**2 over the variance that a measurement counts with
    noise_covariance: Vector  # (measurements, measurements) covariance of residual and noise

    @cached_property
    def jacobian(self) -> Vector:
        """The derivative at the mode, (measurements, WORK_KINDS)."""
        return self.regression.jacobian(self.log_costs)

    @cached_property
    def precision(self) -> Vector:
        """Inverse of the measurements' marginal covariance, costs integrated out."""
        prior = self.regression.prior.log_covariance
        return np.asarray(
            np.linalg.inv(self.jacobian @ prior @ self.jacobian.T + self.noise_covariance)
        )

    @cached_property
    def covariance(self) -> Vector:
        """Posterior covariance of the log costs, (WORK_KINDS, WORK_KINDS)."""
        prior = self.regression.prior.log_covariance
        if not len(self.weights):
            return prior
        crossed = self.jacobian @ prior
        return np.asarray(prior - crossed.T @ self.precision @ crossed)

    @cached_property
    def residuals(self) -> Vector:
        """Log of measured over predicted latency, costs at the mode."""
        predicted = self.regression.amounts @ np.exp(self.log_costs)
        return np.asarray(self.regression.log_latency - np.log(predicted))

    @cached_property
    def leave_one_out(self) -> tuple[Vector, Vector]:
        """Leave-one-out errors and their variances (Rasmussen and Williams, equation 5.12)."""
        from_prior = self.log_costs - self.regression.prior.log_medians
        surprise = self.residuals + self.jacobian @ from_prior
        diagonal = np.diag(self.precision)
        known = np.maximum(1 / diagonal - NOISE**2 / self.weights, 1e-9)
        own = self.regression.own_variance(self.log_costs)
        return self.precision @ surprise / diagonal, known + own

    @cached_property
    def objective(self) -> float:
        """Leave-one-out log predictive density, and the amplitude's log prior: to be maximised."""
        from scipy.stats import t

        error, variance = self.leave_one_out
        likelihood = t.logpdf(error / np.sqrt(variance), STUDENT_DEGREES) - np.log(variance) / 2
        return float(likelihood.sum()) - self.amplitude / AMPLITUDE_MEAN

    @cached_property
    def em_weights(self) -> Vector:
        """The E step: each measurement's expected Student-t weight, given its error.

        In units of NOISE: one whose design errs by more counts less.
        """
        from_prior = self.log_costs - self.regression.prior.log_medians
        noise = NOISE**2 / self.weights
        error = noise * (self.precision @ (self.residuals + self.jacobian @ from_prior))
        variance = np.maximum(noise - noise**2 * np.diag(self.precision), 0.0)
        own = self.regression.own_variance(self.log_costs)
        expected = (STUDENT_DEGREES + 1) / (STUDENT_DEGREES + (error**2 + variance) / own)
        return np.asarray(expected * NOISE**2 / own)

    @cached_property
    def width(self) -> float:
        """Calibrate the bounds to COVERAGE of the leave-one-out errors; a factor, never below 1."""
        from scipy.stats import norm

        error, variance = self.leave_one_out
        imagined = norm.ppf(0.5 + (np.arange(PSEUDO_ERRORS) + 0.5) / PSEUDO_ERRORS / 2)
        sizes = np.concatenate([np.abs(error) / np.sqrt(variance), imagined])
        return float(np.clip(np.quantile(sizes, COVERAGE) / QUANTILE, 1.0, WIDEST))

    def residual_process(self, columns: Vector, jacobian: Vector) -> tuple[Vector, Vector]:
        """The Gaussian process at (workloads, COLUMNS): its mean, and the variance that it adds."""
        if not (self.amplitude and len(self.weights)):
            nothing = np.zeros(len(columns))
            return nothing, nothing + self.amplitude**2
        near = self.amplitude**2 * kernel(size_features(columns), self.regression.features)
        shift = near @ np.linalg.solve(self.noise_covariance, self.residuals)
        prior = self.regression.prior.log_covariance
        crossed = jacobian @ prior @ self.jacobian.T + near
        both = np.einsum("wf,fg,wg->w", jacobian, prior, jacobian) + self.amplitude**2
        both -= np.einsum("wm,mn,wn->w", crossed, self.precision, crossed)
        of_costs = np.einsum("wf,fg,wg->w", jacobian, self.covariance, jacobian)
        return shift, np.maximum(both - of_costs, 0.0)


def kernel(features: Vector, others: Vector) -> Vector:
    """Matern 3/2 covariance: the residual may bend, as where another engine takes over."""
    squared = ((features[:, None] - others[None]) ** 2).sum(axis=-1)
    scaled = np.sqrt(3 * squared) / LENGTH_SCALE
    return np.asarray((1 + scaled) * np.exp(-scaled))
