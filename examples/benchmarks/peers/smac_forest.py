"""SMAC3: its hyperparameter optimisation (a random forest), with ParEGO over objectives."""

import os
import tempfile
from pathlib import Path

import numpy as np
from ConfigSpace import Categorical, ConfigurationSpace
from smac import HyperparameterOptimizationFacade, Scenario
from smac.multi_objective.parego import ParEGO
from smac.runhistory.dataclasses import TrialInfo, TrialValue

from nas.benchmark.tabular import Evaluate
from nas.problem.problem import Problem, Vector
from peers.evaluated import Evaluated
from search_spaces import Architecture
from search_spaces.space.integer_encoding import IntegerEncoder

IDLE_TRIALS = 2000  # in which nothing new was proposed: it has converged


def search(problem: Problem, trials: int, evaluate: Evaluate) -> list[Architecture]:
    """One network at a time. What passes a budget is told as the worst error so far."""
    coder = IntegerEncoder(problem.space)
    session = Evaluated(problem, trials, evaluate)
    with tempfile.TemporaryDirectory() as scratch:
        smac = _facade(problem, coder, trials, Path(scratch))
        idle, beyond = 0, []
        while not session.is_full and idle < IDLE_TRIALS:
            before = len(session)
            asked: TrialInfo = smac.ask()
            codes = [[asked.config[str(at)] for at in range(len(coder.choices))]]
            [architecture] = coder.architectures(coder.canonical(np.array(codes, dtype=float)))
            [values] = session.values([architecture])
            if np.isfinite(values).all():
                smac.tell(asked, _value(values), save=False)
            else:
                beyond.append(asked)
            if len(session):
                worst = _value(session.all_values.max(axis=0))
                for waiting in beyond:
                    smac.tell(waiting, worst, save=False)
                beyond = []
            idle = idle + 1 if len(session) == before else 0
    return session.architectures


def _value(values: Vector) -> TrialValue:
    return TrialValue(cost=values.tolist() if len(values) > 1 else float(values[0]))


def _facade(
    problem: Problem, coder: IntegerEncoder, trials: int, folder: Path
) -> HyperparameterOptimizationFacade:
    os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")  # else its forest waits for every processor
    space = ConfigurationSpace(seed=problem.seed)
    for place, count in enumerate(coder.option_counts):
        space.add(Categorical(str(place), list(range(count))))
    names = [objective.name for objective in problem.objectives]
    scenario = Scenario(
        space,
        objectives=names if len(names) > 1 else names[0],
        deterministic=True,
        n_trials=trials + IDLE_TRIALS,
        seed=problem.seed,
        output_directory=folder,
    )
    several = {"multi_objective_algorithm": ParEGO(scenario)} if len(names) > 1 else {}
    return HyperparameterOptimizationFacade(
        scenario,
        lambda config, seed=0: 0.0,  # noqa: ARG005 (never called: it is asked and told)
        initial_design=HyperparameterOptimizationFacade.get_initial_design(
            scenario, n_configs=min(10 * len(coder.choices), trials // 4)
        ),
        logging_level=40,
        overwrite=True,
        **several,
    )
