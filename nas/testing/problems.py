"""Problems of every kind that strategies are checked on: conditions, numbers, budgets, tables."""

import itertools
from collections.abc import Sequence

import numpy as np

from nas.evaluators import Samples, Span
from nas.problem.fidelity import Fidelity
from nas.problem.goal import BEST, FRONT, Goal
from nas.problem.problem import Matrix, Objective, Problem, Vector
from search_spaces import (
    Architecture,
    CellGraph,
    Choice,
    Condition,
    Edge,
    NumericChoice,
    SearchSpace,
)

PLAIN = SearchSpace("plain", tuple(Choice(f"c{i}", ("a", "b", "c")) for i in range(4)))
CONDITIONAL = SearchSpace(
    "conditional",
    (
        *(Choice(f"s{i}", ("none", "conv", "attention")) for i in range(3)),
        *(Choice(f"s{i}.kernel", (3, 5, 7), Condition(f"s{i}", ("conv",))) for i in range(3)),
        Choice("heads", (2, 4), Condition("s0", ("attention",))),
    ),
)
NUMERIC = SearchSpace(
    "numeric",
    (
        NumericChoice("width", 0.5, 2.0),
        NumericChoice("layers", 1, 12, integer=True),
        Choice("kind", (True, False)),
    ),
)
_PAIRS = tuple(itertools.combinations("abcd", 2))
CELL = SearchSpace(
    "cell",
    (
        *(Choice(f"{i}{j}", ("none", "conv", "attention")) for i, j in _PAIRS),
        Choice("heads", (2, 4), Condition("ad", ("attention",))),
    ),
    (CellGraph(tuple(Edge(i, j, f"{i}{j}") for i, j in _PAIRS), ("a",), ("d",)),),
)


def scores(architectures: Sequence[Architecture]) -> Vector:
    """A cost of sorts: the places of the options, and the numbers."""
    return np.array(
        [
            sum(len(v) if isinstance(v, str) else float(v) for v in each.values())
            for each in architectures
        ]
    )


def quality(architecture: Architecture) -> float:
    """Something to learn: more cost is better, up to a point."""
    cost = float(scores([architecture])[0])
    return (cost - 20.0) ** 2 / 10 + 0.1 * ("attention" in architecture.values())


def one_cost(architectures: Sequence[Architecture]) -> Matrix:
    """The cost."""
    return scores(architectures)[:, None]


def two_costs(architectures: Sequence[Architecture]) -> Matrix:
    """The cost, and how many decisions there are."""
    return np.stack([scores(architectures), [len(a) for a in architectures]], axis=1)


LOSS, LATENCY = Objective("loss"), Objective("latency_ms", known=True)
MEMORY = Objective("memory_mb", known=True)


def listed(space: SearchSpace, count: int) -> tuple[Architecture, ...]:
    """Some of a space's architectures."""
    every = sorted(space.enumerate(), key=str)
    chosen = np.random.default_rng(0).choice(len(every), count, replace=False)
    return tuple(every[int(index)] for index in chosen)


PROBLEMS: dict[str, Problem] = {
    "plain": Problem(PLAIN, (LOSS, LATENCY), one_cost),
    "conditional": Problem(CONDITIONAL, (LOSS, LATENCY), one_cost),
    "numeric": Problem(NUMERIC, (LOSS, LATENCY), one_cost),
    "two costs": Problem(CONDITIONAL, (LOSS, LATENCY, MEMORY), two_costs),
    "no cost": Problem(PLAIN, (LOSS,), lambda found: np.zeros((len(found), 0))),
    "budget": Problem(
        CONDITIONAL, (LOSS, LATENCY), one_cost, lambda found: {"ms": scores(found) - 26.0}
    ),
    "cell": Problem(CELL, (LOSS, LATENCY), one_cost, lambda found: {"ms": scores(found) - 30.0}),
    "listed": Problem(CONDITIONAL, (LOSS, LATENCY), one_cost, listed=listed(CONDITIONAL, 60)),
    "maximised": Problem(PLAIN, (Objective("accuracy_pct", maximize=True), LATENCY), one_cost),
}

# How closely evaluations may look: by clips that add up, and by epochs that begin anew.
FIDELITIES: dict[str, Fidelity] = {
    "clips": Fidelity("clips", (2, 4, 8, 16), adds_up=True, finalists=2),
    "epochs": Fidelity("epochs", (1, 3, 9), finalists=2),
}


def look(architecture: Architecture, span: Span) -> Samples:
    """The quality of a network, sample by sample: each finds something else."""
    rng = np.random.default_rng(int(architecture.digest[:8], 16))
    apart = rng.normal(size=max(each.full for each in FIDELITIES.values()))
    return Samples(tuple((quality(architecture) + apart[slice(*span)]).tolist()))


# What may count, with regions of one limit, of two, and one that nothing meets.
GOALS: dict[str, Goal] = {
    "best": BEST,
    "front": FRONT,
    "quality": Goal("region", {"loss": 0.5}),
    "region": Goal("region", {"loss": 0.5, "latency_ms": 20.0}),
    "nothing": Goal("region", {"loss": -1.0, "latency_ms": 20.0}),
}
