"""Asynchronous successive halving (ASHA) with paired tests: which network is looked at again.

Of the networks that were seen at a level, the best one in some (`Fidelity.one_in`) go on to the
next, as soon as there are so many (Li and others 2020, arXiv:1810.05934). All see the same samples,
so that differences are paired: who is behind a better one beyond chance goes no further (F-race,
Birattari and others 2002), and what it would have cost is left for new networks.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.problem.chance import FEWEST_TOLD, chance_of_samples
from nas.problem.fidelity import Fidelity
from nas.problem.problem import Matrix, Problem, Vector
from nas.study.standings import Board, Places, chance_of, crowding
from search_spaces import Architecture

Foresee = Callable[[Sequence[Architecture], Sequence[float]], Sequence[float] | None]
CHANCE = 0.05  # to be taken for worse by mistake, at one level


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
    """Who is in the race, how they stand, and who is looked at next.

    Args:
        problem: that is searched.
        fidelity: of the looks.
        foresee: the first unknown objective as full looks should find it, by what the first looks
            at networks found, in its own unit; None where the strategy does not tell.
    """

    def __init__(self, problem: Problem, fidelity: Fidelity, foresee: Foresee) -> None:
        self._problem = problem
        self._foresee = foresee
        self._fidelity = fidelity
        self._signs = problem.signs[~problem.is_known]
        self._corner = np.r_[problem.corner[~problem.is_known], problem.corner[problem.is_known]]
        self._place: dict[Architecture, int] = {}
        self._architectures: list[Architecture] = []
        self._looks: list[list[Look]] = []
        self._out: set[int] = set()
        self._top = fidelity.top
        self._found = _Rows((len(fidelity.levels), len(self._signs)))
        self._costs = _Rows((int(problem.is_known.sum()),))
        self._samples: _Rows | None = None  # of first looks, if all tell as many

    def __len__(self) -> int:
        return len(self._looks)

    def add(self, architecture: Architecture, look: Look) -> None:
        """Take in what was found; of each network level by level."""
        place = self._place.setdefault(architecture, len(self._looks))
        if place == len(self._looks):
            self._architectures.append(architecture)
            self._looks.append([])
            self._found.append(np.nan)
            self._costs.append(self._problem.costs([architecture])[0])
            self._add_samples(look.samples)
        assert look.level == len(self._looks[place]), "levels come one after the other"
        self._looks[place].append(look)
        self._found.rows[place, look.level] = self._signs * look.values
        for cached in ("_board", "_foreseen"):
            self.__dict__.pop(cached, None)

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

    def next(
        self, running: Collection[Architecture], *, freely: bool = False
    ) -> Architecture | None:
        """Who goes on now, by its level's standings; None where nobody does yet.

        Args:
            running: who is being looked at.
            freely: whether all go on, the best first: nobody else comes.
        """
        board, busy = self._board, self._places(running)
        for level in range(self._top - 1, -1, -1):
            reached = np.flatnonzero(board.levels >= level)
            quota = len(reached) if freely else len(reached) // self._fidelity.one_in(level)
            gone = int((board.levels > level).sum() + (board.levels[busy] == level).sum())
            if gone >= quota:
                continue
            order = self._in_order(self._hopes(board.found[:, level])[reached], reached)
            for place in map(int, reached[order[:quota]]):
                if board.levels[place] > level or place in busy or place in self._out:
                    continue
                if freely or not self._is_behind(place, level, reached):
                    return self._architectures[place]
                self._out.add(place)
        return None

    def unseen_finalists(self) -> list[Architecture]:
        """Of the best by all that is known, those that were not seen fully, the best first."""
        board, top = self._board, self._top
        if not top or not len(board.levels):
            return []
        hopes = self._hopes(board.estimates)
        order = self._in_order(hopes, np.arange(len(board.levels))).tolist()
        best = [place for place in order if place not in self._out or board.levels[place] >= top]
        return [
            self._architectures[place]
            for place in best[: self._fidelity.finalists]
            if board.levels[place] < top
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

    def _add_samples(self, samples: tuple[float, ...]) -> None:
        """Keep what a first look found of each sample, while all of them tell as many."""
        if len(self._looks) == 1 and len(samples) > 1:
            self._samples = _Rows((len(samples),))
        if self._samples is None:
            return
        if len(samples) == self._samples.rows.shape[1]:
            self._samples.append(samples)
        else:
            self._samples = None

    @cached_property
    def _board(self) -> Board:
        found, counts = self._found.rows, self._fidelity.levels
        chance = chance_of(found, counts)
        if self._samples is not None and len(self._looks) > 1:
            chance[0] = chance_of_samples(self._samples.rows)
        return Board(found, self._costs.rows, counts, chance)

    @cached_property
    def _foreseen(self) -> Vector | None:
        """What the strategy expects of full looks at all, (n,), less is better."""
        first = self._found.rows[:, 0, 0] * self._signs[0]
        found = self._foresee(self._architectures, first.tolist())
        return None if found is None else self._signs[0] * np.array(found)

    def _hopes(self, found: Matrix) -> Matrix:
        """What was found, (n, objectives), with what the strategy expects where it tells."""
        if self._foreseen is None:
            return found
        return np.concatenate([self._foreseen[:, None], found[:, 1:]], axis=1)

    def _in_order(self, values: Matrix, places: Places) -> Places:
        """The best first: by quality alone, or front by front (nondominated sorting).

        Those in the goal's region come before others, and of a front those that stand alone.
        """
        import moocore

        points = np.concatenate([values, self._board.costs[places]], axis=1)
        if self._wants_one or points.shape[1] == 1:
            return np.argsort(values[:, 0], kind="stable")
        # The goal's limits are of full looks.
        as_seen_fully = np.concatenate(
            [self._board.estimates[places], self._board.costs[places]], axis=1
        )
        outside = (as_seen_fully > self._corner).any(axis=1)
        ranks = moocore.pareto_rank(points)
        return np.lexsort((values[:, 0], -crowding(points, ranks), ranks, outside))

    def _is_behind(self, place: int, level: int, reached: Places) -> bool:
        """Whether one that is no worse otherwise is better beyond chance, by paired differences.

        The best of many is often a lucky one: the chance is shared between all that it could have
        been (Bonferroni).
        """
        board, rivals = self._board, reached
        if not self._wants_one:
            others = np.concatenate([board.costs, board.found[:, level, 1:]], axis=1)
            rivals = reached[(others[reached] <= others[place]).all(axis=1)]
        best = int(rivals[np.argmin(board.found[rivals, level, 0])])
        behind = float(board.found[place, level, 0] - board.found[best, level, 0])
        if behind <= 0:
            return False
        error = self._error(place, best, level, CHANCE / (len(rivals) - 1))
        return error is not None and behind > error

    def _error(self, place: int, other: int, level: int, chance: float) -> float | None:
        """By how much two may differ by chance; None where that is not known."""
        from scipy.stats import t

        one, two = (self._looks[each][level].samples for each in (place, other))
        if len(one) > 1 and len(one) == len(two):
            apart = np.subtract(one, two)
            error = float(apart.std(ddof=1)) / math.sqrt(len(apart))
            return error * float(t.isf(chance, len(apart) - 1))
        changes = self._board.changes(level)
        if len(changes) < FEWEST_TOLD:
            return None
        beyond = float(t.isf(chance, len(changes) - 1))
        return float(np.std(changes, ddof=1)) * math.sqrt(2) * beyond


class _Rows:
    """An array of rows that come one by one: what it holds is never copied for each."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._room = np.empty((64, *shape))
        self._count = 0

    @property
    def rows(self) -> npt.NDArray[np.float64]:
        return self._room[: self._count]

    def append(self, row: npt.ArrayLike) -> None:
        if self._count == len(self._room):
            self._room = np.concatenate([self._room, np.empty_like(self._room)])
        self._room[self._count] = row
        self._count += 1
