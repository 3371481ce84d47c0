"""Bayesian linear regression with model averaging: priors weighed by their marginal likelihood.

Weights are Gaussian, in terms that share a variance each; a prior is a choice of variances and of
means. Nothing is selected: each prior, noise level and mean counts by its evidence, which is its
marginal likelihood (MacKay 1992, "Bayesian interpolation"; averaging as Hoeting et al. 1999). So
with ten measurements no kind of feature is trusted that chance could have made look good.
Leave-one-out predictions are exact, with the evidence of the others alone (Rasmussen and Williams
2006, section 5.4.2); their deviations are stated as those of unseen networks are, by the evidence
of all. With one variance and one mean it would be ridge regression.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Cube = npt.NDArray[np.float64]

# Noise at the mean, as a share of it, with how likely it is beside the others: few clocks are finer
# than a percent, and as few networks as have parameters fit without any.
NOISE = (0.0003, 0.001, 0.003, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
LIKELY = (0.02, 0.04, 0.1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
# Noise grows with this power of latency: clocks that tick coarsely, constant, and in proportion.
NOISE_EXPONENTS = (-1.0, 0.0, 1.0, 2.0)
NEGLIGIBLE = 3e-4  # share of the evidence below which a model is dropped from the average
EVIDENCE_ROWS = 400  # evidence is weighed on so many networks: it is cubic in them


@dataclass(frozen=True)
class Term:
    """A group of effects that share a prior variance.

    `columns` (networks, effects) says how much of each effect a network has; `weights` (effects,
    features) which weights of the model's features one unit of an effect stands for.
    """

    columns: Matrix
    weights: Matrix


@dataclass(frozen=True)
class Prior:
    """A Gaussian prior: the variance of each term by name, and which means it may start from."""

    variances: Mapping[str, float]
    means: tuple[int, ...] = (0,)  # columns of `Regression.prior_means`
    probability: float = 1.0  # beside the other priors, before any measurement


@dataclass(frozen=True)
class Regression:
    """The regression problem: targets (networks,) of mean one, and what may explain them.

    `prior_means` (networks, means) are what networks are expected to take before any is measured,
    `prior_mean_weights` (means, features) the same as weights of features. The covariance is wanted
    of `described` (effects, features) times the weights, or of the weights.
    """

    targets: Vector
    terms: Mapping[str, Term]
    prior_means: Matrix
    prior_mean_weights: Matrix
    noise_exponents: tuple[float, ...] = NOISE_EXPONENTS
    described: Matrix | None = None

    def rows(self, chosen: npt.NDArray[np.intp]) -> "Regression":
        """Keep some of the networks alone."""
        terms = {n: replace(t, columns=t.columns[chosen]) for n, t in self.terms.items()}
        return replace(
            self, targets=self.targets[chosen], terms=terms, prior_means=self.prior_means[chosen]
        )


@dataclass(frozen=True)
class Posterior:
    """The averaged posterior: weights, their covariance, noise, leave-one-out predictions."""

    weights: Vector
    covariance: Matrix
    noise: float
    exponent: float
    leave_one_out: Vector
    leave_one_out_sd: Vector
    variances: dict[str, float]  # mean prior variance of each term


@dataclass(frozen=True)
class _Share:
    """A prior at one noise level, and its share of the evidence, by its means."""

    prior: Prior
    noise: float
    exponent: float
    of_means: Vector

    @property
    def share(self) -> float:
        return float(self.of_means.sum())


@dataclass(frozen=True)
class _Models:
    """A prior at every noise level, and their evidence under each of its means."""

    prior: Prior
    exponent: float
    log_evidence: Matrix  # (levels, means): log marginal likelihood, and log prior probability
    leave_one_out: Cube  # (levels, networks, means): residuals of leave-one-out predictions
    leave_one_out_variance: Matrix  # (levels, networks)


def fit(regression: Regression, priors: Sequence[Prior]) -> Posterior:
    """Average the posterior over priors, noise levels and means by their evidence."""
    count = len(regression.targets)
    seen = regression
    if count > EVIDENCE_ROWS:
        seen = regression.rows(np.random.default_rng(0).permutation(count)[:EVIDENCE_ROWS])
    models = [_models(seen, p, e) for p in priors for e in seen.noise_exponents]
    shares = _softmax(np.concatenate([m.log_evidence.ravel() for m in models]))
    ends = np.cumsum([m.log_evidence.size for m in models])[:-1]
    by_model = [
        _Share(m.prior, noise, m.exponent, share)
        for m, part in zip(models, np.split(shares, ends), strict=True)
        for noise, share in zip(NOISE, part.reshape(m.log_evidence.shape), strict=True)
    ]
    kept = [each for each in by_model if each.of_means.sum() > NEGLIGIBLE]
    whole = sum(float(each.of_means.sum()) for each in kept)
    kept = [replace(each, of_means=each.of_means / whole) for each in kept]
    weights, covariance = _average_models(regression, kept)
    if seen is regression:
        leave_one_out, leave_one_out_sd = _leave_one_out(regression, models)
    else:
        leave_one_out, leave_one_out_sd = _leave_one_out_by_leverage(regression, kept)
    names = list(regression.terms)
    return Posterior(
        weights=weights,
        covariance=covariance,
        noise=float(np.sqrt(sum(each.share * each.noise**2 for each in kept))),
        exponent=float(sum(each.share * each.exponent for each in kept)),
        leave_one_out=leave_one_out,
        leave_one_out_sd=leave_one_out_sd,
        variances={
            n: float(sum(each.share * each.prior.variances.get(n, 0.0) for each in kept))
            for n in names
        },
    )


def _models(regression: Regression, prior: Prior, exponent: float) -> _Models:
    """Weigh all noise levels of one prior, by one eigendecomposition."""
    scale = noise_scale(regression.targets, exponent)
    columns, variances = _design_matrix(regression, prior)
    scaled = columns / scale[:, None]
    values, vectors = np.linalg.eigh((scaled * variances) @ scaled.T)
    means = list(prior.means)
    missed = (regression.targets[:, None] - regression.prior_means[:, means]) / scale[:, None]
    rotated = vectors.T @ missed
    precise = 1 / (np.maximum(values, 0.0) + np.square(NOISE)[:, None])  # (levels, networks)
    volume = float(np.log(scale).sum()) - 0.5 * np.log(precise).sum(axis=1)
    volume += np.log(len(means) / prior.probability) - np.log(np.array(LIKELY))
    inverse = precise @ (vectors**2).T
    residual = vectors @ (precise[:, :, None] * rotated)
    return _Models(
        prior,
        exponent,
        -0.5 * precise @ rotated**2 - volume[:, None],
        residual * (scale / inverse)[:, :, None],
        scale**2 / inverse,
    )


def noise_scale(targets: Vector, exponent: float) -> Vector:
    """Heteroscedastic noise: its standard deviation at some targets, as a share of the mean's."""
    scale: Vector = np.clip(targets, 0.1, 10.0) ** (exponent / 2)
    return scale


