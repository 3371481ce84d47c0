"""Warm start: the best of earlier studies, where any strategy may begin."""

import numpy as np

from nas.problem.earlier import Earlier
from nas.problem.hypervolume import hypervolume
from nas.problem.pareto import nondominated
from nas.problem.problem import Matrix, Problem, Vector
from search_spaces import Architecture

COUNT = 6  # networks, of all earlier studies together
BEYOND = 1.02  # times the dearest network: where the volume ends that is shared out


def best_of_earlier(problem: Problem, count: int = COUNT) -> list[Architecture]:
    """Architectures that earlier studies found best inside this problem's budgets, in turns.

    Of each study the best in quality where one winner counts; else those that together hold most
    of its hypervolume, up to the goal's corner, by the costs that hold here.
    """
    ranked = [_ranked(problem, earlier, count) for earlier in problem.earlier]
    turns = (each[turn] for turn in range(count) for each in ranked if turn < len(each))
    return list(dict.fromkeys(turns))[:count]


def _ranked(problem: Problem, earlier: Earlier, count: int) -> list[Architecture]:
    """The best `count` of a study, the best first."""
    kept, points = _inside(problem, earlier)
    if not kept:
        return []
    corner = problem.corner
    limits = np.append(corner[problem.is_known], corner[~problem.is_known][0])
    worst = np.append(BEYOND * points[:, :-1].max(axis=0), np.median(points[:, -1]))
    alone = problem.goal.kind == "best"
    chosen = [] if alone else _greedy(points, np.where(np.isfinite(limits), limits, worst), count)
    rest = np.argsort(points[:, -1], kind="stable").tolist()
    return [kept[place] for place in dict.fromkeys([*chosen, *rest])][:count]


def _inside(problem: Problem, earlier: Earlier) -> tuple[list[Architecture], Matrix]:
    """What of a study is inside the budgets and the goal's limits on costs: costs and quality."""
    sign = problem.signs[~problem.is_known][0]
    points = np.column_stack(
        [problem.costs(earlier.architectures), sign * np.array(earlier.quality)]
    )
    inside = problem.keeps(earlier.architectures)
    inside &= (points[:, :-1] <= problem.corner[problem.is_known]).all(axis=1)
    kept = [each for each, keeps in zip(earlier.architectures, inside, strict=True) if keeps]
    return kept, points[inside]


def _greedy(points: Matrix, reference: Vector, count: int) -> list[int]:
    """Points of the front, each the one that adds most to the hypervolume of those before it."""
    front = np.flatnonzero(nondominated(points)).tolist()
    chosen: list[int] = []
    while len(chosen) < min(count, len(front)):
        left = [each for each in front if each not in chosen]
        grown = [hypervolume(points[[*chosen, each]], reference) for each in left]
        chosen.append(left[int(np.argmax(grown))])
    return chosen
