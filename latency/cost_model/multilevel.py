"""Multilevel regression: unit costs of several chips at once, with random effects.

log latency = log(sum over kinds of work of amount x cost on the chip) + family + lowering + noise

A cost on a chip is a cost that all chips share, divided by how much faster the chip's data sheet
says that it is, times what the data sheet does not say. Networks of one family share an error,
whatever they run on, and so do those that reached the engine in one way (a mixed model; Gelman and
Hill 2007, "Data analysis using regression and multilevel models", chapters 11 to 13). So a chip of
which little was measured learns from the others, and a network of a family that nobody measured has
bounds that say so. The mode is found by Levenberg-Marquardt, all around it is Gaussian (Laplace's
approximation), the noise Student-t; the two deviations are those of the largest evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from latency.cost_model.laplace import STUDENT_DEGREES
from latency.cost_model.unit_costs import SPREADS, UnitCosts, unit_costs_of
from latency.cost_model.work_amounts import INDEX, WORK_KINDS, Vector
from search_spaces import InputError

KINDS = len(WORK_KINDS)
CALL = INDEX["call"]
# What a ratio of data sheets leaves open: of each kind of work, and of all together.
OF_A_KIND, OF_A_CHIP = 0.15, 0.2
OF_A_LOWERING = 1.0  # a program that was lowered in another way takes a third, or three times
FAMILIES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)  # deviations of the logarithm: of a family ...
NOISES = (0.04, 0.06, 0.09, 0.13, 0.2)  # ... and of one measurement
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
        return -np.log([faster.get(kind, 1.0) for kind in WORK_KINDS])


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
        self._effects = np.zeros((len(rows), len(self.families) + len(self.lowerings)))
        for place, row in enumerate(rows):
            self._effects[place, self.families.index(row.family)] = 1.0
            if row.lowering:
                column = len(self.families) + self.lowerings.index(row.lowering)
                self._effects[place, column] = 1.0

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
        others = KINDS * len(self.names) + self._effects.shape[1]
        return np.r_[self.chips.prior.log_medians, np.zeros(others)]

    def prior_precision(self, family: float) -> Vector:
        """Of all parameters, (parameters, parameters)."""
        from scipy.linalg import block_diag

        costs = [np.linalg.inv(self.of_shared)]
        costs += [np.linalg.inv(self.of_chip)] * len(self.names)
        effects = [1 / family**2] * len(self.families)
        effects += [1 / OF_A_LOWERING**2] * len(self.lowerings)
        return np.asarray(block_diag(*costs, np.diag(effects)))

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
        family: deviation of a family's log latency.
        noise: scale of a measurement's, as Student-t.
        evidence: logarithm of the marginal likelihood.
    """

    regression: Regression
    mode: Vector
    covariance: Vector
    family: float
    noise: float
    evidence: float

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


def fit_chips(rows: Sequence[ChipRow], chips: Chips) -> MultilevelFit:
    """Fit the costs of all chips to what was measured on any.

    Raises:
        InputError: nothing was measured, or on a chip without a data sheet.
    """
    if not rows:
        raise InputError("no measurements to fit the costs of chips to")
    regression = Regression(rows, chips)
    return max(
        (_fitted(regression, *deviations) for deviations in product(FAMILIES, NOISES)),
        key=lambda found: found.evidence,
    )


def _fitted(regression: Regression, family: float, noise: float) -> MultilevelFit:
    """The posterior for given deviations, by iterated reweighting."""
    from scipy.optimize import least_squares
    from scipy.stats import t

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
        scale = np.sqrt(weights) / noise
        mode = least_squares(residuals, mode, derivative, method="lm", xtol=1e-8).x
        predicted, slopes = regression.predicted(mode)
        hessian = slopes.T @ (slopes * (weights / noise**2)[:, None]) + precision
        covariance = np.linalg.inv(hessian)
        known = np.einsum("rp,pq,rq->r", slopes, covariance, slopes)
        error = observed - predicted
        # The expected Student-t weight of each (Lange, Little and Taylor 1989).
        weights = (STUDENT_DEGREES + 1) / (STUDENT_DEGREES + (error**2 + known) / noise**2)
    likelihood = t.logpdf(error / noise, STUDENT_DEGREES).sum() - len(observed) * np.log(noise)
    away = mode - start
    volume = np.linalg.slogdet(hessian)[1] - np.linalg.slogdet(precision)[1]
    evidence = float(likelihood - away @ precision @ away / 2 - volume / 2)
    return MultilevelFit(regression, mode, covariance, family, noise, evidence)