def _design_matrix(regression: Regression, prior: Prior) -> tuple[Matrix, Vector]:
    """Set the columns of all terms side by side, with the prior variance of each."""
    used = {n: v for n, v in prior.variances.items() if n in regression.terms}
    columns = [regression.terms[name].columns for name in used]
    variances = [np.full(regression.terms[name].columns.shape[1], used[name]) for name in used]
    return np.concatenate(columns, axis=1), np.concatenate(variances)


def _average_models(regression: Regression, kept: Sequence[_Share]) -> tuple[Vector, Matrix]:
    """Average the models: mean and covariance of the features' weights over those kept."""
    means: list[Vector] = []
    shares: list[float] = []
    size = regression.prior_mean_weights.shape[1]
    described = np.eye(size) if regression.described is None else regression.described
    covariance: Matrix = np.zeros((len(described), len(described)))
    alike: dict[int, list[_Share]] = {}
    for model in kept:
        alike.setdefault(id(model.prior), []).append(model)
    for models in alike.values():
        inside, gains = _of_prior(regression, models, described)
        covariance += inside
        for model, gain in zip(models, gains, strict=True):
            for index, each in zip(model.prior.means, model.of_means, strict=True):
                missed = regression.targets - regression.prior_means[:, index]
                means.append(regression.prior_mean_weights[index] + gain @ missed)
                shares.append(float(each))
    stacked, weighed = np.stack(means), np.array(shares)
    mean: Vector = weighed @ stacked
    apart = (stacked - mean) @ described.T * np.sqrt(weighed)[:, None]
    return mean, covariance + apart.T @ apart


