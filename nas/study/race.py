"""Asynchronous successive halving (ASHA) with paired tests: which network is looked at again.

Of the networks that were seen at a level, the best one in some (`Fidelity.one_in`) go on to the
next, as soon as there are so many (Li and others 2020, arXiv:1810.05934). All see the same samples,
so that differences are paired: who is behind a better one beyond chance goes no further (F-race,
Birattari and others 2002), and what it would have cost is left for new networks.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.problem.fidelity import Fidelity
from nas.problem.problem import Matrix, Problem, Vector
from search_spaces import Architecture

CHANCE = 0.05  # to be taken for worse by mistake, in one test
FEWEST_TOLD = 4  # networks seen at two levels, from whose changes an error is told

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Look:
    """What an evaluation found of a network at one level.

    Args:
        level: its place among the fidelity's.
        values: of the unknown objectives, in their own units.
        samples: of the first of them, one number a sample; empty where they are not told.
    """

    level: int
    values: tuple[float, ...]
    samples: tuple[float, ...] = ()


class Race:
    """Who is in the race, how they stand, and who is looked at next."""

    def __init__(self, problem: Problem, fidelity: Fidelity) -> None:
        self._problem = problem
        self._fidelity = fidelity
        self._signs = problem.signs[~problem.is_known]
        self._corner = np.r_[problem.corner[~problem.is_known], problem.corner[problem.is_known]]
        self._place: dict[Architecture, int] = {}
        self._architectures: list[Architecture] = []
        self._looks: list[list[Look]] = []
        self._out: set[int] = set()
        self._top = fidelity.top
        self._found = np.full((0, len(fidelity.levels), len(self._signs)), np.nan)
        self._costs = np.zeros((0, int(problem.is_known.sum())))

    def __len__(self) -> int:
        return len(self._looks)

    def add(self, architecture: Architecture, look: Look) -> None:
        """Take in what was found; of each network level by level."""
        place = self._place.setdefault(architecture, len(self._looks))
        if place == len(self._looks):
            self._architectures.append(architecture)
            self._looks.append([])
            if place == len(self._found):  # room for as many again
                more = max(64, place)
                rows = np.full((more, *self._found.shape[1:]), np.nan)
                self._found = np.concatenate([self._found, rows])
                self._costs = np.concatenate([self._costs, np.zeros((more, self._costs.shape[1]))])
            self._costs[place] = self._problem.costs([architecture])[0]
        assert look.level == len(self._looks[place]), "levels come one after the other"
        self._looks[place].append(look)
        self._found[place, look.level] = self._signs * look.values
        self.__dict__.pop("_board", None)

    def put_out(self, architecture: Architecture) -> None:
        """Look at it no more."""
        self._out.add(self._place[architecture])

    def stop_below(self, level: int) -> None:
        """Look at nothing at this level: it fails, whatever is looked at."""
        self._top = min(self._top, level - 1)

    def looks(self, architecture: Architecture) -> list[Look]:
        """What was found of a network so far."""
        place = self._place.get(architecture)
        return [] if place is None else self._looks[place]

    def values(self, architecture: Architecture) -> tuple[float, ...]:
        """The unknown objectives as a full look would find them, as far as one can tell.

        What was found at a lower level, and by how much those change on the way who went on.
        """
        estimate = self._board.estimates[self._place[architecture]]
        return tuple((self._signs * estimate).tolist())

    def next(self, running: Collection[Architecture]) -> Architecture | None:
        """Who goes on now, by its level's standings; None where nobody does yet."""
        board, busy = self._board, self._places(running)
        for level in range(self._top - 1, -1, -1):
            reached = np.flatnonzero(board.levels >= level)
            quota = len(reached) // self._fidelity.one_in(level)
            gone = int((board.levels > level).sum() + (board.levels[busy] == level).sum())
            if gone >= quota:
                continue
            order = self._in_order(board.found[reached, level], board.costs[reached])
            for place in map(int, reached[order[:quota]]):
                if board.levels[place] > level or place in busy or place in self._out:
                    continue
                if not self._is_behind(place, level, reached):
                    return self._architectures[place]
                self._out.add(place)
        return None

    def unseen_finalists(self, running: Collection[Architecture]) -> list[Architecture]:
        """Of the best by all that is known, those that were not seen fully, the best first."""
        board, top = self._board, self._top
        if not top or not len(board.levels):
            return []
        order = self._in_order(board.estimates, board.costs).tolist()
        best = [place for place in order if place not in self._out or board.levels[place] >= top]
        busy = self._places(running)
        return [
            self._architectures[place]
            for place in best[: self._fidelity.finalists]
            if board.levels[place] < top and place not in busy
        ]

    def every(self) -> Iterator[tuple[Architecture, Look]]:
        """All looks."""
        for architecture, looks in zip(self._architectures, self._looks, strict=True):
            yield from ((architecture, look) for look in looks)

    def left(self) -> list[Architecture]:
        """All that were not seen fully."""
        places = np.flatnonzero(self._board.levels < self._fidelity.top)
        return [self._architectures[place] for place in places]

    @property
    def _wants_one(self) -> bool:
        """Whether quality alone counts."""
        return self._problem.goal.kind == "best"

    def _places(self, architectures: Iterable[Architecture]) -> list[int]:
        return [self._place[each] for each in architectures if each in self._place]

    @cached_property
    def _board(self) -> "_Board":
        count = len(self._looks)
        return _Board(self._found[:count], self._costs[:count])

    def _in_order(self, values: Matrix, costs: Matrix) -> Places:
        """The best first: by quality alone, or front by front (nondominated sorting).

        Those in the goal's region come before others.
        """
        import moocore

        if self._wants_one or not costs.shape[1]:
            return np.argsort(values[:, 0], kind="stable")
        points = np.concatenate([values, costs], axis=1)
        outside = (points > self._corner).any(axis=1)
        return np.lexsort((values[:, 0], moocore.pareto_rank(points), outside))

    def _is_behind(self, place: int, level: int, reached: Places) -> bool:
        """Whether one that costs no more is better beyond chance, by their paired differences."""
        board = self._board
        cheaper = reached[(board.costs[reached] <= board.costs[place]).all(axis=1)]
        cheaper = reached if self._wants_one else cheaper
        best = int(cheaper[np.argmin(board.found[cheaper, level, 0])])
        behind = float(board.found[place, level, 0] - board.found[best, level, 0])
        if behind <= 0:
            return False
        error = self._error(place, best, level)
        return error is not None and behind > error

    def _error(self, place: int, other: int, level: int) -> float | None:
        """By how much two may differ by chance; None where that is not known."""
        from scipy.stats import t

        one, two = (self._looks[each][level].samples for each in (place, other))
        if len(one) > 1 and len(one) == len(two):
            apart = np.subtract(one, two)
            error = float(apart.std(ddof=1)) / math.sqrt(len(apart))
            return error * float(t.isf(CHANCE, len(apart) - 1))
        changes = self._board.changes(level)
        if len(changes) < FEWEST_TOLD:
            return None
        beyond = float(t.isf(CHANCE, len(changes) - 1))
        return float(np.std(changes, ddof=1)) * math.sqrt(2) * beyond


@dataclass(frozen=True)
class _Board:
    """All that was found, less is better.

    Args:
        found: (networks, levels, unknown objectives); NaN where a network was not seen.
        costs: (networks, costs).
    """

    found: npt.NDArray[np.float64]
    costs: Matrix

    @cached_property
    def levels(self) -> Places:
        """The highest level at which each network was seen, (n,)."""
        return np.asarray((~np.isnan(self.found[:, :, 0])).sum(axis=1) - 1)

    def changes(self, level: int) -> Vector:
        """By how much the first objective changed from a level to the next, of who went on."""
        if level + 1 >= self.found.shape[1]:
            return np.zeros(0)
        change = self.found[:, level + 1, 0] - self.found[:, level, 0]
        return np.asarray(change[~np.isnan(change)])

    @cached_property
    def estimates(self) -> Matrix:
        """What the highest level that anyone reached would show of each, (n, objectives)."""
        networks, _, objectives = self.found.shape
        if not networks:
            return np.zeros((0, objectives))
        values = self.found[np.arange(networks), self.levels].copy()
        for level in range(int(self.levels.max())):
            both = self.levels > level
            shift = (self.found[both, level + 1] - self.found[both, level]).mean(axis=0)
            values[self.levels <= level] += shift
        return values
