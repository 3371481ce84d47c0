"""How well one order of architectures agrees with another: can a supernet's ranking be trusted?

Losses and scores are low where an architecture is good. Intervals are percentiles of a bootstrap
over architectures; a pair of copies of one architecture counts as no pair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from search_spaces import InputError

Vector = npt.NDArray[np.float64]
RESAMPLES = 2000
CONFIDENCE = 0.9
TOP = 5
SEED_TO_SEED = "alone, seed to seed"


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its bootstrap."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Agreement:
    """How a score ranks architectures whose losses are known."""

    tau: (
        Interval  # Kendall's, over pairs whose losses differ; equal scores agree with neither order
    )
    tau_better_half: Interval  # over pairs of the better half, as the losses have it
    spearman: float
    regret: float  # loss of the best of the score's top five, above the best of all
    regret_of_first: float  # loss of the score's best, above the best of all


@dataclass(frozen=True)
class Ranking:
    """Known losses of n architectures, against which scores are held.

    Args:
        losses: (n,), lower is better.
        seed: of the bootstrap. All scores meet the same resamples: differences are paired.
    """

    losses: Vector
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.losses) < 2 * TOP or not np.isfinite(self.losses).all():
            raise InputError(
                f"a ranking needs at least {2 * TOP} architectures with finite losses; "
                f"found {int(np.isfinite(self.losses).sum())} of {len(self.losses)}"
            )

    def agreement(self, scores: Sequence[Vector]) -> Agreement:
        """The mean agreement of scores that stand for one another (seeds of one recipe).

        Args:
            scores: each (n,), lower is better.
        """
        top = [np.argsort(score, kind="stable")[:TOP] for score in scores]
        return Agreement(
            tau=_interval(self.taus(scores)),
            tau_better_half=_interval(self.taus(scores, self.better_half)),
            spearman=float(np.mean([spearmanr(self.losses, score)[0] for score in scores])),
            regret=float(np.mean([self.losses[best].min() for best in top]) - self.losses.min()),
            regret_of_first=float(
                np.mean([self.losses[best[0]] for best in top]) - self.losses.min()
            ),
        )

    @property
    def better_half(self) -> npt.NDArray[np.intp]:
        """The indices of the better half."""
        return np.argsort(self.losses, kind="stable")[: len(self.losses) // 2]

    def taus(
        self, scores: Sequence[Vector], among: npt.NDArray[np.intp] | None = None
    ) -> npt.NDArray[np.float64]:
        """Kendall's tau, the mean over the scores: of the architectures, then of each resample."""
        chosen = np.arange(len(self.losses)) if among is None else among
        rng = np.random.default_rng(self.seed)
        counts = rng.multinomial(len(chosen), np.full(len(chosen), 1 / len(chosen)), RESAMPLES)
        weights = np.concatenate([np.ones((1, len(chosen))), counts])
        known = _order(self.losses[chosen])
        found = [_weighted_tau(known, _order(score[chosen]), weights) for score in scores]
        mean: npt.NDArray[np.float64] = np.mean(found, axis=0)
        return mean

    def advantage(
        self,
        scores: Sequence[Vector],
        other: Sequence[Vector],
        among: npt.NDArray[np.intp] | None = None,
    ) -> Interval:
        """By how much the tau of `scores` is above that of `other`, resample by resample."""
        return _interval(self.taus(scores, among) - self.taus(other, among))


def signed(losses: Vector, score: Vector) -> Vector:
    """The score or its opposite, whichever agrees better: what a trivial score could be at best."""
    return score if _order(losses).ravel() @ _order(score).ravel() >= 0 else -score


def report(
    alone: Sequence[Vector], shared: Mapping[str, Sequence[Vector]], trivial: Mapping[str, Vector]
) -> str:
    """The table of a ranking benchmark, for people.

    Args:
        alone: the losses (n,) of the networks trained alone, one for each seed.
        shared: by recipe, the losses of the supernet's paths, one for each seed.
        trivial: scores that need no training; each is taken with the sign that suits it best.
    """
    ranking = Ranking(np.mean(alone, axis=0))
    scores = {
        name: [signed(ranking.losses, score)]
        for name, score in trivial.items()
        if score.min() < score.max()  # what is the same for all ranks nothing
    }
    strongest = max(scores, key=lambda name: ranking.taus(scores[name])[0], default=None)
    best, worst = ranking.losses.min(), ranking.losses.max()
    width = 2 + max(map(len, [SEED_TO_SEED, *shared, *scores]))
    lines = [
        f"{len(ranking.losses)} architectures, losses {best:.4f} to {worst:.4f}",
        f"tau with {CONFIDENCE:.0%} intervals over architectures",
        (
            f"{'':{width}}{'tau, all':24}{'tau, better half':24}{'Spearman':10}"
            f"{'regret: top 5':15}{'first':9}"
        ),
    ]
    if len(alone) > 1:
        first = Ranking(np.asarray(alone[0]))
        lines.append(_line(SEED_TO_SEED, width, first.agreement(alone[1:])))
    for name, losses in shared.items():
        lines.append(_line(name, width, ranking.agreement(losses)))
        if strongest is not None:
            above = ranking.advantage(losses, scores[strongest])
            lines.append(f"{'':4}above {strongest}: {above}")
    lines += [_line(name, width, ranking.agreement(score)) for name, score in scores.items()]
    return "\n".join(lines)


def _line(name: str, width: int, found: Agreement) -> str:
    return (
        f"{name:{width}}{found.tau!s:24}{found.tau_better_half!s:24}"
        f"{found.spearman:<10.3f}{found.regret:<15.5f}{found.regret_of_first:<9.5f}"
    )


def _order(values: Vector) -> npt.NDArray[np.float64]:
    """(n, n): 1 where the row's value is above the column's, -1 below, 0 equal."""
    signs: npt.NDArray[np.float64] = np.sign(values[:, None] - values[None])
    return signs


def _weighted_tau(
    known: npt.NDArray[np.float64],
    found: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Kendall's tau (r,) with each architecture counted (r, n) times, over pairs that differ."""
    agreeing = np.einsum("ri,ij,rj->r", weights, known * found, weights)
    pairs = np.einsum("ri,ij,rj->r", weights, known * known, weights)
    taus: npt.NDArray[np.float64] = agreeing / np.maximum(pairs, 1)
    return taus


def _interval(values: npt.NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(values[0]), float(low), float(high))
