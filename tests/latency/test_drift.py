"""Drift: rounds in tables, and bounds that hold an hour later."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import latency
from latency import Measurement
from latency.measurement.drift import HOUR_S, QUANTILE, Drift, drift_of
from latency.measurement.rounds import Round, rounds_of, rounds_text
from latency.workload.workload import from_choices
from search_spaces import InputError

TAUS_S = 4.0 ** np.arange(1, 10)  # of what together is about flicker noise: 4 s to three days
JOBS_MS = np.geomspace(0.5, 50, 12)


def machine(rng: np.random.Generator, white: float, flicker: float, at_s: np.ndarray) -> np.ndarray:
    """Log latencies of a machine: white noise, and slow processes of many speeds."""
    found = white * rng.normal(size=len(at_s))
    for tau_s in TAUS_S:
        level = rng.normal()
        for place, each_s in enumerate(at_s):
            if place:
                kept = math.exp(-(each_s - at_s[place - 1]) / tau_s)
                level = kept * level + math.sqrt(1 - kept**2) * rng.normal()
            found[place] += flicker * level
    return found


def table(at_s: np.ndarray, log_factor: np.ndarray) -> list[list[Round]]:
    return [
        [Round(s, ms * math.exp(f)) for s, f in zip(at_s, log_factor, strict=True)]
        for ms in JOBS_MS
    ]


@pytest.mark.parametrize(
    ("white", "flicker"), [(0.005, 0.005), (0.1, 0.0), (0.02, 0.02), (0.01, 0.08)]
)
def test_bounds_hold_an_hour_later_on_machines_of_all_kinds(white: float, flicker: float) -> None:
    rng = np.random.default_rng(5)
    before_s = np.arange(8) * 20.0
    later_s = before_s + HOUR_S + before_s[-1]
    kept, widths = [], []
    for _ in range(80):
        both = machine(rng, white, flicker, np.concatenate([before_s, later_s]))
        drift = drift_of([table(before_s, both[:8])])
        assert drift is not None
        kept.append(abs(both[8:].mean() - both[:8].mean()) < QUANTILE * drift.deviation)
        widths.append(drift.deviation)
    assert np.mean(kept) >= 0.8  # nine in ten are wanted, of 80 machines
    assert np.median(widths) < 5 * math.hypot(white, flicker) + 0.03


def test_tables_of_one_go_are_one_and_those_of_two_are_two() -> None:
    rng, at_s = np.random.default_rng(0), np.arange(8) * 20.0
    jobs = table(at_s, machine(rng, 0.01, 0.02, at_s))
    whole = drift_of([jobs])
    assert whole is not None
    assert drift_of([jobs[:5], jobs[5:]]) == whole, "their rounds are interleaved"
    other = table(at_s + HOUR_S, machine(rng, 0.01, 0.02, at_s))
    both = drift_of([other, jobs])
    assert both is not None
    assert both.rounds == 16
    assert both.deviation < 0.5
    assert drift_of([[], [()]]) is None


def test_a_clock_that_is_set_back_makes_a_device_that_opens() -> None:
    at_s = np.array([300.0, 100, 0, 200, 400])
    back = drift_of([table(at_s, np.array([0.0, 0.01, 0.02, 0.0, 0.01]))])
    order = np.argsort(at_s)
    assert back == drift_of([table(at_s[order], np.array([0.02, 0.01, 0.0, 0.0, 0.01]))])
    assert back is not None
    assert back.span_s == 400


def test_a_stiller_machine_has_the_narrower_bounds() -> None:
    at_s = np.arange(8) * 20.0
    shape = np.array([0.0, 1, -1, 2, 0, 1, -2, -1])
    found = [drift_of([table(at_s, scale * shape)]) for scale in (0.001, 0.01, 0.1)]
    deviations = [each.deviation for each in found if each]
    assert deviations == sorted(deviations)
    assert deviations[0] < 0.02 < deviations[2]
    one_round = drift_of([table(at_s[:1], shape[:1])])
    assert one_round is not None
    assert one_round.deviation > deviations[0], "nothing is known but what machines are like"


@given(
    st.lists(
        st.tuples(st.floats(0, 1e10), st.floats(1e-4, 1e6)).map(lambda each: Round(*each)),
        max_size=5,
    )
)
def test_rounds_stand_in_a_cell(rounds: list[Round]) -> None:
    again = rounds_of(rounds_text(rounds), "here")
    assert [each.at_s for each in again] == pytest.approx([r.at_s for r in rounds], abs=0.1)
    assert [each.latency_ms for each in again] == pytest.approx(
        [r.latency_ms for r in rounds], rel=1e-5
    )


@pytest.mark.parametrize("cell", ["12", "a:b", "1:-2", "-1:2", "1:inf", "nan:2", "1:2:3"])
def test_a_cell_of_anything_else_is_refused(cell: str) -> None:
    with pytest.raises(InputError, match=r"row 7: .* is no round; expected seconds since 1970"):
        rounds_of(cell, "row 7")
    assert rounds_of("", "row 7") == rounds_of(None, "row 7") == rounds_of(math.nan, "row 7") == ()


@pytest.fixture(scope="module")
def device() -> latency.Device:
    rng = np.random.default_rng(1)
    names = [[("a", str(rng.integers(3))), ("b", str(rng.integers(3)))] for _ in range(20)]
    return latency.calibrate(
        [
            Measurement(from_choices(str(i), row), 5.0 + sum(int(o) for _, o in row) + 0.1 * i)
            for i, row in enumerate(names)
        ],
        "phone",
    )


def test_a_device_s_bounds_have_a_part_of_drift(device: latency.Device, tmp_path: Path) -> None:
    drifting = replace(device, drift=Drift(0.1, 8, 140.0))
    network = from_choices("n", [("a", "1"), ("b", "2")])
    before, after = device.predict(network), drifting.predict(network)
    assert after.latency_ms == before.latency_ms
    up = math.log(after.high_ms / after.latency_ms)
    assert up == pytest.approx(
        math.hypot(math.log(before.high_ms / before.latency_ms), QUANTILE * 0.1)
    )
    assert after.low_ms < before.low_ms
    assert drifting.same_hour.predict(network) == before
    drifting.save(tmp_path / "d.json")
    again = latency.read_device(tmp_path / "d.json")
    assert again.drift == drifting.drift
    assert again.predict(network).high_ms == pytest.approx(after.high_ms)
    content = json.loads((tmp_path / "d.json").read_text())
    for wrong, words in (
        ({"deviation": 2.0}, "deviation from 0 to 1"),
        ({"rounds": 0}, "whole number from 1"),
        ({"span_s": "x"}, "span_s"),
    ):
        broken = {**content, "drift": {**content["drift"], **wrong}}
        (tmp_path / "b.json").write_text(json.dumps(broken))
        with pytest.raises(InputError, match=words):
            latency.read_device(tmp_path / "b.json")
