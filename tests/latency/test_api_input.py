"""What the Python API is given by mistake is refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import latency
from latency import EncodedPredictor, Measurement, Source, Workload, concatenate, from_choices
from search_spaces import Choice, InputError, NumericChoice, SearchSpace

NETWORKS = [from_choices(str(n), [("a", n % 3), ("b", n % 4)]) for n in range(24)]
MEASURED = [Measurement(w, 2.0 + n % 3 + n % 4) for n, w in enumerate(NETWORKS)]
SPACE = SearchSpace("s", (Choice("a", (0, 1, 2)), Choice("b", (0, 1, 2, 3))))
DEVICE = latency.calibrate(MEASURED, "x")


def of_numbers(name: str) -> SearchSpace:
    return SearchSpace("t", (NumericChoice(name, 0.0, 2.0), Choice("b", (0, 1, 2, 3))))


MISTAKES: dict[str, Callable[[], object]] = {
    "latency '3' is not a number": lambda: Measurement(NETWORKS[0], "3"),  # type: ignore[arg-type]
    "no device to borrow from": lambda: latency.learn_sources([]),
    "2 latencies of 24": lambda: latency.learn_sources([Source("s", NETWORKS, [1.0, 2.0])]),
    "w: 'big' is not a number": lambda: from_choices("n", [("w", "big")], {"w"}),
    "no measurements to compare": lambda: DEVICE.validated([], "held out"),
    "knows nothing of 'q'": lambda: EncodedPredictor.of_choices(DEVICE, of_numbers("q")),
    "knows 'a' as options": lambda: EncodedPredictor.of_choices(DEVICE, of_numbers("a")),
    "no.json: no such file": lambda: latency.read_device("no.json"),
    "expected 7 columns": lambda: EncodedPredictor.of_choices(DEVICE, SPACE).predict(np.ones(7)),
    "w is out of range": lambda: latency.calibrate(
        [Measurement(from_choices("n", [("w", n)], {"w"}), 2 - 1 / n) for n in (1, 1e300)], "x"
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_named(message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        MISTAKES[message]()
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    measured = [Measurement(m.workload, np.float32(m.latency_ms)) for m in MEASURED]  # type: ignore[arg-type]
    latency.calibrate(measured, "x").save(tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text())["measurements"][0]["latency_ms"] == 2.0
    assert latency.read_device(str(tmp_path / "x.json")).name == "x"


def test_few_candidates_are_all_worth_measuring() -> None:
    assert latency.worth_measuring([], 3) == []
    assert latency.worth_measuring(NETWORKS[:1], 3) == [0]
    assert sorted(latency.worth_measuring(NETWORKS[:4], 9)) == [0, 1, 2, 3]


def test_parts_without_operations_cost_nothing() -> None:
    empty = Workload("nothing", ())
    nets = [concatenate("n", [empty]), concatenate("m", [empty, Workload("other", ())])]
    device = latency.calibrate([Measurement(n, 1.0 + i) for i, n in enumerate(nets)], "x")
    assert 0 < device.predict(nets[0]).latency_ms < 3
