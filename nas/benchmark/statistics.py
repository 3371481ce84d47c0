"""How strategies did: shares with their spread, evaluations to a share, ranks and their proof."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from nas.benchmark.results import Run
from nas.benchmark.tabular import Benchmark
from nas.problem.problem import Matrix, Vector

COUNTS = (50, 100, 200, 500)
GOALS = (0.90, 0.95, 0.99)
BAND = (0.05, 0.95)


@dataclass(frozen=True)
class ShareAt:
    """The share of the true front's hypervolume after so many evaluations, over seeds."""

    evaluations: int
    mean: float
    deviation: float
    low: float  # of the band that holds 90% of the seeds
    high: float


@dataclass(frozen=True)
class RegretAt:
    """What the best of so many evaluations lacks of the true best, over seeds."""

    evaluations: int
    mean: float
    deviation: float


@dataclass(frozen=True)
class EvaluationsTo:
    """How many evaluations it took to a share: the median over seeds, None where most failed."""

    share: float
    median: float | None
    reached: int
    seeds: int


@dataclass(frozen=True)
class Standing:
    """One strategy's results.

    Args:
        strategy: its name.
        shares: at each count.
        evaluations_to: each goal.
        own_ms: CPU time of the strategy a trial; the median of the seeds' means.
        rank: the mean over seeds, 1 being the best, by the mean of the shares at all counts.
        curve: the share after each evaluation, (seeds, evaluations).
        regrets: at each count, where one objective is judged; else none.
    """

    strategy: str
    shares: tuple[ShareAt, ...]
    evaluations_to: tuple[EvaluationsTo, ...]
    own_ms: float
    rank: float
    curve: Matrix
    regrets: tuple[RegretAt, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two strategies on the same seeds: Wilcoxon's signed ranks, corrected after Holm."""

    better: str
    worse: str
    p: float


@dataclass(frozen=True)
class Summary:
    """All strategies, the best rank first.

    Args:
        standings: one a strategy.
        friedman_p: how likely such ranks are by chance; None for fewer than three strategies or
            two seeds.
        pairs: every two strategies, the surest difference first.
    """

    standings: tuple[Standing, ...]
    friedman_p: float | None
    pairs: tuple[Pair, ...]

    def least_p(self, seeds: int) -> float:
        """The smallest p that so many seeds can give to the surest of these pairs."""
        return min(1.0, 2.0 ** (1 - seeds) * len(self.pairs))


def summary(
    benchmark: Benchmark, runs: Sequence[Run], counts: Sequence[int] | None = None
) -> Summary:
    """How the runs of every strategy did, all with the same seeds.

    Args:
        benchmark: what they searched.
        runs: of `compared`.
        counts: evaluations after which shares are told; by default those of `COUNTS` that fit, or
            else a quarter and a half; and always the last.
    """
    length = max(len(run.values) for run in runs)
    curves: dict[str, list[Vector]] = {}
    own_ms: dict[str, list[float]] = {}
    for run in runs:
        curves.setdefault(run.strategy, []).append(_held(benchmark.shares(run.values), length))
        own_ms.setdefault(run.strategy, []).append(run.own_ms)
    found = summary_of(
        {name: np.stack(each) for name, each in curves.items()},
        {name: float(np.median(each)) for name, each in own_ms.items()},
        counts,
    )
    if len(benchmark.judged) > 1:
        return found
    standings = tuple(
        replace(each, regrets=_regrets(benchmark, runs, each, length)) for each in found.standings
    )
    return replace(found, standings=standings)


def judged(benchmark: Benchmark, runs: Sequence[Run]) -> pd.DataFrame:
    """Share and regret after every trial of every run: strategy, seed, trial, share, regret."""
    parts = [
        pd.DataFrame(
            {
                "strategy": run.strategy,
                "seed": run.seed,
                "trial": np.arange(len(run.values)),
                "share": benchmark.shares(run.values),
                "regret": benchmark.regrets(run.values),
            }
        )
        for run in runs
    ]
    return pd.concat(parts, ignore_index=True)


def _regrets(
    benchmark: Benchmark, runs: Sequence[Run], standing: Standing, length: int
) -> tuple[RegretAt, ...]:
    own = (run for run in runs if run.strategy == standing.strategy)
    curves = np.stack([_held(benchmark.regrets(np.asarray(run.values)), length) for run in own])
    columns = ((share.evaluations, curves[:, share.evaluations - 1]) for share in standing.shares)
    return tuple(
        RegretAt(count, float(column.mean()), _deviation(column)) for count, column in columns
    )


def _deviation(column: Vector) -> float:
    return float(column.std(ddof=1)) if len(column) > 1 else 0.0


def summary_of(
    curves: Mapping[str, Matrix],
    own_ms: Mapping[str, float],
    counts: Sequence[int] | None = None,
) -> Summary:
    """The same from curves (seeds, evaluations); their rows are alike in all strategies."""
    length = next(iter(curves.values())).shape[1]
    fitting = {count for count in counts or COUNTS if count < length}
    if not fitting and counts is None:
        fitting = {max(1, length // 4), max(1, length // 2)}
    counts = sorted(fitting | {length})
    at = np.array(counts) - 1
    scores = np.stack([curve[:, at].mean(axis=1) for curve in curves.values()], axis=1)
    ranks = dict(zip(curves, _ranks(scores), strict=True))
    standings = [
        Standing(
            name,
            tuple(_share_at(curve, count) for count in counts),
            tuple(_evaluations_to(curve, goal) for goal in GOALS),
            own_ms[name],
            ranks[name],
            curve,
        )
        for name, curve in curves.items()
    ]
    standings.sort(key=lambda standing: standing.rank)
    return Summary(tuple(standings), _friedman(scores), _pairs(list(curves), scores))


def _held(shares: Vector, length: int) -> Vector:
    """A run that ended early has its last share from then on."""
    return np.pad(shares, (0, length - len(shares)), mode="edge")


def _share_at(curve: Matrix, count: int) -> ShareAt:
    column = curve[:, count - 1]
    low, high = np.quantile(column, BAND)
    return ShareAt(count, float(column.mean()), _deviation(column), float(low), float(high))


def _evaluations_to(curve: Matrix, goal: float) -> EvaluationsTo:
    reached = (curve >= goal).any(axis=1)
    first = np.where(reached, (curve >= goal).argmax(axis=1) + 1.0, np.inf)
    middle = float(np.quantile(first, 0.5, method="higher"))  # seeds that failed count as never
    median = middle if np.isfinite(middle) else None
    return EvaluationsTo(goal, median, int(reached.sum()), len(curve))


def _ranks(scores: Matrix) -> list[float]:
    """The mean rank of each strategy over seeds (seeds, strategies), ties sharing theirs."""
    from scipy.stats import rankdata

    found: list[float] = rankdata(-scores, axis=1).mean(axis=0).tolist()
    return found


def _friedman(scores: Matrix) -> float | None:
    from scipy.stats import friedmanchisquare

    seeds, strategies = scores.shape
    if strategies < 3 or seeds < 2 or (scores == scores[:, :1]).all():
        return None
    return float(friedmanchisquare(*scores.T).pvalue)


def _pairs(names: Sequence[str], scores: Matrix) -> tuple[Pair, ...]:
    from scipy.stats import wilcoxon

    found = []
    for first, second in combinations(range(len(names)), 2):
        difference = scores[:, first] - scores[:, second]
        p = float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0
        better, worse = (first, second) if difference.mean() >= 0 else (second, first)
        found.append(Pair(names[better], names[worse], p))
    found.sort(key=lambda pair: pair.p)
    corrected, least = [], 0.0
    for place, pair in enumerate(found):  # Holm 1979
        least = max(least, min(1.0, pair.p * (len(found) - place)))
        corrected.append(Pair(pair.better, pair.worse, least))
    return tuple(corrected)
