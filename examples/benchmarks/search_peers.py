"""Searches of other projects on the tables of `search_nb201.py`, counted alike, beside ours.

    pip install --constraint constraints.txt --group peers
    python examples/benchmarks/search_peers.py [the options of search_nb201.py]

`pymoo-nsga2` is pymoo's NSGA-II on the options' places as integers, as its documentation sets it
up for such problems; `pymoo-choices` has the same survival on nominal choices. Both have
a population of 20. As everywhere, only different architectures count, and an architecture that is
proposed again is answered from memory.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
from search_nb201 import main

from nas.benchmark import by_study
from nas.benchmark.tabular import Evaluate
from nas.problem.problem import Problem
from search_spaces import Architecture, InputError
from search_spaces.space.integer_encoding import IntegerEncoder

STRATEGIES = ("cost-aware", "nsga2", "pymoo-nsga2", "pymoo-choices")
POPULATION = 20
IDLE_GENERATIONS = 200  # in which nothing new was proposed: it has converged
Codes = npt.NDArray[np.float64]
# pymoo's algorithm and problem, and how rows of the one become codes of ours.
Peer = tuple[Any, Any, Callable[[Any], Codes]]


def search(strategy: str, problem: Problem, trials: int, evaluate: Evaluate) -> list[Architecture]:
    """A peer, or else a strategy of ours."""
    if not strategy.startswith("pymoo-"):
        return by_study(strategy, problem, trials, evaluate)
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.termination import NoTermination
    from pymoo.problems.static import StaticProblem

    coder = IntegerEncoder(problem.space)
    if problem.listed is not None or not all(coder.option_counts):
        raise InputError(f"{strategy} searches whole spaces of options, and this is none")
    peers = {"pymoo-nsga2": integers, "pymoo-choices": choices}
    algorithm, bounds, codes = peers[strategy](coder, problem)
    algorithm.setup(bounds, termination=NoTermination(), seed=problem.seed, verbose=False)
    found: dict[Architecture, list[float]] = {}
    idle = 0
    while len(found) < trials and idle < IDLE_GENERATIONS:
        before = len(found)
        proposed = algorithm.ask()
        architectures = coder.architectures(coder.canonical(codes(proposed.get("X"))))
        for architecture in architectures:
            if architecture not in found:
                values = problem.values(architecture, evaluate(architecture))
                found[architecture] = (problem.signs * values).tolist()
        values = np.array([found[architecture] for architecture in architectures])
        Evaluator().eval(StaticProblem(bounds, F=values), proposed)
        algorithm.tell(infills=proposed)
        idle = idle + 1 if len(found) == before else 0
    return list(found)[:trials]


def integers(coder: IntegerEncoder, problem: Problem) -> Peer:
    """NSGA-II over integers."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem as Bounds
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling

    highest = np.array(coder.option_counts) - 1
    bounds = Bounds(len(highest), len(problem.objectives), xl=0, xu=highest, vtype=int)
    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    return algorithm, bounds, lambda rows: np.asarray(rows, dtype=float)


def choices(coder: IntegerEncoder, problem: Problem) -> Peer:
    """Rank and crowding, as in NSGA-II, over nominal choices."""
    from pymoo.algorithms.moo.nsga2 import RankAndCrowdingSurvival
    from pymoo.core.mixed import MixedVariableGA
    from pymoo.core.problem import Problem as Bounds
    from pymoo.core.variable import Choice

    names = [choice.name for choice in coder.choices]
    options = {
        name: Choice(options=list(range(count)))
        for name, count in zip(names, coder.option_counts, strict=True)
    }
    bounds = Bounds(vars=options, n_obj=len(problem.objectives))
    algorithm = MixedVariableGA(pop_size=POPULATION, survival=RankAndCrowdingSurvival())
    return (
        algorithm,
        bounds,
        lambda rows: np.array([[row[name] for name in names] for row in rows], dtype=float),
    )


if __name__ == "__main__":
    assert __doc__ is not None
    if find_spec("pymoo") is None:
        print("skipped: pymoo is not installed; pip install --group peers")
    else:
        main(__doc__, STRATEGIES, search)
