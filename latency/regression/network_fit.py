"""Few-shot fit: a linear model of few measured networks, which adds in ms or multiplies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from latency.measurement.measurement import Measurement
from latency.regression import bayesian_linear
from latency.regression.design import EXPECTED, Design
from latency.regression.features import BaseTime
from latency.regression.linear_model import LinearModel
from latency.regression.links import FEWEST, LINKS, Link, Rows, interval_ms, is_clearly_better
from latency.regression.transfer import Sources
from latency.workload.workload import Workload

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """A fitted model, and its leave-one-out sums with their standard deviations.

    Both in ms, or of log ms where the model has the log link.
    """

    model: LinearModel
    leave_one_out: Vector
    leave_one_out_sd: Vector

    def leave_one_out_ms(self, quantile: float = 0.0) -> tuple[Rows, Rows, Rows]:
        """Leave-one-out predictions: (latency_ms, low_ms, high_ms), each (networks,)."""
        return interval_ms(self.leave_one_out, self.leave_one_out_sd, quantile, self.model.link)


def fit(
    networks: Sequence[Measurement],
    base_ms: BaseTime,
    sources: Sources | None = None,
    always_ms: float = 0.0,
    link: Link = "identity",
) -> Fit:
    """Fit a linear model to measured networks.

    Args:
        networks: what was measured.
        base_ms: what a part takes by itself, 0 where that is not known.
        sources: devices to transfer from.
        always_ms: what every network takes beside its parts, as far as it was measured.
        link: log to fit the logarithm of latency, with interactions, to parts of names alone and
            without sources.
    """
    design = replace(Design.of(networks, base_ms, sources, link), always_ms=always_ms)
    posterior = bayesian_linear.fit(design.regression(), design.priors())
    return Fit(
        design.model(posterior),
        posterior.leave_one_out * design.mean_ms + design.shift,
        posterior.leave_one_out_sd * design.mean_ms,
    )


def fit_names(networks: Sequence[Measurement]) -> Fit:
    """Fit networks whose parts have names alone: a sum in ms, or in log ms where that is better."""
    if len(networks) < FEWEST:
        return fit(networks, lambda _: 0.0)
    added, multiplied = (fit(networks, lambda _: 0.0, link=link) for link in LINKS)
    (added_ms, *_), (multiplied_ms, *_) = added.leave_one_out_ms(), multiplied.leave_one_out_ms()
    measured_ms = np.array([network.latency_ms for network in networks])
    return multiplied if is_clearly_better(multiplied_ms, added_ms, measured_ms) else added


def prior_factor(
    networks: Sequence[Workload], base_ms: BaseTime, sources: Sources | None = None
) -> Matrix:
    """Factor E (networks, effects) of the prior covariance E E^T of latencies over their mean.

    What the priors expect of networks that nobody has measured yet.
    """
    design = Design.of([Measurement(n, 1.0) for n in networks], base_ms, sources)
    regression, prior = design.regression(), design.priors()[EXPECTED]
    return np.concatenate(
        [
            term.columns * np.sqrt(prior.variances[name])
            for name, term in regression.terms.items()
            if name in prior.variances
        ],
        axis=1,
    )
