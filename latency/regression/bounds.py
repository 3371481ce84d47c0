"""Conformal prediction: bounds with a stated coverage, from leave-one-out errors."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

COVERAGE = 0.9
PRIOR_ERRORS = 5  # how many left-out errors the spread that a model states counts as
# Of the errors of one fit: how many the spread that it states counts as, from how many on their own
# quantile counts more than Student's, and as how many what they have in common counts.
STATED, EVEN, SHARED = 1, 50, 0.5
UNVALIDATED = 1.6449  # the normal quantile of COVERAGE


def conformal_quantile(errors: Sequence[float], coverage: float = COVERAGE) -> float:
    """Calibrate bounds: the standard deviations to either side that hold `coverage` of the truth.

    `errors` are leave-one-out residuals, each over the deviation that the model stated for it.
    With few, Student's t around the model's own deviation; as they grow, their split-conformal
    quantile with the (n + 1) correction (Lei et al. 2018, arXiv:1604.04173) takes over.
    """
    count = len(errors)
    if count == 0:
        return UNVALIDATED
    absolute = np.sort(np.abs(errors))
    student = _student_quantile(absolute, coverage, PRIOR_ERRORS)
    rank = math.ceil((count + 1) * coverage)
    if rank > count:
        return student
    return (PRIOR_ERRORS * student + count * float(absolute[rank - 1])) / (PRIOR_ERRORS + count)


def quantile_of_fit(errors: Sequence[float], coverage: float = COVERAGE) -> float:
    """The same for errors of one linear model, all networks of a space.

    They are of one kind, and Student's t knows their tails better than their own largest do, until
    there are many. The error that a fit makes in all of them alike is not among them.
    """
    count = len(errors)
    if count == 0:
        return UNVALIDATED
    absolute = np.sort(np.abs(errors))
    place = min((count + 1) * coverage, count) - 1
    own = float(np.interp(place, np.arange(count), absolute))
    share = count / (count + EVEN)
    blended = (1 - share) * _student_quantile(absolute, coverage, STATED) + share * own
    return blended * (1 + SHARED / count)


def _student_quantile(absolute: npt.NDArray[np.float64], coverage: float, stated: int) -> float:
    """Student's t around the deviation that the model states, which counts as `stated` errors."""
    from scipy.stats import t

    count = stated + len(absolute)
    spread = math.sqrt((stated + float((absolute**2).sum())) / count)
    return spread * float(t.ppf(0.5 + coverage / 2, count))
