"""pymoo: NSGA-II on integers, and rank and crowding over nominal choices; a population of 20."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.core.evaluator import Evaluator
from pymoo.core.problem import Problem as Bounds
from pymoo.core.termination import NoTermination
from pymoo.problems.static import StaticProblem

from nas.benchmark.tabular import Evaluate
from nas.problem.problem import Problem
from peers.evaluated import Evaluated
from search_spaces import Architecture
from search_spaces.space.integer_encoding import IntegerEncoder

POPULATION = 20
IDLE_GENERATIONS = 200  # in which nothing new was proposed: it has converged
BEYOND = 1e9  # the objectives of what passes a budget, which pymoo never compares
Codes = npt.NDArray[np.float64]


def integers(problem: Problem, trials: int, evaluate: Evaluate) -> list[Architecture]:
    """NSGA-II over integers; of one objective the genetic algorithm."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling

    coder = IntegerEncoder(problem.space)
    highest = np.array(coder.option_counts) - 1
    bounds = Bounds(xl=0, xu=highest, vtype=int, n_var=len(highest), **_asked(problem))
    algorithm = (NSGA2 if len(problem.objectives) > 1 else GA)(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    session = Evaluated(problem, trials, evaluate)
    return _run(algorithm, bounds, session, coder, lambda rows: np.asarray(rows, dtype=float))


def choices(problem: Problem, trials: int, evaluate: Evaluate) -> list[Architecture]:
    """Rank and crowding, as in NSGA-II, over nominal choices; of one objective the best survive."""
    from pymoo.algorithms.moo.nsga2 import RankAndCrowdingSurvival
    from pymoo.core.mixed import MixedVariableGA
    from pymoo.core.variable import Choice

    coder = IntegerEncoder(problem.space)
    names = [choice.name for choice in coder.choices]
    options = {
        name: Choice(options=list(range(count)))
        for name, count in zip(names, coder.option_counts, strict=True)
    }
    bounds = Bounds(vars=options, **_asked(problem))
    several = len(problem.objectives) > 1
    algorithm = MixedVariableGA(
        pop_size=POPULATION, **({"survival": RankAndCrowdingSurvival()} if several else {})
    )
    session = Evaluated(problem, trials, evaluate)
    return _run(
        algorithm,
        bounds,
        session,
        coder,
        lambda rows: np.array([[row[name] for name in names] for row in rows], dtype=float),
    )


def _asked(problem: Problem) -> dict[str, int]:
    return {"n_obj": len(problem.objectives), "n_ieq_constr": 1}


def _run(
    algorithm: Any,
    bounds: Any,
    session: Evaluated,
    coder: IntegerEncoder,
    codes: Callable[[Any], Codes],
) -> list[Architecture]:
    seed = session.problem.seed
    algorithm.setup(bounds, termination=NoTermination(), seed=seed, verbose=False)
    idle = 0
    while not session.is_full and idle < IDLE_GENERATIONS:
        before = len(session)
        proposed = algorithm.ask()
        architectures = coder.architectures(coder.canonical(codes(proposed.get("X"))))
        values = np.minimum(session.values(architectures), BEYOND)
        passed = session.violations(architectures)[:, np.newaxis]
        Evaluator().eval(StaticProblem(bounds, F=values, G=passed), proposed)
        algorithm.tell(infills=proposed)
        idle = idle + 1 if len(session) == before else 0
    return session.architectures
