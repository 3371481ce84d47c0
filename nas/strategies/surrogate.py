"""A Gaussian process of the quality of architectures, fitted by evidence."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, solve_triangular
from scipy.linalg.lapack import dpotri

from nas.strategies.kernel import Kernel, Matrix, Rows, Vector
from search_spaces.space.integer_encoding import Codes

JITTER = 1e-6
HOPELESS = 1e10  # where a covariance has no factor ...
FAR = 20.0  # ... or a step went so many deviations beyond a prior, where exponentials overflow


class Surrogate:
    """Quality as a Gaussian process sees it, standardised inside; mean and deviation come back.

    Args:
        kernel: of architectures.
        parameters: its own, and the logarithm of the noise.
        rows: of what was evaluated.
        values: (n,), of it.
    """

    def __init__(
        self,
        kernel: Kernel,
        parameters: Vector,
        rows: Rows,
        values: Vector,
    ) -> None:
        self.kernel = kernel
        self.parameters = parameters
        self.rows = rows
        self._middle, self._scale = standards(values)
        self._noise = float(np.exp(parameters[-1])) + JITTER
        covariance = kernel(parameters[:-1], rows, rows)
        covariance[np.diag_indices(len(rows))] += self._noise
        self._factor = np.linalg.cholesky(covariance)
        self._answer = cho_solve((self._factor, True), (values - self._middle) / self._scale)

    def predict(self, codes: Codes) -> "Prediction":
        """What the qualities of n architectures may be."""
        rows = self.kernel.rows(codes)
        cross = self.kernel(self.parameters[:-1], self.rows, rows)
        solved = solve_triangular(self._factor, cross, lower=True)
        left = self.kernel.variance(self.parameters[:-1], rows) - np.square(solved).sum(axis=0)
        mean = self._middle + self._scale * (cross.T @ self._answer)
        return Prediction(self, rows, mean, np.maximum(left, 1e-10), solved)

    def mean_at(self, rows: Rows) -> Vector:
        """What is expected at n rows, (n,)."""
        cross = self.kernel(self.parameters[:-1], self.rows, rows)
        found: Vector = self._middle + self._scale * (cross.T @ self._answer)
        return found

    @property
    def scale(self) -> float:
        """The unit of the deviations inside."""
        return self._scale

    @property
    def noise(self) -> float:
        """The variance of an evaluation, in squares of the unit inside."""
        return self._noise


class Prediction:
    """Means and deviations at fixed architectures, which shrink as some are thought evaluated."""

    def __init__(
        self, surrogate: Surrogate, rows: Rows, mean: Vector, variance: Vector, solved: Matrix
    ) -> None:
        self._surrogate = surrogate
        self.rows = rows
        self.variance = variance
        self.solved = solved
        self._conditioned: list[Vector] = []
        self.mean = mean

    def followed_by(self, others: "Sequence[Prediction]") -> "Prediction":
        """This one and others by the same model as one, before anything is believed."""
        parts = [self, *others]
        return Prediction(
            self._surrogate,
            type(self.rows).joined([part.rows for part in parts]),
            np.concatenate([part.mean for part in parts]),
            np.concatenate([part.variance for part in parts]),
            np.concatenate([part.solved for part in parts], axis=1),
        )

    def __getitem__(self, which: npt.NDArray[np.int64]) -> "Prediction":
        """Of some of the architectures, before anything is believed."""
        return Prediction(
            self._surrogate,
            self.rows[which],
            self.mean[which],
            self.variance[which],
            self.solved[:, which],
        )

    @property
    def deviation(self) -> Vector:
        """Standard deviations (n,) of what evaluations would find, in the unit of the quality.

        What a network has of its own, which no other network tells, counts: a network that beats
        its neighbours beats them for good.
        """
        found: Vector = np.sqrt(self.variance + self._surrogate.noise) * self._surrogate.scale
        return found

    def condition_on_mean(self, index: int) -> None:
        """Take the mean of one architecture for its evaluation: means stay, deviations shrink."""
        at = np.array([index])
        kernel, parameters = self._surrogate.kernel, self._surrogate.parameters[:-1]
        covariance = kernel(parameters, self.rows, self.rows[at])[:, 0]
        covariance -= self.solved.T @ self.solved[:, index]
        for step in self._conditioned:
            covariance -= step * step[index]
        step = covariance / np.sqrt(self.variance[index] + self._surrogate.noise)
        self._conditioned.append(step)
        self.variance = np.maximum(self.variance - np.square(step), 1e-10)


def first_parameters(kernel: Kernel) -> Vector:
    """Before anything was fitted: the middle of the priors, and little noise."""
    return np.append(kernel.mean, kernel.noise)


def fitted(kernel: Kernel, start: Vector, rows: Rows, values: Vector, steps: int) -> Vector:
    """Parameters of more evidence (the marginal likelihood times the priors), by some steps."""
    from scipy.optimize import minimize

    mean = first_parameters(kernel)
    deviation = np.append(kernel.deviation, 1.0)
    middle, scale = standards(values)
    standard = (values - middle) / scale
    count = len(values)

    def loss(parameters: Vector) -> tuple[float, Vector]:
        off = (parameters - mean) / deviation
        if np.abs(off).max() > FAR:
            return HOPELESS, np.zeros_like(parameters)
        covariance, back = kernel.with_gradient(parameters[:-1], rows)
        noise = np.exp(parameters[-1])
        covariance[np.diag_indices(count)] += noise + JITTER
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return HOPELESS, np.zeros_like(parameters)
        half, _ = dpotri(factor, lower=1)  # of the inverse, the lower half; above it stay zeros
        inverse = half + half.T
        inverse[np.diag_indices(count)] /= 2
        answer = inverse @ standard
        value = standard @ answer / 2 + np.log(np.diag(factor)).sum() + off @ off / 2
        slope = (inverse - np.outer(answer, answer)) / 2
        found = np.append(back(slope), noise * np.trace(slope))
        return float(value), found + off / deviation

    result = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxfun": 2 * steps}
    )
    best: Vector = result.x if np.isfinite(result.fun) and result.fun < HOPELESS else start
    return best


def some_of(values: Vector, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """All, or the better half of `count` and as many at random of the others."""
    order = np.argsort(values, kind="stable")
    if len(order) > count:
        rest = rng.permutation(order[count // 2 :])[: count - count // 2]
        order = np.concatenate([order[: count // 2], rest])
    return np.sort(order)


def standards(values: Vector) -> tuple[float, float]:
    """The middle and the unit of qualities inside a model."""
    return float(values.mean()), max(float(values.std()), 1e-12)
