"""Multilevel regression: unit costs of several chips at once, with random effects.

log latency = log(sum over kinds of work of amount x cost on the chip) + family + lowering + noise

A cost on a chip is a cost that all chips share, divided by how much faster the chip's data sheet
says that it is, times what the data sheet does not say. Networks of one family share an error,
whatever they run on: one for each of GROUPS, times the share of the time that such work takes. So
do those that reached the engine in another way (a mixed model; Gelman and Hill 2007, "Data analysis
using regression and multilevel models", chapters 11 to 13). A chip of which little was measured
learns from the others, and a network of a family that nobody measured has bounds that say so. The
mode is found by Levenberg-Marquardt, all around it is Gaussian (Laplace's approximation), the noise
Student-t; deviations are those of the largest evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from latency.cost_model.laplace import STUDENT_DEGREES
from latency.cost_model.unit_costs import SPREADS, UnitCosts, unit_costs_of
from latency.cost_model.work_amounts import GROUPS, INDEX, WORK_KINDS, Vector
from search_spaces import InputError

KINDS = len(WORK_KINDS)
CALL = INDEX["call"]
# What a ratio of data sheets leaves open: of each kind of work, and of all together.
OF_A_KIND, OF_A_CHIP = 0.15, 0.2
OF_A_LOWERING = 1.0  # a program that was lowered in another way takes a third, or three times
# Deviations of the logarithm that are tried: of a family in each of GROUPS, and of a measurement.
TRIED = ((0.03, 0.06, 0.1, 0.15, 0.2), (0.1, 0.15, 0.25, 0.35, 0.5), (0.04, 0.06, 0.09, 0.13, 0.2))
FIRST = (0.1, 0.35, 0.06)
REWEIGHTINGS = 5
SHARED_CALL = 0.05  # a call is the operating system's: what chips share of it says nothing


@dataclass(frozen=True)
class ChipRow:
    """A network's latency on a chip.

    Args:
        amounts: of work, (COLUMNS,).
        latency_ms: measured.
        chip: that it ran on.
        family: of networks that share an error.
        lowering: how it reached the engine; empty for the way that predictions are of.
    """

    amounts: Vector
    latency_ms: float
    chip: str
    family: str
    lowering: str = ""


@dataclass(frozen=True)
class Chips:
    """What data sheets say.

    Args:
        prior: unit costs of the chip that the others are compared with.
        speedups: of every chip over that one, by kind of work; 1 where none is given.
    """

    prior: UnitCosts
    speedups: Mapping[str, Mapping[str, float]]

    def log_ratio(self, chip: str) -> Vector:
        """By how much each kind of work costs more than on the chip of the prior, (kinds,).

        Raises:
            InputError: no data sheet of the chip.
        """
        if chip not in self.speedups:
            raise InputError(f"chip {chip!r}: has no data sheet; add it to chips.csv")
        faster = self.speedups[chip]
        return np.asarray(-np.log([faster.get(kind, 1.0) for kind in WORK_KINDS]))


class Regression:
    """The design of a fit: what each measurement says of which parameters.

    Parameters are the log costs that chips share, what each chip's differ by, the effects of
    families, and of lowerings.
    """

    def __init__(self, rows: Sequence[ChipRow], chips: Chips) -> None:
        self.chips = chips
        self.names = sorted({row.chip for row in rows})
        self.families = sorted({row.family for row in rows})
        self.lowerings = sorted({row.lowering for row in rows} - {""})
        self.amounts = np.array([row.amounts[:KINDS] for row in rows])
        self.log_latency = np.log([row.latency_ms for row in rows])
        self.chip = np.array([self.names.index(row.chip) for row in rows])
        self._ratio = np.array([chips.log_ratio(row.chip) for row in rows])
        self._family = np.array([[row.family == f for f in self.families] for row in rows], float)
        self._lowered = np.array(
            [[row.lowering == each for each in self.lowerings] for row in rows], float
        ).reshape(len(rows), -1)
        self._effects = self.effects_at(self.start)

    @cached_property
    def of_chip(self) -> Vector:
        """Covariance of what a chip's log costs differ by from its data sheet, (kinds, kinds)."""
        covariance = np.eye(KINDS) * OF_A_KIND**2 + OF_A_CHIP**2
        covariance[CALL, :] = covariance[:, CALL] = 0.0
        covariance[CALL, CALL] = SPREADS["call"] ** 2
        return covariance

    @cached_property
    def of_shared(self) -> Vector:
        """Prior covariance of the log costs that chips share, (kinds, kinds)."""
        covariance = self.chips.prior.log_covariance
        covariance[CALL, :] = covariance[:, CALL] = 0.0
        covariance[CALL, CALL] = SHARED_CALL**2
        return covariance

    @property
    def start(self) -> Vector:
        """The prior's mean, (parameters,)."""
        others = KINDS * len(self.names) + len(GROUPS) * len(self.families) + len(self.lowerings)
        return np.concatenate([self.chips.prior.log_medians, np.zeros(others)])

    def prior_precision(self, family: Sequence[float]) -> Vector:
        """Of all parameters, (parameters, parameters), by a family's deviation in each group."""
        from scipy.linalg import block_diag

        costs = [np.linalg.inv(self.of_shared)]
        costs += [np.linalg.inv(self.of_chip)] * len(self.names)
        effects = [1 / each**2 for each in family for _ in self.families]
        effects += [1 / OF_A_LOWERING**2] * len(self.lowerings)
        return np.asarray(block_diag(*costs, np.diag(effects)))

    def shares(self, parameters: Vector) -> Vector:
        """Of the time of each measurement, that of each kind of work, (rows, kinds)."""
        costs = parameters[: KINDS * (1 + len(self.names))].reshape(-1, KINDS)
        each = self.amounts * np.exp(costs[0] + self._ratio + costs[1 + self.chip])
        return np.asarray(each / each.sum(axis=1, keepdims=True))

    def effects_at(self, parameters: Vector) -> Vector:
        """How much of each effect a measurement has, (rows, effects), by the shares there."""
        of_groups = self.shares(parameters) @ GROUPS.T
        families = [self._family * share[:, None] for share in of_groups.T]
        return np.hstack([*families, self._lowered])

    def look_from(self, parameters: Vector) -> None:
        """Take the shares there for the effects from now on."""
        self._effects = self.effects_at(parameters)

    def predicted(self, parameters: Vector) -> tuple[Vector, Vector]:
        """Log latencies, (rows,), and their derivative, (rows, parameters)."""
        costs = parameters[: KINDS * (1 + len(self.names))].reshape(-1, KINDS)
        log_costs = costs[0] + self._ratio + costs[1 + self.chip]
        each = self.amounts * np.exp(log_costs)
        total = each.sum(axis=1, keepdims=True)
        effects = self._effects @ parameters[costs.size :]
        share = each / total
        of_chips = np.zeros((len(share), len(self.names), KINDS))
        of_chips[np.arange(len(share)), self.chip] = share
        derivative = np.hstack([share, of_chips.reshape(len(share), -1), self._effects])
        return np.log(total[:, 0]) + effects, derivative


