"""Bounds with a stated coverage, from errors on measurements that a fit did not see."""

import math
from collections.abc import Sequence

import numpy as np

COVERAGE = 0.9
FEW = 10
UNVALIDATED_WIDTH = 0.5  # the share that a prediction with no network behind it may be off


def relative_width(errors: Sequence[float], coverage: float = COVERAGE) -> float:
    """The share of a prediction within which the truth lies with probability `coverage`.

    Split-conformal quantile of absolute relative errors, with the (n + 1) correction (Lei et al.
    2018, arXiv:1604.04173); below ten errors, where that quantile does not exist, Student's t.
    """
    from scipy.stats import t

    absolute = np.sort(np.abs(errors))
    count = len(absolute)
    if count == 0:
        return UNVALIDATED_WIDTH
    rank = math.ceil((count + 1) * coverage)
    if count >= FEW and rank <= count:
        return float(absolute[rank - 1])
    spread = math.sqrt(float(np.mean(absolute**2)) * (1 + 1 / count))
    quantile = float(t.ppf(0.5 + coverage / 2, max(1, count - 1)))
    return max(float(absolute[-1]), quantile * spread)
