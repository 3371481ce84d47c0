"""Optimal experimental design: choose the networks whose measurement tells most of all others.

Greedy I-optimal design (Cohn 1996, "Neural network exploration using optimal experiment design"):
each next network is the one whose measurement lowers the mean predictive variance over the space
most, under the priors that the fit will use. No latency is needed to decide.
"""

from collections.abc import Sequence

import numpy as np

from latency.regression.features import BaseTime
from latency.regression.network_fit import prior_factor
from latency.regression.transfer import Sources
from latency.workload.workload import Workload

NOISE = 0.04  # of a measurement, as a share of the mean latency


def worth_measuring(
    candidates: Sequence[Workload],
    count: int,
    base_ms: BaseTime = lambda _: 0.0,
    sources: Sources | None = None,
) -> list[int]:
    """Choose `count` candidates by greedy I-optimal design: their indices, most informative first.

    `candidates` stand for the space: draw some hundreds or thousands at random.
    """
    if len(candidates) < 2:
        return list(range(min(count, len(candidates))))
    effects = prior_factor(candidates, base_ms, sources)
    average = effects.T @ effects / len(effects)
    unknown = np.eye(effects.shape[1])
    left = np.ones(len(candidates), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(count, len(candidates))):
        shared = effects @ unknown
        variance = (shared * effects).sum(axis=1) + NOISE**2
        gain = ((shared @ average) * shared).sum(axis=1) / variance
        best = int(np.argmax(np.where(left, gain, -np.inf)))
        chosen.append(best)
        left[best] = False
        unknown -= np.outer(shared[best], shared[best]) / variance[best]
    return chosen