@dataclass(frozen=True)
class MultilevelFit:
    """The posterior.

    Args:
        regression: its design.
        mode: of the parameters.
        covariance: around it.
        family: deviation of a family's log latency, for each of GROUPS.
        noise: scale of a measurement's, as Student-t.
        evidence: logarithm of the marginal likelihood.
    """

    regression: Regression
    mode: Vector
    covariance: Vector
    family: tuple[float, ...]
    noise: float
    evidence: float

    @property
    def deviations(self) -> tuple[float, ...]:
        """Of a family in each of GROUPS, and of a measurement."""
        return (*self.family, self.noise)

    @property
    def residual(self) -> float:
        """Standard deviation of a measurement's log latency beside everything else."""
        return float(self.noise * np.sqrt(STUDENT_DEGREES / (STUDENT_DEGREES - 2)))

    def costs(self, chip: str) -> UnitCosts:
        """The unit costs of a chip, whether something was measured on it or not.

        Raises:
            InputError: no data sheet of the chip.
        """
        on = self.regression
        middle = self.mode[:KINDS] + on.chips.log_ratio(chip)
        if chip not in on.names:
            return unit_costs_of(middle, self.covariance[:KINDS, :KINDS] + on.of_chip)
        begin = KINDS * (1 + on.names.index(chip))
        both = np.r_[0:KINDS, begin : begin + KINDS]
        added = np.hstack([np.eye(KINDS), np.eye(KINDS)])
        covariance = added @ self.covariance[np.ix_(both, both)] @ added.T
        return unit_costs_of(middle + self.mode[begin : begin + KINDS], covariance)


