"""A physical prior, fitted to few measurements, and a learned residual.

latency = (sum over families of cost x amount) x exp(residual)

Costs are log-normal around a data sheet's or a neighbour's (`latency.cost_model.unit_costs`); the
residual is a Gaussian process over logarithms of physical sizes, whose amplitude leave-one-out
chooses (`latency.cost_model.laplace`). With no measurement the prediction is the data sheet's, with
many it is the fit, and a family that nothing measured keeps its prior's spread, and so widens the
bounds.
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
    Problem,
    State,
)
from latency.cost_model.unit_costs import LEAST_MS, Rates, rates_of
from latency.cost_model.work_amounts import COLUMNS, FAMILIES, INDEX, Vector, amounts, matrix
from latency.measurement.measurement import Measurement
from latency.measurement.validation import Prediction
from latency.workload.workload import Workload
from search_spaces import InputError
from search_spaces.files.document import Json, finite

LARGEST = 1e12  # of an amount or a time in a document


@dataclass(frozen=True)
class PhysicalModel:
    """A prior, the measurements that it met, and what a fit made of them; all numbers."""

    prior: Rates
    log_costs: tuple[float, ...]  # of FAMILIES, at the posterior's mode
    amplitude: float = UNMEASURED_AMPLITUDE  # of the residual, in logarithms
    width: float = 1.0  # factor on the bounds, from leave-one-out errors
    number_bytes: int | None = None  # of the device; None: as workloads were traced
    measured: tuple[tuple[float, ...], ...] = ()  # (measurements, COLUMNS) amounts
    latency_ms: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()  # 1; less for an outlier

    @cached_property
    def _state(self) -> "State":
        columns = np.array(self.measured).reshape(len(self.measured), len(COLUMNS))
        problem = Problem(columns, np.log(np.array(self.latency_ms)), self.prior)
        weights = np.array(self.weights)
        return problem.state(np.array(self.log_costs), self.amplitude, weights)

    def amounts(self, workload: Workload) -> Vector:
        """(COLUMNS,) what the workload asks of this device; amounts of parts add."""
        return amounts(workload, self.number_bytes)

    def predict(self, workload: Workload) -> Prediction:
        """The latency of a block or a network.

        Raises:
            InputError: the workload's operations have no sizes.
        """
        if not workload.measurable:
            raise InputError(f"{workload.name}: its operations have no sizes; trace the module")
        found = self.predict_amounts(self.amounts(workload)[None])[:, 0].tolist()
        return Prediction(*found)

    def predict_amounts(self, columns: Vector) -> Vector:
        """(3, workloads): latency, lower and upper bound in ms of (workloads, COLUMNS) amounts.

        A sum of log-normal costs is taken as log-normal with its mean and variance (Fenton
        1960, "The sum of log-normal probability distributions"), so that one wide cost widens
        the upper bound even where its median is small.
        """
        state = self._state
        each = columns[:, : len(FAMILIES)] * np.exp(np.array(self.log_costs))
        total = np.maximum(each.sum(axis=1), 1e-12)
        covariance = state.covariance
        means = each * np.exp(np.diag(covariance) / 2)
        mean = np.maximum(means.sum(axis=1), 1e-12)
        variance = np.einsum("wf,fg,wg->w", means, np.exp(covariance) - 1, means)
        of_costs = np.log1p(np.maximum(variance, 0.0) / mean**2)
        middle = np.log(mean) - of_costs / 2
        shift, of_residual = state.residual(columns, each / total[:, None])
        deviation = self.width * np.sqrt(of_costs + of_residual + NOISE**2)
        latency_ms = total * np.exp(shift)
        low_ms = np.minimum(np.exp(middle + shift - QUANTILE * deviation), latency_ms)
        high_ms = np.maximum(np.exp(middle + shift + QUANTILE * deviation), latency_ms)
        return np.stack([latency_ms, low_ms, high_ms])

    def family_ms(self, workload: Workload) -> dict[str, float]:
        """What each family adds to a workload's latency, before the residual."""
        each = self.amounts(workload)[: len(FAMILIES)] * np.exp(np.array(self.log_costs))
        return dict(zip(FAMILIES, each.tolist(), strict=True))

    @property
    def posterior(self) -> Rates:
        """The costs as the measurements left them: a neighbouring chip's prior, once scaled."""
        return rates_of(np.array(self.log_costs), self._state.covariance)

    def part(self, workload: Workload) -> tuple[float, Vector]:
        """What a part adds to a network in ms, and how far that moves along each direction.

        The call is the network's, not the part's. Directions (FAMILIES,) are those in which the
        costs are uncertain together, so they add over the parts.
        """
        each = self.amounts(workload)[: len(FAMILIES)] * np.exp(np.array(self.log_costs))
        each[INDEX["call"]] = 0.0
        return float(each.sum()), self._moved(each)

    @property
    def call(self) -> tuple[float, Vector]:
        """The same of the call itself: once a network."""
        each = np.zeros(len(FAMILIES))
        each[INDEX["call"]] = np.exp(self.log_costs[INDEX["call"]])
        return float(each.sum()), self._moved(each)

    def _moved(self, each: Vector) -> Vector:
        covariance = self._state.covariance
        together = np.exp(covariance) - 1  # of log-normal costs, in units of their means
        factor = np.linalg.cholesky(together + 1e-12 * np.eye(len(FAMILIES)))
        return np.asarray((each * np.exp(np.diag(covariance) / 2)) @ factor)

    @property
    def deviation(self) -> float:
        """In logarithms, what networks stray by beside what their costs leave open."""
        return self.width * math.hypot(NOISE, self.amplitude)

    @property
    def left_out(self) -> list[Prediction]:
        """What the model predicts of each measurement, had it not seen it."""
        state = self._state
        error, variance = state.left_out
        middle = state.problem.log_latency - error
        half = QUANTILE * self.width * np.sqrt(variance)
        bounds = np.exp(np.stack([middle, middle - half, middle + half], axis=1))
        return [Prediction(*row) for row in bounds.tolist()]

    @property
    def left_out_ms(self) -> Vector:
        """The same as times alone."""
        return np.array([prediction.latency_ms for prediction in self.left_out])

    def to_json(self) -> Json:
        """Numbers and names of families."""
        rows = zip(self.measured, self.latency_ms, self.weights, strict=True)
        return {
            "prior": self.prior.to_json(),
            "ms_per_unit": dict(zip(FAMILIES, np.exp(self.log_costs).tolist(), strict=True)),
            "amplitude": self.amplitude,
            "width": self.width,
            "number_bytes": self.number_bytes,
            "columns": list(COLUMNS),
            "measured": [
                {"amounts": list(row), "latency_ms": ms, "weight": weight}
                for row, ms, weight in rows
            ],
        }

    @staticmethod
    def from_json(entry: object, where: str) -> "PhysicalModel":
        """A model out of a document.

        Raises:
            InputError: a field is missing, or a number is none.
        """
        if not isinstance(entry, dict) or not isinstance(entry.get("measured"), list):
            raise InputError(f"{where}: expected a physical model with prior and measured")
        costs = entry.get("ms_per_unit")
        if not isinstance(costs, dict) or entry.get("columns") != list(COLUMNS):
            raise InputError(f"{where}: expected ms_per_unit, and the columns {list(COLUMNS)}")
        rows = [_measured(row, f"{where}, measured {i}") for i, row in enumerate(entry["measured"])]
        number_bytes = entry.get("number_bytes")
        amplitude, width = (finite(entry.get(n), f"{where}, {n}") for n in ("amplitude", "width"))
        if not (0 <= amplitude <= max(AMPLITUDES) and 0 < width <= WIDEST):
            raise InputError(f"{where}: amplitude {amplitude} or width {width} out of range")
        if number_bytes is not None and number_bytes not in [1, 2, 4, 8]:
            raise InputError(f"{where}, number_bytes: expected 1, 2, 4 or 8")
        return PhysicalModel(
            prior=Rates.from_json(entry.get("prior"), f"{where}, prior"),
            log_costs=tuple(float(np.log(_cost(costs, f, where))) for f in FAMILIES),
            amplitude=amplitude,
            width=width,
            number_bytes=number_bytes,
            measured=tuple(row for row, _, _ in rows),
            latency_ms=tuple(ms for _, ms, _ in rows),
            weights=tuple(weight for _, _, weight in rows),
        )


