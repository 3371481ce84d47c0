"""Multi-fidelity Gaussian process: what full looks would find, told by all looks at all networks.

A strategy's trials are told what the first look at a network finds. A sampler that has a method

    observe(architecture, level, values)

is told of every look after it, too: the place of the fidelity among `Problem.fidelity.levels`, and
the unknown objectives, in their own units. What it makes of them it says by

    as_seen_fully(architectures, first)

the first of the unknown objectives as full looks at these networks should find it, given what their
first looks found, in its own unit; None while it cannot tell. Who is looked at again is chosen by
that.

Looks count the first samples of the same ones, so a network's value at n samples is its quality and
what these n favour it by. Which networks samples favour is a matter of what they are made of, as
their quality is: a search that believes first looks ends at the network that the first samples
favour. With n0 samples in a first look, n and m in two others, their covariance is

    quality(a, b) + (n0 / max(n, m)) favour(a, b)

as of a mean over n and one over m, the first of which are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.problem.chance import FEWEST_TOLD
from nas.problem.fidelity import Fidelity
from nas.problem.problem import Vector
from nas.strategies.kernel import Kernel, Matrix, Rows
from nas.strategies.surrogate import Surrogate, first_parameters, fitted, some_of
from search_spaces.space.integer_encoding import Codes, IntegerEncoder

# Logarithms of shares of the variance of all looks, before anything is known: what samples favour,
# of all networks alike, of those alike, and of each by itself; and what a network has of its own.
SHARED, ALIKE, ALONE, OWN = -3.0, -3.0, -5.0, np.log(0.02)
SPREAD = 2.0
FIT_POINTS, MODEL_POINTS, FIT_STEPS = 200, 500, 8  # networks, and steps, of each fit
GROWN = 1.05  # times as many looks, then the parameters are fitted again
NOISE = -10.0  # looks at the same samples find the same again

Networks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LookRows(Rows):
    """Looks as the kernel sees them.

    Args:
        networks: equal where networks are, (n,).
        counts_seen: samples that each counts, (n,).
    """

    networks: Networks
    counts_seen: Vector

    def __getitem__(self, which: npt.NDArray[np.int64]) -> "LookRows":
        return _looks(super().__getitem__(which), self.networks[which], self.counts_seen[which])


class LooksKernel(Kernel):
    """The covariance of looks.

    Parameters, beside the kernel's own: logs of SHARED, ALIKE, ALONE and OWN.
    """

    noise = NOISE

    def __init__(self, coder: IntegerEncoder, first: int) -> None:
        super().__init__(coder)
        self._first = float(first)
        self._architectures = slice(0, len(self.mean))
        self.mean = np.concatenate([self.mean, [SHARED, ALIKE, ALONE, OWN]])
        self.deviation = np.concatenate([self.deviation, np.full(4, SPREAD)])

    def __call__(self, parameters: Vector, first: Rows, second: Rows) -> Matrix:
        """(n, m) covariances of n and m looks."""
        alike = super().__call__(parameters[self._architectures], first, second)
        return self._covariance(parameters, alike, *self._same(first, second))

    def with_gradient(
        self, parameters: Vector, rows: Rows
    ) -> tuple[Matrix, Callable[[Matrix], Vector]]:
        """The covariance (n, n) of looks, and what turns a gradient of it into ours."""
        alike, alike_back = super().with_gradient(parameters[self._architectures], rows)
        samples, network = self._same(rows, rows)
        of_all, of_alike, of_each, own = np.exp(parameters[-4:])

        def back(slope: Matrix) -> Vector:
            by_scales = [
                of_all * np.vdot(slope, samples),
                of_alike * np.vdot(slope, samples * alike),
                of_each * np.vdot(slope, samples * network),
                own * np.vdot(slope, network),
            ]
            return np.append(alike_back(slope * (1 + of_alike * samples)), by_scales)

        return self._covariance(parameters, alike, samples, network), back

    def _covariance(
        self, parameters: Vector, alike: Matrix, samples: Matrix, network: Matrix
    ) -> Matrix:
        of_all, of_alike, of_each, own = np.exp(parameters[-4:])
        found: Matrix = alike * (1 + of_alike * samples) + of_all * samples
        found += network * (own + of_each * samples)
        return found

    def _same(self, first: Rows, second: Rows) -> tuple[Matrix, Matrix]:
        """Of looks, (n, m): the share of samples that is the same, and whether the network is."""
        assert isinstance(first, LookRows)
        assert isinstance(second, LookRows)
        most = np.maximum(first.counts_seen[:, None], second.counts_seen)
        return self._first / most, (first.networks[:, None] == second.networks).astype(float)


class CloserLooks:
    """All that was found of the quality of networks, less is better.

    Args:
        fidelity: whose levels looks are of.
        on_any: whether what networks are worth on any samples is foreseen, not on those that a full
            look counts: where the best is looked for, not what a limit of full looks holds of.
        coder: of the architectures.
    """

    def __init__(self, fidelity: Fidelity, coder: IntegerEncoder, *, on_any: bool) -> None:
        self._levels = np.array(fidelity.levels, dtype=float)
        self._counted = np.inf if on_any else self._levels[-1]
        self._found: dict[int, dict[int, float]] = {}  # by network and level, after the first
        self._kernel = LooksKernel(coder, fidelity.levels[0])
        self._parameters = first_parameters(self._kernel)
        self._fitted_to = 0  # so many looks
        self._last: tuple[tuple[int, ...], Vector] | None = None  # by networks and looks

    def add(self, key: int, level: int, value: float) -> None:
        """Take in a look at the network of a key."""
        self._found.setdefault(key, {})[level] = value

    @property
    def is_told(self) -> bool:
        """Whether enough networks were seen again to say what full looks should find."""
        return len(self._found) >= FEWEST_TOLD

    def as_seen_fully(
        self, codes: Codes, keys: Sequence[int], first: Vector, rng: np.random.Generator
    ) -> Vector:
        """What full looks at networks should find, (n,), but for whom their samples favour.

        Args:
            codes: (n, choices) of the networks.
            keys: of them, as they were told with looks.
            first: (n,), what first looks found.
            rng: draws those whose looks are modelled, where there are very many.
        """
        looks = len(first) + sum(map(len, self._found.values()))
        asked = (looks, *keys)  # a race and a study have networks in orders of their own
        if self._last is not None and self._last[0] == asked:
            return self._last[1]
        if looks > GROWN * self._fitted_to:
            rows, values = self._rows(codes, keys, first, some_of(first, FIT_POINTS, rng))
            self._parameters = fitted(self._kernel, self._parameters, rows, values, FIT_STEPS)
            self._fitted_to = looks
        rows, values = self._rows(codes, keys, first, some_of(first, MODEL_POINTS, rng))
        model = Surrogate(self._kernel, self._parameters, rows, values)
        every = np.arange(len(codes))
        fully = np.full(len(codes), self._counted)
        found = model.mean_at(_looks(self._kernel.rows(codes), every, fully))
        self._last = asked, found
        return found

    def _rows(
        self, codes: Codes, keys: Sequence[int], first: Vector, some: Networks
    ) -> tuple[LookRows, Vector]:
        """All looks at some networks, and what they found."""
        seen = [(place, 0, float(first[place])) for place in some.tolist()]
        for place in some.tolist():
            later = self._found.get(keys[place], {})
            seen += [(place, level, value) for level, value in later.items()]
        places, levels, values = (np.array(each) for each in zip(*seen, strict=True))
        rows = self._kernel.rows(codes[places])
        return _looks(rows, places, self._levels[levels]), values


def _looks(rows: Rows, networks: Networks, counts_seen: Vector) -> LookRows:
    return LookRows(rows.one_hot, rows.numbers, rows.counts, networks, counts_seen)
