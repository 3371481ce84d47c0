"""Bayesian linear regression, averaged over priors: what few measurements say, and how surely.

Weights are Gaussian, in terms that share a variance each; a hypothesis is a choice of variances
and of first guesses. Nothing is selected: each hypothesis, noise level and guess counts by its
evidence (MacKay 1992, "Bayesian interpolation"), so that with ten measurements no family of
features is trusted that chance could have made look good. Leave-one-out predictions are exact,
with the evidence of the others alone (Rasmussen and Williams 2006, section 5.4.2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

NOISE = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)  # at the mean, as a share of it
# Noise grows with this power of latency: clocks that tick coarsely, constant, and in proportion.
EXPONENTS = (-1.0, 0.0, 1.0, 2.0)
NEGLIGIBLE = 1e-3  # share of the evidence below which a hypothesis is dropped from the posterior
MOST_ROWS = 400  # evidence is weighed on so many networks: it is cubic in them


@dataclass(frozen=True)
class Term:
    """Effects that share a prior variance.

    `columns` (networks, effects) says how much of each effect a network has; `weights` (effects,
    features) which weights of the model's features one unit of an effect stands for.
    """

    columns: Matrix
    weights: Matrix


@dataclass(frozen=True)
class Hypothesis:
    """A prior: the variance of each term by name, and the first guesses that it starts from."""

    variances: Mapping[str, float]
    guesses: tuple[int, ...] = (0,)
    prior: float = 1.0  # how likely beside the others, before any measurement


@dataclass(frozen=True)
class Problem:
    """Targets (networks,) of mean one, and what may explain them.

    `guesses` (networks, guesses) are what networks are expected to take before any is measured,
    `guess_weights` (guesses, features) the same as weights of features.
    """

    targets: Vector
    terms: Mapping[str, Term]
    guesses: Matrix
    guess_weights: Matrix

    def rows(self, chosen: npt.NDArray[np.intp]) -> "Problem":
        """The same with some of the networks alone."""
        terms = {n: replace(t, columns=t.columns[chosen]) for n, t in self.terms.items()}
        return replace(
            self, targets=self.targets[chosen], terms=terms, guesses=self.guesses[chosen]
        )


@dataclass(frozen=True)
class Posterior:
    """Weights of the features, their covariance, the noise, and left-out predictions."""

    weights: Vector
    covariance: Matrix
    noise: float
    exponent: float
    left_out: Vector
    left_out_sd: Vector
    variances: dict[str, float]  # mean prior variance of each term


@dataclass(frozen=True)
class _Cell:
    """A hypothesis with its noise, over all of its guesses."""

    hypothesis: Hypothesis
    noise: float
    exponent: float
    log_evidence: Vector  # (guesses,)
    left_out: Matrix  # (networks, guesses): residuals of left-out predictions
    left_out_variance: Vector  # (networks,)


def fit(problem: Problem, hypotheses: Sequence[Hypothesis]) -> Posterior:
    """The posterior, averaged over hypotheses, noise levels and guesses by their evidence."""
    count = len(problem.targets)
    seen = problem
    if count > MOST_ROWS:
        seen = problem.rows(np.random.default_rng(0).permutation(count)[:MOST_ROWS])
    cells = [c for h in hypotheses for exponent in EXPONENTS for c in _cells(seen, h, exponent)]
    shares = _shares(np.concatenate([c.log_evidence for c in cells]))
    by_cell = np.split(shares, np.cumsum([len(c.log_evidence) for c in cells])[:-1])
    kept = [(c, s) for c, s in zip(cells, by_cell, strict=True) if s.sum() > NEGLIGIBLE]
    whole = sum(float(s.sum()) for _, s in kept)
    kept = [(cell, share / whole) for cell, share in kept]
    weights, covariance = _combine(problem, kept)
    if seen is problem:
        left_out, left_out_sd = _left_out(problem, cells)
    else:
        left_out, left_out_sd = _left_out_of_many(problem, kept)
    names = list(problem.terms)
    return Posterior(
        weights=weights,
        covariance=covariance,
        noise=float(np.exp(sum(s.sum() * np.log(c.noise) for c, s in kept))),
        exponent=float(sum(s.sum() * c.exponent for c, s in kept)),
        left_out=left_out,
        left_out_sd=left_out_sd,
        variances={
            n: float(sum(s.sum() * c.hypothesis.variances.get(n, 0.0) for c, s in kept))
            for n in names
        },
    )


def _cells(problem: Problem, hypothesis: Hypothesis, exponent: float) -> list[_Cell]:
    """All noise levels of one hypothesis, by one eigendecomposition."""
    scale = noise_scale(problem.targets, exponent)
    columns, prior = _design(problem, hypothesis)
    scaled = columns / scale[:, None]
    values, vectors = np.linalg.eigh((scaled * prior) @ scaled.T)
    guesses = list(hypothesis.guesses)
    missed = (problem.targets[:, None] - problem.guesses[:, guesses]) / scale[:, None]
    turned = vectors.T @ missed
    volume = float(np.log(scale).sum())
    found = []
    for noise in NOISE:
        spread = np.maximum(values, 0.0) + noise**2
        evidence = -0.5 * (turned**2 / spread[:, None]).sum(axis=0)
        evidence -= (
            0.5 * float(np.log(spread).sum()) + volume + np.log(len(guesses) / hypothesis.prior)
        )
        inverse = (vectors**2 / spread).sum(axis=1)
        residual = vectors @ (turned / spread[:, None]) / inverse[:, None] * scale[:, None]
        variance = scale**2 / inverse
        found.append(_Cell(hypothesis, noise, exponent, evidence, residual, variance))
    return found


def noise_scale(targets: Vector, exponent: float) -> Vector:
    """Standard deviation of the noise at some targets, as a share of that at the mean."""
    scale: Vector = np.clip(targets, 0.1, 10.0) ** (exponent / 2)
    return scale


def _design(problem: Problem, hypothesis: Hypothesis) -> tuple[Matrix, Vector]:
    """Columns of all terms side by side, and the prior variance of each."""
    used = {n: v for n, v in hypothesis.variances.items() if n in problem.terms}
    columns = [problem.terms[name].columns for name in used]
    prior = [np.full(problem.terms[name].columns.shape[1], used[name]) for name in used]
    return np.concatenate(columns, axis=1), np.concatenate(prior)


def _combine(problem: Problem, kept: Sequence[tuple[_Cell, Vector]]) -> tuple[Vector, Matrix]:
    """Mean and covariance of the features' weights over the kept hypotheses."""
    means: list[Vector] = []
    shares: list[float] = []
    size = problem.guess_weights.shape[1]
    covariance: Matrix = np.zeros((size, size))
    for cell, share in kept:
        columns, prior = _design(problem, cell.hypothesis)
        used = [n for n in cell.hypothesis.variances if n in problem.terms]
        to_weights = np.concatenate([problem.terms[n].weights for n in used])
        variance = cell.noise**2 * noise_scale(problem.targets, cell.exponent) ** 2
        inside, gain = _solve(columns, prior, variance)
        covariance += float(share.sum()) * to_weights.T @ inside @ to_weights
        for index, each in zip(cell.hypothesis.guesses, share, strict=True):
            effects = gain @ (problem.targets - problem.guesses[:, index])
            means.append(problem.guess_weights[index] + effects @ to_weights)
            shares.append(float(each))
    stacked, weighed = np.stack(means), np.array(shares)
    mean: Vector = weighed @ stacked
    apart = (stacked - mean) * np.sqrt(weighed)[:, None]
    return mean, covariance + apart.T @ apart


