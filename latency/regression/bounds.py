"""Conformal prediction: bounds with a stated coverage, from leave-one-out errors."""

import math
from collections.abc import Sequence

import numpy as np

COVERAGE = 0.9
PRIOR_ERRORS = 5  # how many left-out errors the spread that a model states counts as
UNVALIDATED = 1.6449  # the normal quantile of COVERAGE


def conformal_quantile(errors: Sequence[float], coverage: float = COVERAGE) -> float:
    """Calibrate bounds: the standard deviations to either side that hold `coverage` of the truth.

    `errors` are leave-one-out residuals, each over the deviation that the model stated for it.
    With few, Student's t around the model's own deviation; as they grow, their split-conformal
    quantile with the (n + 1) correction (Lei et al. 2018, arXiv:1604.04173) takes over.
    """
    from scipy.stats import t

    count = len(errors)
    if count == 0:
        return UNVALIDATED
    absolute = np.sort(np.abs(errors))
    spread = math.sqrt((PRIOR_ERRORS + float((absolute**2).sum())) / (PRIOR_ERRORS + count))
    student = spread * float(t.ppf(0.5 + coverage / 2, PRIOR_ERRORS + count))
    rank = math.ceil((count + 1) * coverage)
    if rank > count:
        return student
    return (PRIOR_ERRORS * student + count * float(absolute[rank - 1])) / (PRIOR_ERRORS + count)
