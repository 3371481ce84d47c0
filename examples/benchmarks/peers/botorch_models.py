"""What BoTorch's peers share: all networks as one-hot features, first points, Gaussian processes.

Everything is maximised here, as BoTorch has it: objectives change their sign on the way in.
"""

import warnings
from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Standardize
from gpytorch.mlls import ExactMarginalLogLikelihood

from nas.problem.problem import Problem
from peers.evaluated import Evaluated
from search_spaces import Architecture, InputError
from search_spaces.space.one_hot_encoding import encode

BATCH = 5
MOST = 100_000  # networks that are listed
STEPS = 100  # of L-BFGS: on one-hot features a fit creeps on, at no gain, for a thousand


class Candidates:
    """All networks inside the budgets, and what was found of them.

    Args:
        session: what evaluates, and remembers.
    """

    def __init__(self, session: Evaluated) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(session.problem.seed)
        self._session = session
        listed = _listed(session.problem)
        kept = session.problem.keeps(listed)
        self.architectures = [each for each, inside in zip(listed, kept, strict=True) if inside]
        features = encode(session.problem.space, self.architectures)
        self.X = torch.as_tensor(features, dtype=torch.float64)  # (networks, features)
        self.open = np.ones(len(self.architectures), dtype=bool)  # not evaluated yet
        self.places: list[int] = []  # of what was evaluated, in order
        self._evaluate_first()

    @property
    def is_done(self) -> bool:
        return self._session.is_full or not self.open.any()

    @property
    def batch(self) -> int:
        """How many to choose next."""
        return int(min(BATCH, self.open.sum()))

    @property
    def inputs(self) -> torch.Tensor:
        """The features of what was evaluated, (evaluated, features)."""
        return self.X[self.places]

    @property
    def outcomes(self) -> torch.Tensor:
        """What was found, (evaluated, objectives), more is better."""
        return torch.as_tensor(-self._session.all_values, dtype=torch.float64)

    def evaluate(self, places: Iterable[int]) -> None:
        for place in places:
            self._session.values([self.architectures[place]])
            self.places.append(place)
            self.open[place] = False

    def _evaluate_first(self) -> None:
        """Random networks: twice as many as there are inputs, and two, as BoTorch's tutorials."""
        count = 2 * (len(self._session.problem.space.choices) + 1)
        rng = np.random.default_rng(self._session.problem.seed)
        drawn = rng.permutation(len(self.architectures))[: min(count, self._session.trials)]
        self.evaluate(drawn.tolist())


def gaussian_process(X: torch.Tensor, y: torch.Tensor) -> SingleTaskGP:
    """BoTorch's default model, fitted: X (n, features), y (n, 1)."""
    model = SingleTaskGP(X, y, outcome_transform=Standardize(1))
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it stopped at so many
        fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": STEPS}})
    return model


def _listed(problem: Problem) -> list[Architecture]:
    if problem.listed is not None:
        return list(problem.listed)
    if problem.space.size > MOST:
        raise InputError(
            f"space {problem.space.name!r} has {problem.space.size:,.0f} networks; BoTorch's peers "
            f"look at all of them, and at most at {MOST:,}"
        )
    return list(islice(problem.space.enumerate(), MOST))
