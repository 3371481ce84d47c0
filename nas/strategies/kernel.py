"""How alike architectures are: a kernel that learns how alike their options are.

k = additive + product + counts, each with a weight of its own:

    additive   mean over choices of exp(-2 w_c d(a_c, b_c))
    product    exp(-sum over choices of w_c d(a_c, b_c))
    counts     a squared exponential in how often each option occurs

d(o, p) is the squared distance of two options in a small space where each option has a place. The
places begin equally far apart (options that are numbers: in a line) and are learned with everything
else, by the marginal likelihood under priors. Choices with the same options share their places, so
that what is learned of a convolution in one slot is known in all.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from search_spaces.space.choice import Choice, NumericChoice, is_ordinal
from search_spaces.space.integer_encoding import INACTIVE, Codes, IntegerEncoder

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

# The sum of w_c d over all choices of two unlike architectures, before anything is known.
REACH = 3.0
NOISE = float(np.log(0.02))  # of the variance of all evaluations, before anything is known


@dataclass(frozen=True)
class _Group:
    """Choices with the same options; each option, and being inactive, has a place."""

    choices: tuple[int, ...]
    columns: tuple[slice, ...]  # of the one-hot features, one a choice
    start: Matrix  # (options, dimensions)


class Features:
    """One-hot rows, numbers and counts of architectures, and where each choice's columns stand."""

    def __init__(self, coder: IntegerEncoder) -> None:
        self._sizes: list[int] = []
        self.numeric: list[int] = []
        alike: dict[tuple[object, bool], list[int]] = {}
        for place, choice in enumerate(coder.choices):
            if isinstance(choice, NumericChoice):
                self.numeric.append(place)
                self._sizes.append(0)
            else:
                idle = choice.name in coder.space.may_not_matter
                self._sizes.append(len(choice.options) + idle)
                alike.setdefault((choice.options, idle), []).append(place)
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)]).astype(int)
        self.groups = [
            _Group(
                tuple(places),
                tuple(slice(self._starts[p], self._starts[p + 1]) for p in places),
                _first_places(coder.choices[places[0]], may_idle=options_and_idle[1]),
            )
            for options_and_idle, places in alike.items()
        ]
        self.choices = len(coder.choices)
        self.width = int(self._starts[-1])

    def one_hot(self, codes: Codes) -> Matrix:
        """(n, columns); the last column of a conditional choice says that it doesn't matter."""
        found = np.zeros((len(codes), self.width))
        rows = np.arange(len(codes))
        for place, size in enumerate(self._sizes):
            if size:
                column = codes[:, place].astype(int)
                column = np.where(codes[:, place] == INACTIVE, size - 1, column)
                found[rows, self._starts[place] + column] = 1.0
        return found

    def numbers(self, codes: Codes) -> Matrix:
        """(n, numeric choices), scaled to [0, 1]."""
        return codes[:, self.numeric]

    def counts(self, one_hot: Matrix) -> Matrix:
        """(n, options of choices that share them): how often each occurs, in comparable scales."""
        shared = [group for group in self.groups if len(group.columns) > 1]
        found = [
            np.sum([one_hot[:, columns] for columns in group.columns], axis=0)
            / np.sqrt(len(group.columns))
            for group in shared
        ]
        return np.concatenate(found, axis=1) if found else np.zeros((len(one_hot), 0))


def _first_places(choice: Choice | NumericChoice, *, may_idle: bool) -> Matrix:
    """Options equally far apart, at a squared distance of 1; numbers in a line of length 1."""
    assert isinstance(choice, Choice)
    count = len(choice.options)
    if is_ordinal(choice.options):
        line = np.argsort(np.argsort(np.array(choice.options, dtype=float))) / (count - 1)
        places = np.stack([line, np.zeros(count)], axis=1)
        idle = np.array([[0.5, 0.9]])
    else:
        places = np.eye(count + 1)[:count] / np.sqrt(2)
        idle = np.eye(count + 1)[count:] / np.sqrt(2)
    return np.concatenate([places, idle]) if may_idle else places


@dataclass(frozen=True)
class Rows:
    """Architectures as a kernel sees them."""

    one_hot: Matrix
    numbers: Matrix
    counts: Matrix

    @classmethod
    def joined(cls, parts: "Sequence[Rows]") -> "Rows":
        """The rows of several, one after the other."""
        return cls(
            np.concatenate([part.one_hot for part in parts]),
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.one_hot)

    @cached_property
    def count_distances(self) -> Matrix:
        """Half the squared distances of their counts, (n, n): asked for at every step of a fit."""
        return _half_squares(self.counts, self.counts)

    def __getitem__(self, which: npt.NDArray[np.int64]) -> "Rows":
        return Rows(self.one_hot[which], self.numbers[which], self.counts[which])


