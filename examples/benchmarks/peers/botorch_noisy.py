"""BoTorch as its tutorials set it up: qLogNEHVI over a Gaussian process an objective.

Nothing but budgets is known beforehand. Where its tutorials optimise over discrete choices, they
score a list of them (`optimize_acqf_discrete`): networks that were not evaluated, all of them where
there are few, else as many drawn anew for every batch. Of one objective it is qLogNEI.
"""

from typing import Any

import numpy as np
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.models import ModelListGP
from botorch.optim import optimize_acqf_discrete
from botorch.sampling import SobolQMCNormalSampler
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from botorch.utils.multi_objective.pareto import is_non_dominated

from nas.benchmark.tabular import Evaluate
from nas.problem.problem import Problem
from peers.botorch_models import Candidates, gaussian_process
from peers.evaluated import Evaluated
from search_spaces import Architecture

SCORED = 1000  # networks a batch
SAMPLES = 64  # of the posterior
CHUNK = 256  # networks at a time


def search(problem: Problem, trials: int, evaluate: Evaluate) -> list[Architecture]:
    """Batches of five."""
    session = Evaluated(problem, trials, evaluate)
    found = Candidates(session)
    rng = np.random.default_rng([problem.seed, SCORED])
    while not found.is_done:
        left = rng.permutation(np.flatnonzero(found.open))[:SCORED]
        chosen, _ = optimize_acqf_discrete(
            _acquisition(found), found.batch, found.X[left], max_batch_size=CHUNK
        )
        same = (found.X[left].unsqueeze(0) == chosen.unsqueeze(1)).all(dim=-1)
        found.evaluate(left[same.int().argmax(dim=1).numpy()].tolist())
    return session.architectures


def _acquisition(found: Candidates) -> Any:
    X, Y = found.inputs, found.outcomes
    models = [gaussian_process(X, column) for column in Y.split(1, dim=1)]
    sampler = SobolQMCNormalSampler(torch.Size([SAMPLES]))
    if len(models) == 1:
        return qLogNoisyExpectedImprovement(models[0], X, sampler, prune_baseline=True)
    return qLogNoisyExpectedHypervolumeImprovement(
        ModelListGP(*models),
        infer_reference_point(Y[is_non_dominated(Y)]),
        X,
        sampler,
        prune_baseline=True,
    )