def _solve(columns: Matrix, prior: Vector, variance: Vector) -> tuple[Matrix, Matrix]:
    """Posterior covariance of the effects, and what turns residuals into effects."""
    if len(columns) <= columns.shape[1]:
        spread = columns * prior
        gain = np.asarray(np.linalg.solve(spread @ columns.T + np.diag(variance), spread)).T
        return np.asarray(np.diag(prior) - gain @ spread), gain
    precise = columns / variance[:, None]
    inside: Matrix = np.asarray(np.linalg.inv(columns.T @ precise + np.diag(1 / prior)))
    return inside, np.asarray(inside @ precise.T)


def _left_out(problem: Problem, cells: Sequence[_Cell]) -> tuple[Vector, Vector]:
    """Mean and spread for each network of what all others predict for it."""
    residual = np.concatenate([c.left_out for c in cells], axis=1)
    variance = np.stack([c.left_out_variance for c in cells for _ in c.log_evidence], axis=1)
    evidence = np.concatenate([c.log_evidence for c in cells])
    # Without the network itself: its own contribution to the evidence is taken back.
    own = -0.5 * (residual**2 / variance + np.log(variance))
    shares = np.stack([_shares(row) for row in evidence - own])
    guess = problem.targets[:, None] - residual
    mean = (shares * guess).sum(axis=1)
    spread = (shares * (variance + (guess - mean[:, None]) ** 2)).sum(axis=1)
    return mean, np.sqrt(spread)


def _left_out_of_many(
    problem: Problem, kept: Sequence[tuple[_Cell, Vector]]
) -> tuple[Vector, Vector]:
    """The same by leverage; one network of many does not move the evidence."""
    mean = np.zeros(len(problem.targets))
    spread = np.zeros(len(problem.targets))
    for cell, share in kept:
        columns, prior = _design(problem, cell.hypothesis)
        variance = cell.noise**2 * noise_scale(problem.targets, cell.exponent) ** 2
        inside, gain = _solve(columns, prior, variance)
        leverage = ((columns @ inside) * columns).sum(axis=1) / variance
        for index, each in zip(cell.hypothesis.guesses, share, strict=True):
            missed = problem.targets - problem.guesses[:, index]
            residual = (missed - columns @ (gain @ missed)) / np.maximum(1 - leverage, 1e-6)
            mean += each * (problem.targets - residual)
            spread += each * variance / np.maximum(1 - leverage, 1e-6)
    return mean, np.sqrt(spread)


def _shares(log_evidence: Vector) -> Vector:
    raised: Vector = np.exp(log_evidence - log_evidence.max())
    shares: Vector = raised / raised.sum()
    return shares
