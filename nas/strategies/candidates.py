"""Where the next architectures are looked for: an evolution under the model, or a whole list."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.problem.problem import Matrix, Problem, Vector
from search_spaces.space.integer_encoding import Codes, IntegerEncoder

LISTED = 1500  # architectures that are all looked at, where there are no more
NEAREST = 20  # listed rows around each one that nothing beats ...
COMPARED = 20_000  # ... among so many
TRIES = 20  # times as many draws as are wanted, where few keep the budgets
CHANGES, SHARES = [1, 2, 3], [0.5, 0.3, 0.2]  # decisions made anew, and how often
CROSSED = 0.3


@dataclass(frozen=True)
class Candidates:
    """New architectures inside the budgets, and what they cost."""

    codes: Codes
    costs: Matrix

    def __len__(self) -> int:
        return len(self.codes)


class Seen:
    """Rows that are never proposed again."""

    def __init__(self, coder: IntegerEncoder, *parts: Codes) -> None:
        self._coder = coder
        self._keys = {key for part in parts for key in self._keys_of(part)}

    def fresh(self, codes: Codes) -> Codes:
        """The rows that were not seen before; from now on they were."""
        found = []
        for row, key in zip(codes, self._keys_of(codes), strict=True):
            if key not in self._keys:
                self._keys.add(key)
                found.append(row)
        return np.array(found).reshape(-1, codes.shape[1])

    def _keys_of(self, codes: Codes) -> list[bytes]:
        return [row.tobytes() for row in self._coder.rounded(codes)]


class Searcher:
    """Finds candidates of a problem."""

    def __init__(self, problem: Problem, coder: IntegerEncoder, rng: np.random.Generator) -> None:
        self._problem = problem
        self._coder = coder
        self._rng = rng

    @cached_property
    def largest_costs(self) -> Vector:
        """What the dearest of many random architectures inside the budgets cost, (costs,)."""
        drawn = self.inside(Seen(self._coder), self.random(1000))
        costs = drawn.costs if len(drawn) else np.zeros((1, int(self._problem.is_known.sum())))
        largest: Vector = costs.max(axis=0)
        return largest

    def random(self, count: int) -> Codes:
        """Random rows; of a listed space, rows of the list."""
        if self._list is None:
            return self._coder.sample(count, self._rng)
        rows: Codes = self._list[self._rng.integers(len(self._list), size=count)]
        return rows

    def inside(self, seen: Seen, codes: Codes) -> Candidates:
        """Those rows that are new, once each, and keep the budgets."""
        fresh = seen.fresh(codes)
        architectures = self._coder.architectures(fresh)
        if not architectures:
            return Candidates(fresh, np.zeros((0, int(self._problem.is_known.sum()))))
        keeps = self._problem.keeps(architectures)
        kept = [each for each, inside in zip(architectures, keeps, strict=True) if inside]
        return Candidates(fresh[keeps], self._problem.costs(kept))

    def balanced(self, count: int, seen: Seen) -> Codes:
        """First points: every option of every choice as often, as far as the budgets allow."""
        if self._list is not None:
            order = self._rng.permutation(len(self._list))[: TRIES * count]
            return self.inside(seen, self._list[order]).codes[:count]
        found = self.inside(seen, self._coder.balanced_sample(count, self._rng)).codes
        for _ in range(TRIES):
            if len(found) >= count:
                break
            found = np.concatenate([found, self.inside(seen, self.random(count)).codes])
        return found[:count]

    def evolved(
        self,
        front: Codes,
        seen: Seen,
        growth: Callable[[Candidates], Vector],
        count: int,
        generations: int,
    ) -> Candidates:
        """Candidates that an evolution by `growth` passes through, from the `front` on."""
        if self._list is not None:
            return self._of_list(front, seen)
        parts: list[Candidates] = []
        scores: list[Vector] = []
        parents, each = front, max(1, count // generations)
        for generation in range(generations):
            random = self.random(each // (10 if generation else 4))
            found = self.inside(seen, np.concatenate([self._children(parents, each), random]))
            if not len(found):
                continue
            parts.append(found)
            scores.append(growth(found))
            best = np.argsort(-np.concatenate(scores), kind="stable")[: each // 2]
            parents = np.concatenate([np.concatenate([p.codes for p in parts])[best], front])
        if not parts:
            return Candidates(front[:0], np.zeros((0, int(self._problem.is_known.sum()))))
        return Candidates(
            np.concatenate([p.codes for p in parts]), np.concatenate([p.costs for p in parts])
        )

    def _children(self, parents: Codes, count: int) -> Codes:
        rng = self._rng
        chosen = parents[rng.integers(len(parents), size=count)]
        children = self._coder.mutate(chosen, rng.choice(CHANGES, size=count, p=SHARES), rng)
        crossed = np.flatnonzero(rng.random(count) < CROSSED)
        others = parents[rng.integers(len(parents), size=len(crossed))]
        children[crossed] = self._coder.crossover(children[crossed], others, rng)
        return children

    @cached_property
    def _list(self) -> Codes | None:
        """All rows there are, where they are listed or few."""
        if self._problem.listed is not None:
            return self._coder.codes(self._problem.listed)
        if self._problem.space.size <= LISTED:
            return self._coder.codes(list(self._problem.space.enumerate()))
        return None

    @cached_property
    def _listed_keys(self) -> npt.NDArray[np.uint64]:
        assert self._list is not None
        return np.sort(self._coder.keys(self._list))

    def _of_list(self, front: Codes, seen: Seen) -> Candidates:
        """All that are listed; of many, those near the front, its children, and random ones."""
        assert self._list is not None
        rows = self._list
        if len(rows) > LISTED:
            some = rows[self._rng.integers(len(rows), size=COMPARED)]
            compared = rows if len(rows) <= COMPARED else some
            near = [compared[_nearest(compared, row, NEAREST)] for row in front]
            children = self._listed(self._children(front, LISTED))
            rows = np.concatenate([*near, children, some[:LISTED]])
        return self.inside(seen, rows)

    def _listed(self, codes: Codes) -> Codes:
        """Those rows that the list holds."""
        keys, listed = self._coder.keys(codes), self._listed_keys
        places = np.minimum(np.searchsorted(listed, keys), len(listed) - 1)
        found: Codes = codes[listed[places] == keys]
        return found


def _nearest(rows: Codes, row: Codes, count: int) -> npt.NDArray[np.int64]:
    apart = (rows != row).sum(axis=1)
    found: npt.NDArray[np.int64] = np.argpartition(apart, count)[:count]
    return found
