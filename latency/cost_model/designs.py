"""Networks of different designs: what the design of an unseen one adds to its doubt is estimated.

Blocks of one space are alike: what a sum of costs leaves of one is little more than noise. Whole
networks of many designs each have an error that nothing else measured shares, as families have in
`latency.cost_model.multilevel`: one for each of GROUPS, times the share of the time that such work
takes. Here each network counts as a family of its own. How large such errors are on this device is
uncertain while few were measured: a log-normal prior around what families of published networks
have, weighed by the errors of leave-one-out predictions, and nothing selected but all averaged.
A design's error is Student-t, as the noise is, and an unseen design has its full deviation. Costs
are known the less for it, too: a measurement tells of them as much as its design allows.

Only the doubt is estimated so: costs are those of `latency.cost_model.analytical.fit`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from latency.cost_model.analytical import AnalyticalModel, best_estimate, model_of, regression_of
from latency.cost_model.laplace import NOISE, REWEIGHTINGS, STUDENT_DEGREES, LaplaceApproximation
from latency.cost_model.unit_costs import UnitCosts
from latency.cost_model.work_amounts import Vector
from latency.measurement.measurement import Measurement

# Of the log latency, in each of GROUPS: what the fit of all published Neural Engine rows found of
# families (`latency.cost_model.multilevel`).
FAMILY = (0.15, 0.35)
SCALES = (0.25, 0.5, 1.0, 2.0)  # of FAMILY, that are averaged over
SPREAD = 0.7  # of the scale's logarithm beforehand: a factor of two either way
TAILS = math.sqrt(STUDENT_DEGREES / (STUDENT_DEGREES - 2))  # a Student-t's deviation over its scale


def fit_designs(
    measurements: Sequence[Measurement], prior: UnitCosts, number_bytes: int | None = None
) -> tuple[AnalyticalModel, Vector]:
    """Fit the unit costs of a prior to measured networks of different designs.

    Args:
        measurements: one or more of sized workloads, each design once.
        prior: from a data sheet or a neighbour (`latency.cost_model.unit_costs`).
        number_bytes: of the device's numbers, where workloads are traced in others.

    Returns:
        The model, whose `family` is what the design of an unseen network adds; and the errors of
        leave-one-out predictions of the log latency over the deviations that it states of them,
        (measurements,), to calibrate its `width` by.

    Raises:
        InputError: a workload without sizes, or a time that is not positive.
    """
    from scipy.stats import t

    plain = best_estimate(regression_of(measurements, prior, number_bytes))
    errors, scales = plain.leave_one_out[0], np.array(SCALES)
    found = [_doubted(plain, scale) for scale in SCALES]
    variances = np.stack([each.leave_one_out[1] for each in found])
    likelihood = t.logpdf(errors / np.sqrt(variances), STUDENT_DEGREES) - np.log(variances) / 2
    scores = likelihood.sum(axis=1) - (np.log(scales) / SPREAD) ** 2 / 2
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    unseen = replace(plain.regression, family=_scaled(TAILS * math.sqrt(float(shares @ scales**2))))
    weights = shares @ np.stack([each.weights for each in found])
    averaged = unseen.approximation(plain.log_costs, plain.amplitude, weights)
    deviations = np.sqrt(averaged.leave_one_out[1])
    return model_of(averaged, measurements, number_bytes), errors / deviations


def _doubted(plain: LaplaceApproximation, scale: float) -> LaplaceApproximation:
    """The same costs, where designs have errors: measurements weigh less, outliers least."""
    regression = replace(plain.regression, family=_scaled(scale))
    weights = NOISE**2 / regression.own_variance(plain.log_costs)
    for _ in range(REWEIGHTINGS):
        weights = regression.approximation(plain.log_costs, plain.amplitude, weights).em_weights
    return regression.approximation(plain.log_costs, plain.amplitude, weights)


def _scaled(scale: float) -> tuple[float, ...]:
    return tuple(scale * deviation for deviation in FAMILY)
