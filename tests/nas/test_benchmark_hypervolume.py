"""Hypervolumes are exact, and grow as points come."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.problem.hypervolume import growth, hypervolume
from nas.problem.pareto import nondominated

Matrix = npt.NDArray[np.float64]


def clouds(objectives: int) -> st.SearchStrategy[Matrix]:
    """Points on a small grid, so that many are equal in an objective, or beyond the reference."""
    point = st.tuples(*[st.integers(0, 6)] * objectives)
    return st.lists(point, min_size=1, max_size=14).map(lambda rows: np.array(rows, dtype=float))


def counted(points: Matrix, corner: int) -> float:
    """Cells of a grid that some point dominates."""
    cells = itertools.product(range(corner), repeat=points.shape[1])
    return float(sum((points <= np.array(cell)).all(axis=1).any() for cell in cells))


@pytest.mark.slow
@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_volumes_are_what_counting_cells_finds(objectives: int) -> None:
    @given(clouds(objectives))
    def check(points: Matrix) -> None:
        corner = np.full(objectives, 5.0)
        curve = growth(points, corner)
        for count in range(1, len(points) + 1):
            assert curve[count - 1] == pytest.approx(counted(points[:count], 5))
        assert hypervolume(points, corner) == curve[-1]

    check()


@given(clouds(2))
def test_the_order_of_points_does_not_matter(points: Matrix) -> None:
    order = np.random.default_rng(0).permutation(len(points))
    corner = np.array([6.5, 5.5])
    assert hypervolume(points, corner) == pytest.approx(hypervolume(points[order], corner))


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_only_points_that_nothing_beats_carry_volume(objectives: int) -> None:
    points = np.random.default_rng(1).random((200, objectives))
    corner = np.full(objectives, 0.9)
    kept = nondominated(points, keep_equal=True)
    assert kept.sum() < 200
    assert hypervolume(points[kept], corner) == pytest.approx(hypervolume(points, corner))


def test_beyond_the_reference_nothing_counts() -> None:
    corner = np.array([1.0, 1.0])
    assert hypervolume(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, -5.0]]), corner) == 0
    assert hypervolume(np.empty((0, 2)), corner) == 0
