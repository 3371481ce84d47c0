"""Costs of options by name, where they multiply."""

from pathlib import Path

import numpy as np
import pytest

import latency
import nas
from nas.calibration.validated import doubts, status
from nas.costs.named_costs import NamedCosts
from nas.costs.workloads import workload_of
from search_spaces import Architecture, Choice, SearchSpace

SPACE = SearchSpace(
    "products",
    (
        Choice("width", (16, 24, 32, 48)),
        Choice("depth", (2, 3, 4, 6)),
        Choice("expand", (2, 3, 4, 6)),
        Choice("kernel", (3, 5, 7)),
    ),
)


def true_ms(each: Architecture) -> float:
    width, depth, expand, kernel = (float(str(option)) for option in each.values())
    return 0.01 * width * depth * expand * (1 + 0.1 * kernel)


def accuracy(each: Architecture) -> float:
    """More of anything is better, and costs."""
    return 60 + float(sum(np.sqrt(float(str(option))) for option in each.values()))


def phone(noise: float = 0.02, seed: int = 0) -> latency.Device:
    """Calibrated on sixty networks."""
    rng = np.random.default_rng(seed)
    found = dict[Architecture, None]()
    while len(found) < 60:
        found.setdefault(SPACE.sample(rng))
    return latency.calibrate(
        [
            latency.Measurement(workload_of(SPACE, a, None), true_ms(a) * rng.normal(1, noise))
            for a in found
        ],
        "phone",
    )


def test_an_option_adds_what_the_network_takes_beside_its_quickest() -> None:
    costs = NamedCosts(SPACE, phone(noise=1e-3))
    rng = np.random.default_rng(1)
    for each in (SPACE.sample(rng) for _ in range(20)):
        added_ms = costs.per_choice_ms(each)
        assert set(added_ms) == set(each)
        for name, ms in added_ms.items():
            choice = next(c for c in SPACE.choices if c.name == name)
            quickest = SPACE.architecture({**each, name: choice.options[0]})  # type: ignore[union-attr]
            assert ms >= 0
            assert ms == pytest.approx(true_ms(each) - true_ms(quickest), abs=0.02 * true_ms(each))


def test_the_quickest_network_takes_time() -> None:
    costs = NamedCosts(SPACE, phone())
    for extreme, expected in ((costs.fastest, min), (costs.slowest, max)):
        wanted_ms = expected(true_ms(each) for each in SPACE.enumerate())
        assert costs.network_ms(extreme).latency_ms == pytest.approx(wanted_ms, rel=0.1)
        assert true_ms(extreme) == pytest.approx(wanted_ms, rel=0.1)


def test_a_device_says_that_its_options_multiply() -> None:
    device = phone()
    assert status(device) == "60 networks measured, options multiply"
    assert doubts(device) == []
    rough = phone(noise=0.3)
    (said,) = doubts(rough)
    assert "measure more, or give what builds the networks" in said


@pytest.mark.slow
def test_a_search_keeps_its_limit_where_options_multiply(tmp_path: Path) -> None:
    phone().save(tmp_path / "phone.json")
    task = nas.Task(SPACE, accuracy, ["accuracy_pct:max", "latency_ms"])
    found = nas.search(
        tmp_path / "run",
        task,
        device=str(tmp_path / "phone.json"),
        at_most={"latency_ms": 3.0},
        trials=30,
    )
    assert true_ms(found.winner.architecture) <= 1.1 * 3.0
    best = max(accuracy(each) for each in SPACE.enumerate() if true_ms(each) <= 3.0)
    assert accuracy(found.winner.architecture) > best - 1
