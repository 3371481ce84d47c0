"""The variance of looks that is chance: what a network's value owes to the samples it was seen on.

Of the differences between networks at a first, cheap look a part is chance; how they change at
closer looks, or samples themselves, tell how much.
"""

from collections.abc import Sequence

import numpy as np

from nas.problem.problem import Matrix, Vector

FEWEST_TOLD = 4  # networks that were looked at again, before their changes say how much is chance


def chance_of_changes(changes: Sequence[Matrix], shared: Sequence[float]) -> tuple[Vector, int]:
    """The variance of first looks that is chance, by how networks changed at a later look.

    Networks that were seen up to one level change by what all of them share, and by chance.

    Args:
        changes: for each such level (networks, objectives): the last look less the first.
        shared: of the samples of each of these levels, the share that the first look had, too.

    Returns:
        The variance, (objectives,), and its degrees of freedom; no chance where there are none.
    """
    squares, left = np.zeros(changes[0].shape[1]), 0
    for change, both in zip(changes, shared, strict=True):
        if len(change) > 1:
            squares += np.square(change - change.mean(axis=0)).sum(axis=0) / (1 - both)
            left += len(change) - 1
    return squares / max(left, 1), left


def chance_of_samples(samples: Matrix) -> float:
    """The same by (networks, samples): what neither a network nor a sample tells of a number.

    The interaction of a two-way analysis of variance, for the mean over the samples.
    """
    apart = samples - samples.mean(axis=0) - samples.mean(axis=1)[:, None] + samples.mean()
    rows, columns = samples.shape
    return float(np.square(apart).sum() / ((rows - 1) * (columns - 1)) / columns)