def fit(
    measurements: Sequence[Measurement], prior: Rates, number_bytes: int | None = None
) -> PhysicalModel:
    """The model that a prior and measurements of sized workloads make.

    Args:
        measurements: any number; none gives the data sheet's predictions.
        prior: from a data sheet or a neighbour (`latency.cost_model.unit_costs`).
        number_bytes: of the device's numbers, where workloads are traced in others.

    Raises:
        InputError: a workload without sizes, or a time that is not positive.
    """
    for measurement in measurements:
        name, latency_ms = measurement.workload.name, measurement.latency_ms
        if not measurement.workload.measurable:
            raise InputError(f"{name}: its operations have no sizes; trace the module")
        if not (np.isfinite(latency_ms) and latency_ms > 0):
            raise InputError(f"{name}: latency {latency_ms} ms is not positive")
    start = PhysicalModel(prior, tuple(prior.log_medians.tolist()), number_bytes=number_bytes)
    if not measurements:
        return start
    columns = matrix([m.workload for m in measurements], number_bytes)
    times_ms = np.array([m.latency_ms for m in measurements])
    problem = Problem(columns, np.log(times_ms), prior)
    best = max((problem.fitted(a) for a in AMPLITUDES), key=lambda state: state.score)
    return replace(
        start,
        log_costs=tuple(best.log_costs.tolist()),
        amplitude=best.amplitude,
        width=best.width,
        measured=tuple(tuple(row) for row in columns.tolist()),
        latency_ms=tuple(times_ms.tolist()),
        weights=tuple(best.weights.tolist()),
    )


def _cost(costs: Json, family: str, where: str) -> float:
    cost = finite(costs.get(family), f"{where}, ms_per_unit, {family}")
    if not LEAST_MS**2 <= cost <= LEAST_MS**-2:
        raise InputError(f"{where}, ms_per_unit, {family}: {cost} out of range")
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