class Kernel:
    """The covariance of qualities, and its gradient; parameters stand in one flat vector.

    In order: log w of each choice; logs of the three weights; log length of the counts; the places
    of options, a group after the other.
    """

    noise = NOISE

    def __init__(self, coder: IntegerEncoder) -> None:
        self.features = Features(coder)
        count = self.features.choices
        self._weights = slice(0, count)
        self._amplitudes = slice(count, count + 3)
        self._length = count + 3
        self._mask = np.zeros((self.features.width, self.features.width))
        for group in self.features.groups:
            for columns in group.columns:
                self._mask[columns, columns] = 1.0
        places = [group.start.ravel() for group in self.features.groups]
        self.mean = np.concatenate(
            [
                np.full(count, np.log(REACH / count)),
                np.log([0.5, 0.5, 0.5]),
                [np.log(1.2)],
                *places,
            ]
        )
        self.deviation = np.concatenate(
            [np.full(count, 0.7), np.ones(3), [0.5], *(np.full(p.size, 0.35) for p in places)]
        )

    def rows(self, codes: Codes) -> Rows:
        """What of architectures the kernel looks at."""
        one_hot = self.features.one_hot(codes)
        return Rows(one_hot, self.features.numbers(codes), self.features.counts(one_hot))

    def variance(self, parameters: Vector, rows: Rows) -> Vector:
        """Of architectures, before anything was seen, (n,): the same for all."""
        return np.full(len(rows), np.exp(parameters[self._amplitudes]).sum())

    def __call__(self, parameters: Vector, first: Rows, second: Rows) -> Matrix:
        """(n, m) covariances of n and m architectures."""
        additive, product, counts, _ = self._parts(parameters, first, second)
        weights = np.exp(parameters[self._amplitudes])
        found: Matrix = weights[0] * additive + weights[1] * product + weights[2] * counts
        return found

    def with_gradient(
        self, parameters: Vector, rows: Rows
    ) -> tuple[Matrix, Callable[[Matrix], Vector]]:
        """The covariance (n, n) of architectures, and what turns a gradient of it into ours."""
        additive, product, counts, distance = self._parts(parameters, rows, rows)
        amplitudes = np.exp(parameters[self._amplitudes])
        covariance = amplitudes[0] * additive + amplitudes[1] * product + amplitudes[2] * counts

        def back(slope: Matrix) -> Vector:
            found = np.zeros_like(parameters)
            found[self._amplitudes] = amplitudes * [
                np.vdot(slope, part) for part in (additive, product, counts)
            ]
            found[self._length] = 2 * amplitudes[2] * np.vdot(slope, counts * distance)
            by_product = -amplitudes[1] * slope * product
            self._back_to_choices(parameters, rows, by_product, amplitudes[0] * slope, found)
            return found

        return covariance, back

    def _parts(
        self, parameters: Vector, first: Rows, second: Rows
    ) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """The three covariances of weight 1, and half the squared distances of counts."""
        apart = self._apart(parameters)
        far = first.one_hot @ apart @ second.one_hot.T
        alike = first.one_hot @ (self._mask * np.exp(-2 * apart)) @ second.one_hot.T
        for number, weight in self._numeric_weights(parameters):
            between = weight * np.square(first.numbers[:, number, None] - second.numbers[:, number])
            far += between
            alike += np.exp(-2 * between)
        square = np.exp(2 * parameters[self._length])
        if first is second:
            distance = first.count_distances / square
        else:
            distance = _half_squares(first.counts, second.counts) / square
        return alike / self.features.choices, np.exp(-far), np.exp(-distance), distance

    def _apart(self, parameters: Vector) -> Matrix:
        """w_c d between the options of every choice: blocks along the diagonal, (width, width)."""
        found = np.zeros_like(self._mask)
        for group, places in zip(self.features.groups, self._places(parameters), strict=True):
            between = 2 * _half_squares(places, places)
            for choice, columns in zip(group.choices, group.columns, strict=True):
                found[columns, columns] = np.exp(parameters[choice]) * between
        return found

    def _numeric_weights(self, parameters: Vector) -> Iterator[tuple[int, float]]:
        for number, choice in enumerate(self.features.numeric):
            yield number, 4 * float(np.exp(parameters[choice]))

    def _places(self, parameters: Vector) -> Iterator[Matrix]:
        at = self._length + 1
        for group in self.features.groups:
            yield parameters[at : at + group.start.size].reshape(group.start.shape)
            at += group.start.size

    def _back_to_choices(
        self, parameters: Vector, rows: Rows, by_product: Matrix, by_additive: Matrix, found: Vector
    ) -> None:
        """Gradients of the weights and of the places, added to `found`."""
        count, apart = self.features.choices, self._apart(parameters)
        by_apart = rows.one_hot.T @ by_product @ rows.one_hot
        by_apart -= 2 / count * np.exp(-2 * apart) * (rows.one_hot.T @ by_additive @ rows.one_hot)
        at = self._length + 1
        for group, places in zip(self.features.groups, self._places(parameters), strict=True):
            slope = np.zeros((len(places), len(places)))
            for choice, columns in zip(group.choices, group.columns, strict=True):
                found[choice] += (by_apart[columns, columns] * apart[columns, columns]).sum()
                slope += np.exp(parameters[choice]) * by_apart[columns, columns]
            slope += slope.T  # d(o, p) = |e_o - e_p|^2
            by_places = 2 * (slope.sum(axis=1)[:, None] * places - slope @ places)
            found[at : at + places.size] += by_places.ravel()
            at += places.size
        for number, weight in self._numeric_weights(parameters):
            values = rows.numbers[:, number]
            between = weight * np.square(values[:, None] - values)
            by_weight = by_product - 2 / count * by_additive * np.exp(-2 * between)
            found[self.features.numeric[number]] += (by_weight * between).sum()


def _half_squares(first: Matrix, second: Matrix) -> Matrix:
    """Half of the squared distances of rows."""
    squares = np.square(first).sum(1)[:, None] + np.square(second).sum(1) - 2 * first @ second.T
    found: Matrix = np.maximum(squares, 0) / 2
    return found
