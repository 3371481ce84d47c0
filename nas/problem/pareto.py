"""Pareto fronts: which points no other dominates, in one place for all who ask."""

import numpy as np
import numpy.typing as npt

from nas.problem.problem import Matrix


def nondominated(points: Matrix, *, keep_equal: bool = False) -> npt.NDArray[np.bool_]:
    """Which of (n, objectives) points no other beats, (n,); less is better.

    Args:
        points: finite numbers.
        keep_equal: whether equal points all stay; otherwise one stands for them.
    """
    import moocore

    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    if points.shape[1] == 1:  # which moocore refuses
        best = np.asarray(points[:, 0] == points[:, 0].min())
        return best if keep_equal else np.arange(len(points)) == int(np.argmax(best))
    return np.asarray(moocore.is_nondominated(points, keep_weakly=keep_equal), dtype=bool)
