"""Simple baselines of few-shot latency: ridge, a Gaussian process, a line through FLOPs."""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import Ridge

from search_spaces import Architecture

Vector = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.floating]
Intervals = tuple[Vector, Vector, Vector]  # latency, low, high; low and high may be NaN

COVERAGE = 0.9


def ridge(features: Matrix, rows: Sequence[int], truth: Vector) -> Intervals:
    """Ridge on all rows for the point, and split-conformal on halves for the bounds."""
    mean = truth[rows].mean()
    point = Ridge(1.0).fit(features[rows], truth[rows] / mean).predict(features) * mean
    fitted, held = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    half = Ridge(1.0).fit(features[fitted], truth[fitted] / mean).predict(features) * mean
    errors = np.sort(np.abs(half[held] - truth[held]))
    rank = min(int(np.ceil((len(held) + 1) * COVERAGE)), len(held))
    return point, half - errors[rank - 1], half + errors[rank - 1]


def gaussian_process(features: Matrix, rows: Sequence[int], truth: Vector) -> Intervals:
    """scikit-learn's, with the likeliest length scale and noise."""
    kernel = ConstantKernel() * RBF(2.0) + WhiteKernel(0.01, (1e-5, 1.0))
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a likeliest value at the edge of its range
        model.fit(features[rows], truth[rows])
    point, spread = model.predict(features, return_std=True)
    return point, point - 1.645 * spread, point + 1.645 * spread


def flops_linear(
    architectures: Sequence[Architecture], rows: Sequence[int], truth: Vector
) -> Intervals:
    """A line through FLOPs; of these spaces only nb201's FLOPs follow from the options' names."""
    cost = {"nor_conv_3x3": 9.0, "nor_conv_1x1": 1.0}
    flops = np.array([sum(cost.get(str(o), 0.0) for o in a.values()) for a in architectures])
    slope, constant = np.polyfit(flops[rows], truth[rows], 1)
    point = constant + slope * flops
    return point, np.full_like(point, np.nan), np.full_like(point, np.nan)