def _of_prior(
    regression: Regression, models: Sequence[_Share], described: Matrix
) -> tuple[Matrix, list[Matrix]]:
    """Condition one prior at some noise levels.

    Returns:
        Their covariance of what is described, by share and summed; the gain of each, (weights,
        networks).
    """
    prior = models[0].prior
    columns, variances = _design_matrix(regression, prior)
    used = [n for n in prior.variances if n in regression.terms]
    to_weights = np.concatenate([regression.terms[n].weights for n in used])
    told = to_weights @ described.T
    noises = [m.noise**2 * noise_scale(regression.targets, m.exponent) ** 2 for m in models]
    if len(columns) > columns.shape[1]:
        found = [_condition(columns, variances, noise) for noise in noises]
        inside = sum(m.share * each for m, (each, _) in zip(models, found, strict=True))
        return told.T @ inside @ told, [to_weights.T @ gain for _, gain in found]
    # By the networks' covariance, which is smaller than that of the effects.
    spread = columns * variances
    among = spread @ columns.T
    precise = [np.asarray(np.linalg.inv(among + np.diag(noise))) for noise in noises]
    shared = sum(m.share * each for m, each in zip(models, precise, strict=True))
    moved, weighed = spread @ told, (spread @ to_weights).T
    known = moved.T @ shared @ moved
    before = sum(m.share for m in models) * (told.T * variances) @ told
    return before - known, [weighed @ each for each in precise]


def _condition(columns: Matrix, prior: Vector, variance: Vector) -> tuple[Matrix, Matrix]:
    """Condition on the targets: the effects' posterior covariance, and the gain on residuals."""
    if len(columns) <= columns.shape[1]:
        spread = columns * prior
        gain = np.asarray(np.linalg.solve(spread @ columns.T + np.diag(variance), spread)).T
        return np.asarray(np.diag(prior) - gain @ spread), gain
    precise = columns / variance[:, None]
    inside: Matrix = np.asarray(np.linalg.inv(columns.T @ precise + np.diag(1 / prior)))
    return inside, np.asarray(inside @ precise.T)


def _leave_one_out(regression: Regression, models: Sequence[_Models]) -> tuple[Vector, Vector]:
    """Predict each network from all others: mean and standard deviation.

    The deviation is what the fit to all states, so that errors over it are of one scale with those
    of unseen networks: an outlier widens both, and not the others' alone.
    """
    count = len(regression.targets)
    residual = np.concatenate(
        [np.moveaxis(m.leave_one_out, 1, 0).reshape(count, -1) for m in models], axis=1
    )
    variance = np.concatenate(
        [np.repeat(m.leave_one_out_variance.T, len(m.prior.means), axis=1) for m in models], axis=1
    )
    evidence = np.concatenate([m.log_evidence.ravel() for m in models])
    # Without the network itself: its own contribution to the evidence is taken back.
    own = -0.5 * (residual**2 / variance + np.log(variance))
    shares = np.stack([_softmax(row) for row in evidence - own])
    predicted = regression.targets[:, None] - residual
    whole = _softmax(evidence)
    apart = predicted - (predicted @ whole)[:, None]
    return (shares * predicted).sum(axis=1), np.sqrt((variance + apart**2) @ whole)


def _leave_one_out_by_leverage(
    regression: Regression, kept: Sequence[_Share]
) -> tuple[Vector, Vector]:
    """The same by each network's leverage; one of many does not move the evidence."""
    mean = np.zeros(len(regression.targets))
    spread = np.zeros(len(regression.targets))
    for model in kept:
        columns, variances = _design_matrix(regression, model.prior)
        variance = model.noise**2 * noise_scale(regression.targets, model.exponent) ** 2
        inside, gain = _condition(columns, variances, variance)
        leverage = ((columns @ inside) * columns).sum(axis=1) / variance
        for index, each in zip(model.prior.means, model.of_means, strict=True):
            missed = regression.targets - regression.prior_means[:, index]
            residual = (missed - columns @ (gain @ missed)) / np.maximum(1 - leverage, 1e-6)
            mean += each * (regression.targets - residual)
            spread += each * variance / np.maximum(1 - leverage, 1e-6)
    return mean, np.sqrt(spread)


def _softmax(log_evidence: Vector) -> Vector:
    raised: Vector = np.exp(log_evidence - log_evidence.max())
    shares: Vector = raised / raised.sum()
    return shares
