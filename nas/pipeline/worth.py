"""What a search was worth: anytime performance beside random search at equal cost, with errors.

A side's best, and its curve, are of the networks that count: in the goal's region, where any of
both sides is, and seen fully, where any was. Other values are estimates, and the best of many
estimates is often a lucky one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from nas.pipeline.contract import Outcome
from nas.run.results import Found, closest, inside, quality_place, winner


@dataclass(frozen=True)
class Difference:
    """The search's best less the best random pick.

    Args:
        of: what differs, with its unit.
        value: in that unit.
        error: its standard error, paired over the samples; None where they are not known.
        judged_on: samples that chose neither; None where they were chosen by this.
    """

    of: str
    value: float
    error: float | None = None
    judged_on: str | None = None


def best_of(outcome: Outcome) -> dict[str, Found]:
    """The best of the search and of the random picks, of those in the region if there are some."""
    searched, picked = _sides(outcome)
    return {
        "search": winner(searched or outcome.evaluated),
        "random": winner(picked or outcome.picks),
    }


def worth(outcome: Outcome, strategy: str, judged: Difference | None = None) -> dict[str, Any]:
    """The search beside random picks: how the best grew, how soon it was as good, the difference.

    Args:
        outcome: of the search.
        strategy: its name.
        judged: the difference where samples that chose neither tell it; by default it is told by
            what the search saw.
    """
    problem = outcome.problem
    place = quality_place(problem)
    objective, sign = problem.objectives[place], float(problem.signs[place])
    searched, picked = _sides(outcome)
    best = best_of(outcome)
    found = {
        "search": _best_so_far(outcome.evaluated, searched),
        "random": _best_so_far(outcome.picks, picked),
    }
    target = best["random"].loss if picked else -math.inf
    reached = (count for count, loss in enumerate(found["search"], start=1) if loss <= target)
    difference = judged or _difference(best["search"], best["random"], objective.name, place)
    return {
        "strategy": strategy,
        "goal": problem.goal.kind if len(problem.objectives) > 1 else "best",
        "quality": objective.name,
        "maximize": objective.maximize,
        "best_so_far": {
            side: [sign * loss if math.isfinite(loss) else None for loss in losses]
            for side, losses in found.items()
        },
        # A race looks at networks in another order than it proposes them.
        "reached_after": None if problem.fidelity else next(reached, None),
        "is_race": problem.fidelity is not None,
        "same_best": best["search"].architecture == best["random"].architecture,
        "difference": vars(difference) if searched and picked else None,
    }


def _sides(outcome: Outcome) -> list[list[Found]]:
    """Networks of the search and random picks that count: none of a side is possible."""
    searched, picked = inside(outcome.problem, outcome.evaluated, outcome.picks)
    if any(network.is_full for network in (*searched, *picked)):
        return [[n for n in side if n.is_full] for side in (searched, picked)]
    return [searched, picked]


def _best_so_far(networks: Sequence[Found], counted: Sequence[Found]) -> list[float]:
    """The lowest loss after each network, of those that count; infinite before the first."""
    seen = {id(network) for network in closest(counted)} if counted else set()
    best, lowest = math.inf, []
    for network in networks:
        if id(network) in seen:
            best = min(best, network.loss)
        lowest.append(best)
    return lowest


def _difference(one: Found, other: Found, name: str, place: int) -> Difference:
    """By what the search saw; an error where both were seen on the same samples."""
    value = one.values[place] - other.values[place]
    if len(one.samples) < 2 or len(one.samples) != len(other.samples):
        return Difference(name, value)
    apart = [a - b for a, b in zip(one.samples, other.samples, strict=True)]
    return Difference(name, value, stdev(apart) / math.sqrt(len(apart)))
