"""BoTorch with latency known: exact expected hypervolume improvement over every network.

Where the cost is known, the expected hypervolume improvement is a sum of expected improvements:
between two neighbours of the front, along the cost, an error gains on the step that stands there
(Emmerich et al. 2006, in two dimensions). Of one objective it is the expected improvement. Batches
take in turn what gains most, with the model's mean in place of what is not evaluated yet (the
Kriging believer).

Where the reference point is BoTorch's, inferred from the front found so far (a tenth beyond its
worst), what lies beyond that front's ends counts for little. Where it is the worst of all that was
seen, and the largest cost there is, the ends count as well.
"""

from collections.abc import Callable

import numpy as np
import torch
from botorch.models import SingleTaskGP
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from scipy.stats import norm

from nas.benchmark.tabular import Evaluate
from nas.problem.pareto import nondominated
from nas.problem.problem import Matrix, Problem, Vector
from peers.botorch_models import Candidates, gaussian_process
from peers.evaluated import Evaluated
from search_spaces import Architecture, InputError


def inferred(problem: Problem, trials: int, evaluate: Evaluate) -> list[Architecture]:
    """The reference point is inferred from the front, as BoTorch does it."""

    def corner(values: Matrix, costs: Vector) -> Vector:  # noqa: ARG001
        front = torch.as_tensor(-values[nondominated(values)])
        return np.asarray(-infer_reference_point(front).numpy())

    return _search(problem, trials, evaluate, corner)


def widest(problem: Problem, trials: int, evaluate: Evaluate) -> list[Architecture]:
    """The reference point is the worst of what was seen or is known."""

    def corner(values: Matrix, costs: Vector) -> Vector:
        return np.array([values[:, 0].max(), costs.max()])

    return _search(problem, trials, evaluate, corner)


def _search(
    problem: Problem, trials: int, evaluate: Evaluate, corner: Callable[[Matrix, Vector], Vector]
) -> list[Architecture]:
    """Batches of five, each chosen among all networks that are left.

    Raises:
        InputError: more is traded off than one unknown quality and one known cost.
    """
    known = problem.is_known
    if (~known).sum() != 1 or known.sum() > 1:
        raise InputError("botorch-ehvi trades one unknown objective off against one known at most")
    session = Evaluated(problem, trials, evaluate)
    found = Candidates(session)
    costs = problem.costs(found.architectures)[:, 0] if known.any() else None
    error = int(np.flatnonzero(~known)[0])
    while not found.is_done:
        model = gaussian_process(found.inputs, found.outcomes[:, [error]])
        errors = session.all_values[:, error]
        if costs is None:  # where all cost nothing, and the corner is at 1, it is the improvement
            nothing, above = np.zeros(len(found.X)), np.array([errors.max(), 1.0])
            chosen = _batch(model, found, nothing, errors, above)
        else:
            values = np.stack([errors, costs[found.places]], axis=1)
            chosen = _batch(model, found, costs, errors, corner(values, costs))
        found.evaluate(chosen)
    return session.architectures


def _batch(
    model: SingleTaskGP, found: Candidates, costs: Vector, errors: Vector, corner: Vector
) -> list[int]:
    """The places of the next networks, by the errors (n,) of those that were evaluated."""
    posterior = Believed(model, found.X)
    values = np.stack([errors, costs[found.places]], axis=1)
    chosen: list[int] = []
    for _ in range(found.batch):
        growth = expected_growth(-posterior.mean, posterior.deviation, costs, values, corner)
        growth[~found.open] = -np.inf
        growth[chosen] = -np.inf
        best = int(growth.argmax())
        chosen.append(best)
        posterior.believe(best)
        values = np.vstack([values, [-posterior.mean[best], costs[best]]])
    return chosen


def expected_improvement(mean: Vector, deviation: Vector, least: float) -> Vector:
    """How far below `least` a value is expected, nothing where it is above, (n,)."""
    z = (least - mean) / deviation
    return np.asarray(deviation * (norm.pdf(z) + z * norm.cdf(z)))


def expected_growth(
    mean: Vector, deviation: Vector, costs: Vector, values: Matrix, corner: Vector
) -> Vector:
    """Expected hypervolume improvement, (n,), less being better.

    Args:
        mean: of each network's error, (n,).
        deviation: of it.
        costs: what is known of it.
        values: error and cost of what was evaluated, (m, 2).
        corner: the reference point, (2,).
    """
    inside = values[(values < corner).all(axis=1)]
    front = inside[nondominated(inside)] if len(inside) else inside
    front = front[np.argsort(front[:, 1])]
    begins = np.r_[-np.inf, front[:, 1]]  # where along the cost each step begins
    ends = np.r_[front[:, 1], corner[1]]
    steps = np.r_[corner[0], front[:, 0]]  # the least error for at most that cost
    growth = np.zeros(len(mean))
    for begin, end, step in zip(begins, ends, steps, strict=True):
        width = np.clip(end - np.maximum(costs, begin), 0.0, None)
        growth += width * expected_improvement(mean, deviation, step)
    return growth


class Believed:
    """The posterior of every network, (n,), while the mean is believed of some.

    As `model.posterior` and `model.condition_on_observations` have it, whose covariances of all
    with all would take a hundred times as long: a column of the Cholesky factor each.
    """

    def __init__(self, model: SingleTaskGP, X: torch.Tensor) -> None:
        with torch.no_grad():
            Z, y = model.train_inputs[0], model.train_targets
            self._kernel, self._X = model.covar_module, X
            self._noise = model.likelihood.noise.item()
            own = self._kernel(Z).to_dense() + self._noise * torch.eye(len(Z), dtype=X.dtype)
            factor = torch.linalg.cholesky(own)
            self._rows = _solved(factor, self._kernel(Z, X).to_dense())  # (evaluated, n)
            always = model.mean_module.constant
            mean = always + _solved(factor, (y - always)[:, None])[:, 0] @ self._rows
            self._variance = self._kernel(X, diag=True) - self._rows.square().sum(dim=0)
        self._scale = float(model.outcome_transform.stdvs)
        self.mean: Vector = mean.numpy() * self._scale + float(model.outcome_transform.means)

    @property
    def deviation(self) -> Vector:
        return np.asarray(self._variance.clamp_min(1e-12).sqrt().numpy() * self._scale)

    def believe(self, place: int) -> None:
        with torch.no_grad():
            covariance = self._kernel(self._X[[place]], self._X).to_dense()[0]
            covariance -= self._rows[:, place] @ self._rows
            row = covariance / (self._variance[place] + self._noise).sqrt()
            self._rows = torch.vstack([self._rows, row])
            self._variance = self._variance - row.square()


def _solved(factor: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return torch.linalg.solve_triangular(factor, right, upper=False)
