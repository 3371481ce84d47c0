"""Principal directions of what is uncertain: what predictive variances are summed from."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from latency.regression.features import Feature
from latency.workload.workload import option_of

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

MOST = 12  # that a sum in ms keeps; the rest becomes variance of each weight
MOST_LOG = 32  # of a sum in log ms, whose bounds are a factor: what is lost would widen them
NEGLIGIBLE = 1e-9


def by_variance(covariance: Matrix, variance: Vector) -> tuple[Matrix, Vector]:
    """Principal directions of a covariance, and the variance that they leave to each weight.

    Principal for networks as they are drawn: each feature counts by how much it varies.
    """
    usual = np.sqrt(np.concatenate([[1.0], np.maximum(variance, 1e-6)]))
    values, vectors = np.linalg.eigh(covariance * np.outer(usual, usual))
    main = np.argsort(values)[::-1][:MOST]
    directions = vectors[:, main] * np.sqrt(np.maximum(values[main], 0.0)) / usual[:, None]
    rest = np.maximum(np.diag(covariance) - (directions**2).sum(axis=1), 0.0)
    return directions, rest


def by_networks(
    covariance: Matrix, features: Sequence[Feature], columns: Matrix
) -> tuple[Matrix, Vector]:
    """The same for networks whose parts have names alone: as those differ whose options are drawn.

    What no network tells apart, as a constant from the same to all options of a choice, is none.

    Args:
        covariance: of the constant and the features.
        features: groups and names.
        columns: centred features, (networks, features).
    """
    root, inverse = _roots(_second_moment(features, columns))
    values, vectors = np.linalg.eigh(root @ covariance @ root)
    effects = inverse @ vectors * np.sqrt(np.maximum(values, 0.0))
    main = np.argsort(values)[::-1]
    return effects[:, main[:MOST_LOG]], (effects[:, main[MOST_LOG:]] ** 2).sum(axis=1)


def _second_moment(features: Sequence[Feature], columns: Matrix) -> Matrix:
    """Of a constant and centred features, where the options of choices are drawn apart."""
    named = [index for index, (kind, _) in enumerate(features) if kind == "name"]
    choices = np.array([features[index][1].partition("=")[0] for index in named])
    moment = np.cov(columns[:, named], rowvar=False, ddof=1).reshape(len(named), -1)
    moment *= choices[:, None] == choices
    counted = np.zeros((len(named), 1 + len(features)))
    for row, index in enumerate(named):
        counted[row, 1 + index] = 1.0
        group = ("group", option_of(features[index][1]))
        if group in features:
            counted[row, 1 + features.index(group)] = 1.0
    found: Matrix = counted.T @ moment @ counted
    found[0, 0] = 1.0
    return found


def _roots(moment: Matrix) -> tuple[Matrix, Matrix]:
    """Square root of a symmetric matrix, and its pseudo-inverse."""
    values, vectors = np.linalg.eigh(moment)
    kept = values > NEGLIGIBLE * values.max()
    scales = np.sqrt(values[kept])
    vectors = vectors[:, kept]
    return (vectors * scales) @ vectors.T, (vectors / scales) @ vectors.T
