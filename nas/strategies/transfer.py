"""Transfer from earlier studies by co-kriging: how far they predict this one, its evidence says.

    quality = sum over studies of rho_s (quality_s + constant) + difference

Each quality_s is a Gaussian process given what that study evaluated; the difference has the kernel
of a search that begins from nothing. With rho_s ~ N(0, w_s), all of it has the covariance

    share * kernel(a, b) + sum over studies of w_s (E[quality_s(a) quality_s(b)] + 1)

whose share and weights are fitted with everything else, by the marginal likelihood of this study's
evaluations: a study that does not predict them gets no weight. (Autoregressive co-kriging, Kennedy
and O'Hagan 2000; their rho is integrated out here.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, solve_triangular

from nas.strategies.kernel import Kernel, Matrix, Rows, Vector
from nas.strategies.surrogate import JITTER, first_parameters, fitted, some_of, standards
from search_spaces import Architecture
from search_spaces.space.integer_encoding import Codes, IntegerEncoder

Keys = npt.NDArray[np.uint64]
# Logarithms of the share of the difference, and of studies' weights, before anything is known.
SHARE, WEIGHT, SPREAD = -1.0, 0.0, 2.0
FIT_POINTS, MODEL_POINTS, FIT_STEPS = 200, 500, 50  # of an earlier study, which is fitted once


class Source:
    """The Gaussian process of an earlier study, given what it evaluated; in standard units.

    What a network has of its own, the noise of that study's model, is as it was found there: a
    network that was better than its neighbours say may be so here.

    Args:
        kernel: of its model.
        parameters: of the kernel, and last the noise, as `surrogate.fitted` finds them.
        rows: that it evaluated; `keys` of them, all different.
        values: (n,), less is better.
    """

    def __init__(
        self, kernel: Kernel, parameters: Vector, rows: Rows, keys: Keys, values: Vector
    ) -> None:
        self._kernel = kernel
        self._parameters = parameters[:-1]
        self._noise = float(np.exp(parameters[-1]))
        self._rows, self._keys = rows, keys
        covariance = self._prior(rows, keys, rows, keys)
        covariance[np.diag_indices(len(rows))] += JITTER
        self._factor = np.linalg.cholesky(covariance)
        middle, scale = standards(values)
        self._answer = cho_solve((self._factor, True), (values - middle) / scale)

    def foreseen(self, rows: Rows, keys: Keys) -> tuple[Vector, Matrix]:
        """Means of architectures, (n,), and what their covariances follow from."""
        cross = self._prior(self._rows, self._keys, rows, keys)
        means: Vector = cross.T @ self._answer
        return means, solve_triangular(self._factor, cross, lower=True)

    def moments(self, first: "TransferRows", second: "TransferRows", place: int) -> Matrix:
        """Means of products of qualities, (n, m), with what was evaluated known."""
        found = self._prior(first, first.keys, second, second.keys)
        found -= first.solved[place].T @ second.solved[place]
        found += np.outer(first.means[place], second.means[place])
        return found

    def squares(self, rows: "TransferRows", place: int) -> Vector:
        """The diagonal of `moments`, (n,)."""
        variance = self._kernel.variance(self._parameters, rows) + self._noise
        variance -= np.square(rows.solved[place]).sum(axis=0)
        found: Vector = np.maximum(variance, 0.0) + np.square(rows.means[place])
        return found

    def _prior(self, first: Rows, first_keys: Keys, second: Rows, second_keys: Keys) -> Matrix:
        same = first_keys[:, None] == second_keys
        found: Matrix = self._kernel(self._parameters, first, second) + self._noise * same
        return found


def source_of(
    kernel: Kernel, coder: IntegerEncoder, architectures: Sequence[Architecture], values: Vector
) -> Source:
    """The process of a study that is over; of very many evaluations, of the best and of some."""
    rng = np.random.default_rng(0)
    some = some_of(values, MODEL_POINTS, rng)
    codes, values = coder.codes(architectures)[some], values[some]
    rows, few = kernel.rows(codes), some_of(values, FIT_POINTS, rng)
    begun = first_parameters(kernel)
    parameters = fitted(kernel, begun, rows[few], values[few], FIT_STEPS)
    return Source(kernel, parameters, rows, coder.keys(codes), values)


@dataclass(frozen=True)
class TransferRows(Rows):
    """Architectures as a kernel and as earlier studies see them.

    Args:
        keys: equal where architectures are, (n,).
        means: what each study expects, (studies, n).
        solved: of each study, (evaluated there, n).
        sources: the studies.
    """

    keys: Keys
    means: Matrix
    solved: tuple[Matrix, ...]
    sources: tuple[Source, ...]

    @classmethod
    def joined(cls, parts: "Sequence[Rows]") -> "TransferRows":
        """The rows of several, one after the other."""
        rows, known = Rows.joined(parts), [_known(part) for part in parts]
        every = zip(*(part.solved for part in known), strict=True)
        return cls(
            rows.one_hot,
            rows.numbers,
            rows.counts,
            np.concatenate([part.keys for part in known]),
            np.concatenate([part.means for part in known], axis=1),
            tuple(np.concatenate(each, axis=1) for each in every),
            known[0].sources,
        )

    @cached_property
    def own_moments(self) -> list[Matrix]:
        """The moments of each study among these, (n, n): asked for at every step of a fit."""
        return self.moments(self)

    def moments(self, other: "TransferRows") -> list[Matrix]:
        """The moments of each study, and of its constant, (n, m)."""
        return [source.moments(self, other, at) + 1 for at, source in enumerate(self.sources)]

    @property
    def squares(self) -> list[Vector]:
        """The diagonals of `own_moments`."""
        return [source.squares(self, place) + 1 for place, source in enumerate(self.sources)]

    def __getitem__(self, which: npt.NDArray[np.int64]) -> "TransferRows":
        rows = super().__getitem__(which)
        return TransferRows(
            rows.one_hot,
            rows.numbers,
            rows.counts,
            self.keys[which],
            self.means[:, which],
            tuple(each[:, which] for each in self.solved),
            self.sources,
        )


class TransferKernel(Kernel):
    """The covariance of qualities of which earlier studies may know something.

    Parameters, beside the kernel's own: the log share of the difference; log weights of studies.
    """

    def __init__(self, coder: IntegerEncoder, sources: Sequence[Source]) -> None:
        super().__init__(coder)
        self._coder = coder
        self._sources = tuple(sources)
        self._own = slice(0, len(self.mean))
        self._share = len(self.mean)
        count = len(sources)
        self.mean = np.concatenate([self.mean, [SHARE], np.full(count, WEIGHT)])
        self.deviation = np.concatenate([self.deviation, np.full(1 + count, SPREAD)])

    def rows(self, codes: Codes) -> TransferRows:
        """What of architectures the kernel looks at, and earlier studies say."""
        rows, keys = super().rows(codes), self._coder.keys(codes)
        means, solved = zip(*(each.foreseen(rows, keys) for each in self._sources), strict=True)
        return TransferRows(
            rows.one_hot, rows.numbers, rows.counts, keys, np.array(means), solved, self._sources
        )

    def variance(self, parameters: Vector, rows: Rows) -> Vector:
        """Of architectures, before anything was seen here, (n,)."""
        share, weights = self._scales(parameters)
        found = share * super().variance(parameters[self._own], rows)
        for weight, square in zip(weights, _known(rows).squares, strict=True):
            found += weight * square
        return found

    def __call__(self, parameters: Vector, first: Rows, second: Rows) -> Matrix:
        """(n, m) covariances of n and m architectures."""
        share, weights = self._scales(parameters)
        found = share * super().__call__(parameters[self._own], first, second)
        known = _known(first)
        moments = known.own_moments if first is second else known.moments(_known(second))
        for weight, moment in zip(weights, moments, strict=True):
            found += weight * moment
        return found

    def with_gradient(
        self, parameters: Vector, rows: Rows
    ) -> tuple[Matrix, Callable[[Matrix], Vector]]:
        """The covariance (n, n) of architectures, and what turns a gradient of it into ours."""
        share, weights = self._scales(parameters)
        own, own_back = super().with_gradient(parameters[self._own], rows)
        moments = _known(rows).own_moments
        covariance = share * own
        for weight, moment in zip(weights, moments, strict=True):
            covariance += weight * moment

        def back(slope: Matrix) -> Vector:
            by_weights = [w * np.vdot(slope, m) for w, m in zip(weights, moments, strict=True)]
            by_share = share * np.vdot(slope, own)
            return np.concatenate([own_back(share * slope), [by_share], by_weights])

        return covariance, back

    def explained(self, parameters: Vector, rows: Rows) -> Vector:
        """The share of the expected variance among architectures that is each study's."""
        share, weights = self._scales(parameters)
        own = super().__call__(parameters[self._own], rows, rows)
        parts = [
            share * own,
            *(w * m for w, m in zip(weights, _known(rows).own_moments, strict=True)),
        ]
        variances = np.array([part.diagonal().mean() - part.mean() for part in parts])
        found: Vector = variances[1:] / variances.sum()
        return found

    def _scales(self, parameters: Vector) -> tuple[float, Vector]:
        scales = np.exp(parameters[self._share : self._share + 1 + len(self._sources)])
        return float(scales[0]), scales[1:]


def rank_correlation(first: Vector, second: Vector) -> float:
    """Kendall's tau; 0 where there is no ranking."""
    from scipy.stats import kendalltau

    tau = float(kendalltau(first, second).statistic)
    return tau if np.isfinite(tau) else 0.0


def _known(rows: Rows) -> TransferRows:
    assert isinstance(rows, TransferRows), "made by a TransferKernel"
    return rows