def fit_chips(
    rows: Sequence[ChipRow], chips: Chips, deviations: Sequence[float] | None = None
) -> MultilevelFit:
    """Fit the costs of all chips to what was measured on any.

    Args:
        rows: what was measured.
        chips: what data sheets say.
        deviations: of a family in each of GROUPS, and of a measurement; None for those of the
            largest evidence.

    Raises:
        InputError: nothing was measured, or on a chip without a data sheet.
    """
    if not rows:
        raise InputError("no measurements to fit the costs of chips to")
    regression, best = Regression(rows, chips), list(FIRST)
    if deviations is not None:
        return _fitted(regression, deviations)
    found = _fitted(regression, best)
    for place, tried in enumerate(TRIED):  # one after the other
        for value in set(tried) - {best[place]}:
            other = _fitted(regression, [*best[:place], value, *best[place + 1 :]])
            if other.evidence > found.evidence:
                found = other
        best = [*found.family, found.noise]
    return found


def _fitted(regression: Regression, deviations: Sequence[float]) -> MultilevelFit:
    """The posterior for given deviations, by iterated reweighting."""
    from scipy.optimize import least_squares
    from scipy.stats import t

    *family, noise = deviations
    start, precision = regression.start, regression.prior_precision(family)
    of_prior = np.linalg.cholesky(precision).T
    observed, mode = regression.log_latency, start
    weights = np.ones(len(observed))

    def residuals(parameters: Any) -> Any:
        missed = observed - regression.predicted(parameters)[0]
        return np.concatenate([scale * missed, of_prior @ (parameters - start)])

    def derivative(parameters: Any) -> Any:
        found = regression.predicted(parameters)[1]
        return np.concatenate([-scale[:, None] * found, of_prior])

    for _ in range(REWEIGHTINGS):
        regression.look_from(mode)
        scale = np.sqrt(weights) / noise
        mode = least_squares(residuals, mode, derivative, method="lm", xtol=1e-8).x
        predicted, slopes = regression.predicted(mode)
        hessian = slopes.T @ (slopes * (weights / noise**2)[:, None]) + precision
        covariance = np.asarray(np.linalg.inv(hessian))
        known = np.einsum("rp,pq,rq->r", slopes, covariance, slopes)
        error = observed - predicted
        # The expected Student-t weight of each (Lange, Little and Taylor 1989).
        weights = (STUDENT_DEGREES + 1) / (STUDENT_DEGREES + (error**2 + known) / noise**2)
    likelihood = t.logpdf(error / noise, STUDENT_DEGREES).sum() - len(observed) * np.log(noise)
    away = mode - start
    volume = np.linalg.slogdet(hessian)[1] - np.linalg.slogdet(precision)[1]
    evidence = float(likelihood - away @ precision @ away / 2 - volume / 2)
    return MultilevelFit(regression, mode, covariance, tuple(family), noise, evidence)
