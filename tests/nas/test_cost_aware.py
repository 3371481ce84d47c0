"""The mathematics of the cost-aware strategy, against slower ways to the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.problem.hypervolume import hypervolume
from nas.problem.pareto import nondominated
from nas.problem.problem import Objective, Problem
from nas.strategies.compression import Compression
from nas.strategies.cost_aware_sampler import CostAware
from nas.strategies.expected_hypervolume import ParetoFront
from nas.strategies.kernel import Kernel
from nas.strategies.observations import Observations
from nas.strategies.surrogate import Surrogate, first_parameters
from nas.strategies.transfer import Source, TransferKernel, source_of
from nas.testing.problems import CONDITIONAL, NUMERIC, one_cost, quality, scores
from search_spaces import Architecture, SearchSpace, load
from search_spaces.space.integer_encoding import INACTIVE, IntegerEncoder

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("space", [CONDITIONAL, NUMERIC, load("moving_digits")])
def test_rows_are_architectures(space: SearchSpace) -> None:
    coder, rng = IntegerEncoder(space), np.random.default_rng(0)
    rows = coder.sample(200, rng)
    children = coder.mutate(rows, rng.integers(1, 4, 200), rng)
    for codes in (
        rows,
        children,
        coder.crossover(rows, children, rng),
        coder.balanced_sample(30, rng),
    ):
        found = coder.architectures(codes)
        assert [space.architecture(dict(each)) for each in found] == found
        assert np.allclose(coder.codes(found), codes)
    # A number that moves a little may stay on its step.
    assert (children != rows).any(axis=1).mean() > (0.8 if space is NUMERIC else 0.999)


def test_first_points_are_balanced() -> None:
    coder = IntegerEncoder(CONDITIONAL)
    rows = coder.balanced_sample(30, np.random.default_rng(0))
    for place in range(3):
        assert np.bincount(rows[:, place].astype(int)).tolist() == [10, 10, 10]


@pytest.mark.parametrize("studies", [0, 2])
@pytest.mark.parametrize("space", [CONDITIONAL, NUMERIC])
def test_the_kernels_gradient_is_what_differences_say(space: SearchSpace, studies: int) -> None:
    coder, rng = IntegerEncoder(space), np.random.default_rng(1)
    kernel = Kernel(coder)
    if studies:
        kernel = TransferKernel(coder, [a_study(coder, rng)[0] for _ in range(studies)])
    rows = kernel.rows(coder.sample(12, rng))
    at = kernel.mean + 0.2 * rng.normal(size=kernel.mean.size)
    slope = rng.normal(size=(12, 12))
    covariance, back = kernel.with_gradient(at, rows)
    steps = 1e-5 * np.eye(at.size)
    differences = [
        ((kernel(at + s, rows, rows) - kernel(at - s, rows, rows)) * slope).sum() / 2e-5
        for s in steps
    ]
    assert np.allclose(back(slope), differences, atol=1e-6)
    assert np.allclose(covariance, kernel(at, rows, rows))
    assert np.allclose(np.diag(covariance), kernel.variance(at, rows))
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def a_study(coder: IntegerEncoder, rng: np.random.Generator) -> tuple[Source, np.ndarray]:
    """An earlier study, and what it evaluated."""
    codes = np.unique(coder.sample(30, rng), axis=0)
    found = coder.architectures(codes)
    values = np.array([quality(each) for each in found])
    return source_of(Kernel(coder), coder, found, values), codes


def test_an_earlier_study_knows_what_it_evaluated_and_little_else() -> None:
    coder, rng = IntegerEncoder(CONDITIONAL), np.random.default_rng(3)
    source, codes = a_study(coder, rng)
    kernel = TransferKernel(coder, [source])
    values = np.array([quality(each) for each in coder.architectures(codes)])
    rows = kernel.rows(codes)
    assert np.allclose(rows.means[0], (values - values.mean()) / values.std(), atol=1e-3)
    spread = rows.squares[0] - 1 - np.square(rows.means[0])
    assert np.abs(spread).max() < 1e-3
    others = kernel.rows(coder.sample(30, np.random.default_rng(4)))
    assert (others.squares[0] - 1 - np.square(others.means[0])).max() > 0.05


def test_what_is_believed_shrinks_deviations_as_an_evaluation_would() -> None:
    coder, rng = IntegerEncoder(CONDITIONAL), np.random.default_rng(2)
    kernel, codes = Kernel(coder), np.unique(coder.sample(60, rng), axis=0)
    known, asked = codes[:20], codes[20:30]
    values = rng.normal(size=20)
    values = (values - values.mean()) / values.std()  # so that one more leaves the scale alone
    parameters = first_parameters(kernel)
    guess = Surrogate(kernel, parameters, kernel.rows(known), values).predict(asked)
    guess.condition_on_mean(3)
    with_it = np.concatenate([known, asked[3:4]])
    again = Surrogate(kernel, parameters, kernel.rows(with_it), np.append(values, guess.mean[3]))
    assert np.allclose(guess.deviation / guess.deviation[0], _deviations(again, asked), rtol=1e-6)


def _deviations(surrogate: Surrogate, asked: np.ndarray) -> np.ndarray:
    found = surrogate.predict(asked).deviation
    ratios: np.ndarray = found / found[0]
    return ratios


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_expected_growth_is_the_mean_of_drawn_growths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs, qualities = rng.random((6, 1)), rng.random(6)
    frontier = ParetoFront(costs, qualities, np.array([1.1]), 0.9)
    cost, mean, deviation = rng.random((1, 1)), rng.random(1), np.array([0.3])
    draws = mean + deviation * rng.standard_normal(20_000)
    grown = [_volume(costs, qualities, cost[0, 0], draw) for draw in draws[:4000]]
    found = frontier.expected_hypervolume_improvement(cost, mean, deviation)[0]
    error = np.std(grown) / np.sqrt(len(grown))
    assert abs(found - np.mean(grown)) < 5 * error + 1e-6


def _volume(costs: np.ndarray, qualities: np.ndarray, cost: float, new: float) -> float:
    """By how much one more point grows the area under the corner (1.1, 0.9)."""

    def area(points: list[tuple[float, float]]) -> float:
        total, best = 0.0, 0.9
        for x, y in sorted(points):
            if x < 1.1 and y < best:
                total += (1.1 - x) * (best - y)
                best = y
        return total

    points = list(zip(costs[:, 0].tolist(), qualities.tolist(), strict=True))
    return area([*points, (cost, new)]) - area(points)


def test_several_costs_agree_with_one_that_counts() -> None:
    rng = np.random.default_rng(5)
    costs, qualities = rng.random((8, 1)), rng.random(8)
    flat = np.concatenate([costs, np.zeros((8, 1))], axis=1)
    one = ParetoFront(costs, qualities, np.array([1.0]), 1.0)
    two = ParetoFront(flat, qualities, np.array([1.0, 1.0]), 1.0)
    asked, mean, deviation = rng.random((5, 1)), rng.random(5), np.full(5, 0.2)
    found = two.expected_hypervolume_improvement(
        np.concatenate([asked, np.zeros((5, 1))], axis=1), mean, deviation
    )
    wanted = one.expected_hypervolume_improvement(asked, mean, deviation)
    # The points of several costs fill the box from the cheapest that was seen.
    assert np.corrcoef(found, wanted)[0, 1] > 0.97


@given(seeds, st.integers(0, 3), st.booleans())
@settings(deadline=None)
def test_the_front_is_what_nothing_beats(seed: int, dimensions: int, keep_equal: bool) -> None:
    rng = np.random.default_rng(seed)
    costs, qualities = rng.integers(4, size=(12, dimensions)) * 1.0, rng.integers(4, size=12) * 1.0
    every = np.concatenate([costs, qualities[:, None]], axis=1)
    kept = every[nondominated(every, keep_equal=keep_equal)]
    found = {tuple(row) for row in kept}
    wanted = {
        tuple(row)
        for row in every
        if not any((other <= row).all() and (other < row).any() for other in every)
    }
    assert found == wanted
    alike = sum(tuple(row) in wanted for row in every)
    assert len(kept) == (alike if keep_equal else len(wanted))


@given(seeds)
def test_compressed_keeps_the_order_and_what_is_good(seed: int) -> None:
    values = np.sort(np.random.default_rng(seed).random(20) * 10)
    compression = Compression(values[0], 2.0)
    found = compression(values)
    assert (np.diff(found) >= 0).all()
    assert np.allclose(compression.expanded(found), values)
    good = values <= values[0] + 2.0
    assert np.allclose(found[good], values[good])


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_improvement_before_compression_is_the_mean_of_draws(seed: int) -> None:
    rng = np.random.default_rng(seed)
    compression = Compression(2.0, 0.5)
    levels, mean = 2.0 + 2 * rng.random(3), 1.5 + 3 * rng.random(2)
    deviation = np.array([0.05, 0.6])
    found = compression.expected_improvement(levels, mean, deviation)
    draws = compression.expanded(mean + deviation * rng.standard_normal((40_000, 2)))
    gains = np.maximum(compression.expanded(levels)[None] - draws[:, :, None], 0.0)
    error = gains.std(axis=0) / np.sqrt(len(gains))
    assert (abs(found - gains.mean(axis=0)) < 5 * error + 1e-6).all()


@given(seeds, st.integers(0, 2))
@settings(deadline=None, max_examples=30)
def test_what_a_front_has_is_what_its_points_dominate(seed: int, dimensions: int) -> None:
    rng = np.random.default_rng(seed)
    costs, qualities = rng.random((7, dimensions)), rng.random(7)
    front = ParetoFront(costs, qualities, np.full(dimensions, 1.1), 0.9)
    points = np.column_stack([costs, qualities])
    wanted = hypervolume(points, np.append(np.full(dimensions, 1.1), 0.9))
    if dimensions == 2:  # spread points fill the box, from the cheapest seen
        wanted /= float(np.prod(1.1 - costs.min(axis=0)))
    assert front.hypervolume == pytest.approx(wanted, abs=0.02 if dimensions == 2 else 1e-9)


PROBLEM = Problem(CONDITIONAL, (Objective("loss"), Objective("latency_ms", known=True)), one_cost)


def test_inactive_decisions_cost_no_proposal() -> None:
    sampler = CostAware(PROBLEM)
    codes = sampler.coder.balanced_sample(30, np.random.default_rng(0))
    codes = np.unique(codes, axis=0)
    found = sampler.coder.architectures(codes)
    values = np.stack([[quality(each) for each in found], scores(found)], axis=1)
    proposed = sampler.propose(Observations(codes, values, codes[:0], codes[:0]), first=False)
    assert proposed
    assert not set(proposed) & set(found)
    assert all(isinstance(each, Architecture) for each in proposed)
    assert (sampler.coder.codes(proposed) == INACTIVE).any() or len(proposed[0]) == len(
        CONDITIONAL.choices
    )
