"""Networks of different designs: bounds say what a design that nobody measured may add."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import latency
from latency import Measurement, Operation, Workload
from latency.cost_model import analytical
from latency.cost_model.designs import FAMILY, SCALES, TAILS, fit_designs
from latency.cost_model.work_amounts import WORK_KINDS, amounts
from latency.predictor.calibration import UNKNOWN

TRUE_MS = np.array(UNKNOWN.medians) * 1.5


def network(seed: int, name: str = "net") -> Workload:
    """Convolutions and depthwise ones, or products and norms of a transformer, of random sizes."""
    draw = np.random.default_rng(seed)
    attentive, operations = draw.random() < 0.4, []
    for _ in range(int(draw.integers(5, 40))):
        channels, side = int(draw.integers(16, 512)), int(draw.integers(4, 64))
        numbers = channels * side * side
        kinds = ("matmul", "normalisation") if attentive else ("convolution", "depthwise")
        kind = str(draw.choice(kinds))
        product = (
            2 * numbers * {"convolution": channels, "matmul": channels, "depthwise": 9}.get(kind, 0)
        )
        stored = 4 * channels * {"depthwise": 9, "normalisation": 2}.get(kind, channels)
        operations.append(Operation(kind, (1, channels, side, side), product, 8 * numbers, stored))
    return Workload(f"{name}{seed}", tuple(operations))


def measured(seeds: range, design: float, draw: int = 0, name: str = "net") -> list[Measurement]:
    """By known costs, times what each design adds: a factor of exp(design) at one deviation."""
    noise = np.random.default_rng([draw, seeds.start])
    found = []
    for seed in seeds:
        workload = network(seed, name)
        latency_ms = float(TRUE_MS @ amounts(workload)[: len(WORK_KINDS)])
        error = design * noise.normal() + 0.03 * noise.normal()
        found.append(Measurement(workload, latency_ms * math.exp(error)))
    return found


def held(design: float, count: int, draws: int = 6) -> float:
    """How often the 90% bounds hold of unseen designs, a mean over draws."""
    inside = []
    for draw in range(draws):
        begin = 1000 * draw
        device = latency.calibrate(measured(range(begin, begin + count), design, draw), "host")
        for unseen in measured(range(begin + 500, begin + 540), design, draw):
            found = device.predict(unseen.workload)
            inside.append(found.low_ms <= unseen.latency_ms <= found.high_ms)
    return float(np.mean(inside))


@pytest.mark.long
@given(design=st.floats(0.05, 0.3))
@settings(max_examples=3, deadline=None, derandomize=True)
def test_bounds_hold_of_few_measured_as_of_many(design: float) -> None:
    few, more = held(design, 5), held(design, 20)
    assert few > 0.8
    assert more > 0.85
    assert more > few - 0.1


def test_designs_are_no_surprise_where_they_are_no_design() -> None:
    """Where every design costs what its work does, many measurements say so."""
    near, _ = fit_designs(measured(range(30), 0.0), UNKNOWN)
    far, _ = fit_designs(measured(range(30), 0.4), UNKNOWN)
    assert near.family[0] < 0.5 * FAMILY[0] * TAILS < far.family[0]
    assert max(far.family) <= TAILS * SCALES[-1] * max(FAMILY)


def test_costs_are_what_they_are_without_doubt() -> None:
    seen = measured(range(8), 0.2)
    plain, (doubted, errors) = analytical.fit(seen, UNKNOWN), fit_designs(seen, UNKNOWN)
    assert doubted.log_costs == plain.log_costs
    assert doubted.amplitude == plain.amplitude
    assert errors.shape == (8,)
    assert np.isfinite(errors).all()


def test_parts_of_one_space_have_the_bounds_that_they_had() -> None:
    """What is named after its choice has no design of its own."""
    seen = measured(range(8), 0.2, name="slot=conv")
    assert latency.calibrate(seen, "host").analytical == analytical.fit(seen, UNKNOWN)
    mixed = [*seen, *measured(range(8, 10), 0.2)]
    assert latency.calibrate(mixed, "host").analytical == analytical.fit(mixed, UNKNOWN)


def test_a_network_measured_again_is_no_other_design() -> None:
    seen = measured(range(6), 0.3)
    once = latency.calibrate(seen, "host").predict(network(99))
    again = latency.calibrate([*seen, *seen], "host").predict(network(99))
    assert again == once
    moved = [replace(m, latency_ms=m.latency_ms * f) for m in seen for f in (0.9, 1.1)]
    assert latency.calibrate(moved, "host").predict(network(99)).latency_ms == pytest.approx(
        once.latency_ms, rel=1e-6
    )


def test_saved_and_read_it_says_the_same(tmp_path: Path) -> None:
    device = latency.calibrate(measured(range(5), 0.3), "host")
    device.save(tmp_path / "host.json")
    again = latency.read_device(tmp_path / "host.json")
    for seed in range(50, 55):
        one, other = device.predict(network(seed)), again.predict(network(seed))
        assert other.latency_ms == pytest.approx(one.latency_ms, rel=1e-9)
        assert other.low_ms == pytest.approx(one.low_ms, rel=1e-9)
        assert other.high_ms == pytest.approx(one.high_ms, rel=1e-9)
    assert again.analytical is not None
    assert again.analytical.spread(network(60)).family > 0.05


@pytest.mark.slow
@given(times=st.lists(st.floats(1e-3, 1e4), min_size=2, max_size=6, unique=True))
@settings(max_examples=25, deadline=None)
def test_any_times_give_finite_bounds(times: list[float]) -> None:
    seen = [Measurement(network(seed), ms) for seed, ms in enumerate(times)]
    found = latency.calibrate(seen, "host").predict(network(99))
    assert 0 < found.low_ms <= found.latency_ms <= found.high_ms < np.inf
