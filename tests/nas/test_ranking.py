"""How orders are compared, on orders whose agreement is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from nas.benchmark.ranking import RESAMPLES, Ranking, report, signed
from search_spaces import InputError


def some(seed: int, count: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


@pytest.mark.slow
@given(st.integers(0, 10_000), st.floats(0, 3))
def test_tau_is_scipys_where_nothing_is_equal(seed: int, noise: float) -> None:
    losses = some(seed)
    scores = losses + noise * some(seed + 1)
    found = Ranking(losses).agreement([scores]).tau.value
    assert found == pytest.approx(kendalltau(losses, scores)[0])


def test_the_same_order_agrees_wholly_and_the_opposite_not_at_all() -> None:
    losses = some(0)
    same, opposite = (Ranking(losses).agreement([s]) for s in (3 * losses + 1, -losses))
    assert (same.tau.value, same.tau.low, same.tau_better_half.value) == (1, 1, 1)
    assert (opposite.tau.value, opposite.tau.high) == (-1, -1)
    assert same.regret == same.regret_of_first == 0 < opposite.regret < opposite.regret_of_first


def test_a_score_that_sees_only_the_worse_half_knows_nothing_of_the_better() -> None:
    losses = np.sort(some(1, 400))
    scores = losses.copy()
    scores[:200] = np.random.default_rng(2).permutation(losses[:200])
    found = Ranking(losses).agreement([scores])
    assert found.tau.value > 0.6
    assert abs(found.tau_better_half.value) < 0.15


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    # With noise of the losses' own spread, Kendall's tau tends to 2/pi asin(1/sqrt(2)) = 0.5.
    held = 0
    for seed in range(60):
        losses = some(1000 + seed)
        tau = Ranking(losses).agreement([losses + some(5000 + seed)]).tau
        held += tau.low <= 0.5 <= tau.high
    assert 46 <= held <= 60


def test_scores_meet_the_same_resamples() -> None:
    losses = some(3)
    near, far = losses + 0.3 * some(4), losses + 2 * some(5)
    ranking = Ranking(losses)
    advantage = ranking.advantage([near], [far])
    assert ranking.advantage([near], [near]) == type(advantage)(0, 0, 0)
    assert 0 < advantage.low < advantage.value < advantage.high
    assert len(ranking.taus([near])) == RESAMPLES + 1


def test_trivial_scores_take_the_sign_that_suits_them() -> None:
    losses = some(6)
    assert np.array_equal(signed(losses, -losses), losses)


def test_the_report_names_every_score() -> None:
    losses = some(7)
    text = report([losses, losses + 0.1 * some(8)], {"uniform": [losses]}, {"FLOPs": -losses})
    for name in ("alone, seed to seed", "uniform", "above FLOPs", "FLOPs"):
        assert name in text


@pytest.mark.parametrize("losses", [np.arange(5.0), np.array([np.nan] * 20)])
def test_too_little_to_rank(losses: np.ndarray) -> None:
    with pytest.raises(InputError, match="at least 10 architectures"):
        Ranking(losses)
