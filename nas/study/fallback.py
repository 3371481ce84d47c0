"""Fallback sampler: new architectures where a strategy proposes none.

Rows of codes (`search_spaces.space.integer_encoding`) are drawn, changed and compared many at a
time.
"""

from collections.abc import Collection, Container, Iterable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.problem.problem import Problem
from search_spaces import Architecture
from search_spaces.space.integer_encoding import Codes, IntegerEncoder

DRAWS = (32, 256, 2048)  # few at first: most spaces are large and most budgets roomy
NEAR, ROUNDS = 256, 24
LISTABLE = 100_000


class FallbackSampler:
    """New architectures of a space, inside every hard budget."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._coder = IntegerEncoder(problem.space)
        self._rng = np.random.default_rng((problem.seed, 1))
        self._draws = len(DRAWS)
        self._rest: list[Architecture] | None = None

    def any_other(
        self, seen: Container[Architecture], inside: Collection[Architecture]
    ) -> Architecture | None:
        """Some architecture that was not seen; None where there is none, or none was found.

        `inside` are known to keep the budgets: where few do, others lie near them.
        """
        for count in DRAWS[: self._draws]:
            fresh = self._first_new(self._coder.sample(count, self._rng), seen)
            if fresh is not None:
                return fresh
        self._draws = 1  # most that is drawn is seen, or over a budget
        if self._problem.space.size <= LISTABLE:
            return self._of_the_rest(seen)
        return self._near(seen, inside)

    def _first_new(self, codes: Codes, seen: Container[Architecture]) -> Architecture | None:
        fresh = [a for a in self._coder.architectures(codes) if a not in seen]
        if not fresh:
            return None
        kept = np.flatnonzero(self._problem.keeps(fresh))
        return fresh[int(kept[0])] if kept.size else None

    def _of_the_rest(self, seen: Container[Architecture]) -> Architecture | None:
        """From the list of all, which is made once and only gets shorter."""
        if self._rest is None:
            unseen = [a for a in self._problem.space.enumerate() if a not in seen]
            kept = np.flatnonzero(self._problem.keeps(unseen))
            self._rest = [unseen[index] for index in self._rng.permutation(kept)]
        while self._rest:
            architecture = self._rest.pop()
            if architecture not in seen:
                return architecture
        return None

    def _near(
        self, seen: Container[Architecture], inside: Collection[Architecture]
    ) -> Architecture | None:
        """By steps from what is inside, or from what passes the budgets least."""
        coder, rng = self._coder, self._rng
        if inside:
            known = list(inside)
            chosen = rng.choice(len(known), min(NEAR, len(known)), replace=False)
            codes = coder.codes([known[index] for index in chosen])
        else:
            codes = coder.sample(DRAWS[-1], rng)
        for _ in range(ROUNDS):
            parents = codes[rng.integers(len(codes), size=NEAR)]
            children = coder.mutate(parents, rng.integers(1, 4, size=NEAR), rng)
            fresh = self._first_new(children, seen)
            if fresh is not None:
                return fresh
            if not inside:
                codes = self._least_over(np.concatenate([codes, children]))
        near = (n for architecture in inside for n in self._problem.space.neighbours(architecture))
        return next((n for n in near if n not in seen and self._problem.keeps([n])[0]), None)

    def _least_over(self, codes: Codes) -> Codes:
        """The quarter (`NEAR` at most) that passes the budgets least."""
        over = np.zeros(len(codes))
        for violation in self._problem.violations(self._coder.architectures(codes)).values():
            passed = np.maximum(np.asarray(violation, dtype=float), 0.0)
            over += passed / (passed.max() or 1.0)
        return codes[np.argsort(over, kind="stable")[: min(NEAR, max(1, len(codes) // 4))]]


class Listed:
    """The architectures of a table that holds no others; each is given out once."""

    def __init__(self, problem: Problem, listed: Sequence[Architecture]) -> None:
        self._listed = listed
        self._coder = IntegerEncoder(problem.space)
        self._rng = np.random.default_rng((problem.seed, 1))
        self._row = {architecture: row for row, architecture in enumerate(listed)}
        self._free: npt.NDArray[np.bool_] = problem.keeps(listed)

    def __contains__(self, architecture: Architecture) -> bool:
        """Whether the table holds it."""
        return architecture in self._row

    def take(self, architectures: Iterable[Architecture]) -> None:
        """Give these out no more."""
        for architecture in architectures:
            row = self._row.get(architecture)
            if row is not None:
                self._free[row] = False

    def nearest(self, architecture: Architecture) -> Architecture | None:
        """The nearest that is left: decisions that differ count 1, numbers by how far they are."""
        wanted = self._coder.codes([architecture])[0]
        distance = np.where(self._free, np.float32(0), np.float32(np.inf))
        for code, column in zip(wanted, self._columns, strict=True):
            if column.dtype == np.float32:
                distance += np.abs(column - np.float32(code))
            else:
                distance += column != np.int16(code)
        return self._one_of(np.flatnonzero(distance == distance.min()))

    def any_other(self) -> Architecture | None:
        """Any that is left; None where none is."""
        return self._one_of(np.flatnonzero(self._free))

    def _one_of(self, rows: npt.NDArray[np.intp]) -> Architecture | None:
        rows = rows[self._free[rows]]
        return self._listed[int(self._rng.choice(rows))] if rows.size else None

    @cached_property
    def _columns(self) -> list[npt.NDArray[np.float32] | npt.NDArray[np.int16]]:
        """A column a choice, small enough to be compared a million rows at a time."""
        codes = self._coder.codes(self._listed)
        return [
            column.astype(np.int16 if options else np.float32)
            for column, options in zip(codes.T, self._coder.option_counts, strict=True)
        ]
