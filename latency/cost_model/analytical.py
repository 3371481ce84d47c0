"""Analytical cost model: latency is amounts of work times unit costs, times a learned residual.

latency = (sum over kinds of work of unit cost x amount) x exp(residual)

Unit costs are log-normal around a data sheet's or a neighbour's (`latency.cost_model.unit_costs`).
The residual is a Gaussian process over log sizes; cross-validation (leave-one-out) chooses its
amplitude (`latency.cost_model.laplace`). With no measurement the prediction is the data sheet's,
with many it is the fit. A kind of work that nothing measured keeps its prior's spread, and so
widens the bounds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from latency.cost_model.laplace import (
    AMPLITUDES,
    NOISE,
    QUANTILE,
    UNMEASURED_AMPLITUDE,
    WIDEST,
    CostRegression,
    LaplaceApproximation,
)
from latency.cost_model.spread import Spread, factor
from latency.cost_model.unit_costs import LEAST_MS, UnitCosts, unit_costs_of
from latency.cost_model.work_amounts import (
    COLUMNS,
    GROUP_NAMES,
    GROUPS,
    INDEX,
    WORK_KINDS,
    Vector,
    amounts,
    work_matrix,
)
from latency.measurement.measurement import Measurement
from latency.measurement.validation import Prediction
from latency.workload.workload import Workload
from search_spaces import InputError
from search_spaces.files.document import Json, finite

LARGEST = 1e12  # of an amount or a time in a document
LARGEST_FAMILY = 3.0  # of the deviation of a family's error: a factor of 20
DIRECTIONS = len(WORK_KINDS) + len(GROUPS)  # that costs are uncertain along


@dataclass(frozen=True)
class AnalyticalModel:
    """A fitted analytical model: the prior, the measurements, the posterior; all numbers."""

    prior: UnitCosts
    log_costs: tuple[float, ...]  # of WORK_KINDS, at the posterior's mode
    amplitude: float = UNMEASURED_AMPLITUDE  # of the residual, in logarithms
    width: float = 1.0  # factor on the bounds, from leave-one-out errors
    family: tuple[float, ...] = (0.0,) * len(GROUPS)  # of a family's error, as `multilevel` has it
    number_bytes: int | None = None  # of the device; None: as workloads were traced
    measured: tuple[tuple[float, ...], ...] = ()  # (measurements, COLUMNS) amounts
    latency_ms: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()  # 1; less for an outlier

    @cached_property
    def _posterior(self) -> "LaplaceApproximation":
        columns = np.array(self.measured).reshape(len(self.measured), len(COLUMNS))
        times = np.log(np.array(self.latency_ms))
        regression = CostRegression(columns, times, self.prior, self.family)
        weights = np.array(self.weights)
        return regression.approximation(np.array(self.log_costs), self.amplitude, weights)

    def amounts(self, workload: Workload) -> Vector:
        """Count the work that a workload asks of this device, (COLUMNS,); parts add."""
        return amounts(workload, self.number_bytes)

    def predict(self, workload: Workload) -> Prediction:
        """Predict the latency of a block or a network, with bounds.

        Raises:
            InputError: the workload's operations have no sizes.
        """
        if not workload.measurable:
            raise InputError(f"{workload.name}: its operations have no sizes; trace the module")
        found = self.predict_amounts(self.amounts(workload)[None])[:, 0].tolist()
        return Prediction(*found)

    def predict_amounts(self, columns: Vector) -> Vector:
        """Predict (3, workloads) latency, lower and upper bound in ms of (workloads, COLUMNS).

        A sum of log-normals is taken as log-normal with its mean and variance (Fenton 1960, "The
        sum of log-normal probability distributions"), so that one wide cost widens the upper
        bound even where its median is small.
        """
        latency_ms, middle, variances = self._log_normal(columns)
        deviation = self.width * np.sqrt(variances.sum(axis=0))
        low_ms = np.minimum(np.exp(middle - QUANTILE * deviation), latency_ms)
        high_ms = np.maximum(np.exp(middle + QUANTILE * deviation), latency_ms)
        return np.stack([latency_ms, low_ms, high_ms])

    def spread(self, workload: Workload) -> Spread:
        """What of the bounds is what, as standard deviations of the log latency."""
        variances = self._log_normal(self.amounts(workload)[None])[2][:, 0]
        return Spread(*(self.width * np.sqrt(variances)).tolist())

    def _log_normal(self, columns: Vector) -> tuple[Vector, Vector, Vector]:
        """The median in ms, the middle of the log latency, and its variances, (3, workloads).

        The variances are of costs, of families, and of the rest.
        """
        approximation = self._posterior
        each = columns[:, : len(WORK_KINDS)] * np.exp(np.array(self.log_costs))
        total = np.maximum(each.sum(axis=1), 1e-12)
        covariance = approximation.covariance
        means = each * np.exp(np.diag(covariance) / 2)
        mean = np.maximum(means.sum(axis=1), 1e-12)
        variance = np.einsum("wf,fg,wg->w", means, np.exp(covariance) - 1, means)
        of_costs = np.log1p(np.maximum(variance, 0.0) / mean**2)
        shares = each / total[:, None]
        shift, of_residual = approximation.residual_process(columns, shares)
        variances = np.stack([of_costs, self._of_family(shares), of_residual + NOISE**2])
        return total * np.exp(shift), np.log(mean) - of_costs / 2 + shift, variances

    def _of_family(self, shares: Vector) -> Vector:
        """The variance that a family's error adds, (workloads,), by shares of the time."""
        return np.asarray(np.square(shares @ GROUPS.T * np.array(self.family)).sum(axis=1))

    @property
    def posterior(self) -> UnitCosts:
        """Posterior of the unit costs: a neighbouring chip's prior, once scaled."""
        return unit_costs_of(np.array(self.log_costs), self._posterior.covariance)

    def part_cost(self, workload: Workload) -> tuple[float, Vector]:
        """The ms that a part adds to a network, and how far they move along each direction.

        Directions (DIRECTIONS,) are columns of the covariance's Cholesky factor, and a family's
        errors: costs are uncertain along them together, so they add over the parts. The call is
        the network's.
        """
        each = self.amounts(workload)[: len(WORK_KINDS)] * np.exp(np.array(self.log_costs))
        each[INDEX["call"]] = 0.0
        return float(each.sum()), self._along_directions(each)

    @property
    def call_cost(self) -> tuple[float, Vector]:
        """The same of the call itself, which each network has once."""
        each = np.zeros(len(WORK_KINDS))
        each[INDEX["call"]] = np.exp(self.log_costs[INDEX["call"]])
        return float(each.sum()), self._along_directions(each)

    def _along_directions(self, each: Vector) -> Vector:
        covariance = self._posterior.covariance
        together = np.exp(covariance) - 1  # of log-normal costs, in units of their means
        factor = np.linalg.cholesky(together + 1e-12 * np.eye(len(WORK_KINDS)))
        along = (each * np.exp(np.diag(covariance) / 2)) @ factor
        return self.width * np.concatenate([along, (GROUPS @ each) * np.array(self.family)])

    @property
    def log_deviation(self) -> float:
        """Standard deviation of a network's log latency beside what its unit costs leave open."""
        return self.width * math.hypot(NOISE, self.amplitude)

    @property
    def error_factors(self) -> dict[str, float]:
        """By what factor the bounds are apart from a prediction for what no unit cost says.

        Of a family of networks that nobody measured, by what takes the time; and of any network.
        """
        deviations = [self.width * each for each in self.family]
        named = dict(zip(GROUP_NAMES, deviations, strict=True)) | {"residual": self.log_deviation}
        return {name: factor(each) for name, each in named.items()}

    @property
    def leave_one_out(self) -> list[Prediction]:
        """Leave-one-out predictions of the measurements."""
        approximation = self._posterior
        error, variance = approximation.leave_one_out
        middle = approximation.regression.log_latency - error
        half = QUANTILE * self.width * np.sqrt(variance)
        bounds = np.exp(np.stack([middle, middle - half, middle + half], axis=1))
        return [Prediction(*row) for row in bounds.tolist()]

    @property
    def leave_one_out_ms(self) -> Vector:
        """Leave-one-out predictions without their bounds."""
        return np.array([prediction.latency_ms for prediction in self.leave_one_out])

    def to_json(self) -> Json:
        """As a device's document has it: numbers, and names of the kinds of work."""
        rows = zip(self.measured, self.latency_ms, self.weights, strict=True)
        return {
            "prior": self.prior.to_json(),
            "ms_per_unit": dict(zip(WORK_KINDS, np.exp(self.log_costs).tolist(), strict=True)),
            "amplitude": self.amplitude,
            "width": self.width,
            "family": list(self.family),
            "number_bytes": self.number_bytes,
            "columns": list(COLUMNS),
            "measured": [
                {"amounts": list(row), "latency_ms": ms, "weight": weight}
                for row, ms, weight in rows
            ],
        }

    @staticmethod
    def from_json(entry: object, where: str) -> "AnalyticalModel":
        """Read a model out of a document.

        Raises:
            InputError: a field is missing, or a number is none.
        """
        if not isinstance(entry, dict) or not isinstance(entry.get("measured"), list):
            raise InputError(f"{where}: expected an analytical model with prior and measured")
        costs = entry.get("ms_per_unit")
        if not isinstance(costs, dict) or entry.get("columns") != list(COLUMNS):
            raise InputError(f"{where}: expected ms_per_unit, and the columns {list(COLUMNS)}")
        rows = [_measured(row, f"{where}, measured {i}") for i, row in enumerate(entry["measured"])]
        number_bytes, family = entry.get("number_bytes"), entry.get("family")
        if not isinstance(family, list) or len(family) != len(GROUPS):
            raise InputError(f"{where}, family: expected {len(GROUPS)} numbers")
        deviations = tuple(finite(each, f"{where}, family") for each in family)
        if not 0 <= min(deviations) <= max(deviations) <= LARGEST_FAMILY:
            raise InputError(f"{where}, family: expected 0 to {LARGEST_FAMILY}; found {family}")
        amplitude, width = (finite(entry.get(n), f"{where}, {n}") for n in ("amplitude", "width"))
        if not (0 <= amplitude <= max(AMPLITUDES) and 0 < width <= WIDEST):
            raise InputError(f"{where}: amplitude {amplitude} or width {width} out of range")
        if number_bytes is not None and number_bytes not in [1, 2, 4, 8]:
            raise InputError(f"{where}, number_bytes: expected 1, 2, 4 or 8")
        return AnalyticalModel(
            prior=UnitCosts.from_json(entry.get("prior"), f"{where}, prior"),
            log_costs=tuple(float(np.log(_cost(costs, f, where))) for f in WORK_KINDS),
            amplitude=amplitude,
            width=width,
            family=deviations,
            number_bytes=number_bytes,
            measured=tuple(row for row, _, _ in rows),
            latency_ms=tuple(ms for _, ms, _ in rows),
            weights=tuple(weight for _, _, weight in rows),
        )


def fit(
    measurements: Sequence[Measurement], prior: UnitCosts, number_bytes: int | None = None
) -> AnalyticalModel:
    """Fit the unit costs of a prior to measurements of sized workloads.

    Args:
        measurements: any number; none gives the data sheet's predictions.
        prior: from a data sheet or a neighbour (`latency.cost_model.unit_costs`).
        number_bytes: of the device's numbers, where workloads are traced in others.

    Raises:
        InputError: a workload without sizes, or a time that is not positive.
    """
    regression = regression_of(measurements, prior, number_bytes)
    if not measurements:
        return AnalyticalModel(prior, tuple(prior.log_medians.tolist()), number_bytes=number_bytes)
    best = best_estimate(regression)
    return replace(model_of(best, measurements, number_bytes), width=best.width)


def best_estimate(regression: CostRegression) -> LaplaceApproximation:
    """The maximum a posteriori, by the amplitude whose leave-one-out predictions are best."""
    return max((regression.map_estimate(a) for a in AMPLITUDES), key=lambda found: found.objective)


def model_of(
    found: LaplaceApproximation, measurements: Sequence[Measurement], number_bytes: int | None
) -> AnalyticalModel:
    """The model that an approximation to measurements stands for, its bounds as it states them."""
    regression = found.regression
    return AnalyticalModel(
        prior=regression.prior,
        log_costs=tuple(found.log_costs.tolist()),
        amplitude=found.amplitude,
        family=regression.family,
        number_bytes=number_bytes,
        measured=tuple(tuple(row) for row in regression.columns.tolist()),
        latency_ms=tuple(measurement.latency_ms for measurement in measurements),
        weights=tuple(found.weights.tolist()),
    )


def regression_of(
    measurements: Sequence[Measurement], prior: UnitCosts, number_bytes: int | None = None
) -> CostRegression:
    """Set up the regression problem of measured workloads.

    Raises:
        InputError: a workload without sizes, or a time that is not positive.
    """
    for measurement in measurements:
        name, latency_ms = measurement.workload.name, measurement.latency_ms
        if not measurement.workload.measurable:
            raise InputError(f"{name}: its operations have no sizes; trace the module")
        if not (np.isfinite(latency_ms) and latency_ms > 0):
            raise InputError(f"{name}: latency {latency_ms} ms is not positive")
    columns = work_matrix([m.workload for m in measurements], number_bytes)
    return CostRegression(columns, np.log([m.latency_ms for m in measurements]), prior)


def _cost(costs: Json, kind: str, where: str) -> float:
    cost = finite(costs.get(kind), f"{where}, ms_per_unit, {kind}")
    if not LEAST_MS**2 <= cost <= LEAST_MS**-2:
        raise InputError(f"{where}, ms_per_unit, {kind}: {cost} out of range")
    return cost


def _measured(row: object, where: str) -> tuple[tuple[float, ...], float, float]:
    if not isinstance(row, dict) or not isinstance(row.get("amounts"), list):
        raise InputError(f"{where}: expected amounts, latency_ms and weight")
    found = tuple(finite(value, f"{where}, amounts") for value in row["amounts"])
    if len(found) != len(COLUMNS) or min(found) < 0 or max(found) > LARGEST or not found[0]:
        raise InputError(
            f"{where}, amounts: expected {len(COLUMNS)} numbers from 0 to {LARGEST:g}, a call first"
        )
    latency_ms, weight = (finite(row.get(n), f"{where}, {n}") for n in ("latency_ms", "weight"))
    if not (1 / LARGEST <= latency_ms <= LARGEST and 1 / LARGEST <= weight <= 2):
        raise InputError(f"{where}: latency_ms {latency_ms} or weight {weight} out of range")
    return found, latency_ms, weight
