"""Calibration: what is recovered, what is refused, and how it does on public measurements."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import latency
from latency import (
    Device,
    Measurement,
    Operation,
    Prediction,
    Source,
    Workload,
    concatenate,
    from_choices,
)
from latency.cost_model.roofline import Roofline
from latency.measurement.validation import validate
from latency.predictor.published import workloads
from latency.regression.bounds import conformal_quantile
from search_spaces import InputError, read_table
from search_spaces.files.document import Json


def block(name: str, gflops: float, mb: float) -> Workload:
    return Workload(name, (Operation("convolution", (1,), int(gflops * 1e9), int(mb * 1e6)),))


def tabular(rng: np.random.Generator, count: int) -> list[list[tuple[str, object]]]:
    options = ["none", "conv", "attention", "pool"]
    return [[(f"s{i}", options[rng.integers(4)]) for i in range(6)] for _ in range(count)]


TRUE_MS = {"none": 0.1, "conv": 2.0, "attention": 5.0, "pool": 0.7}


def time_ms(choices: list[tuple[str, object]]) -> float:
    return 3.0 + sum(TRUE_MS[str(option)] for _, option in choices)


def test_ten_networks_recover_an_additive_device() -> None:
    rng = np.random.default_rng(0)
    networks = [from_choices(str(c), c) for c in tabular(rng, 200)]
    choices = tabular(np.random.default_rng(0), 200)
    measured = [Measurement(w, time_ms(c)) for w, c in zip(networks, choices, strict=True)]
    device = latency.calibrate(measured[:20], "made up").validated(measured[20:], "held out")
    assert device.validation is not None
    assert device.validation.mape_pct < 3
    assert device.validation.spearman > 0.98


def test_a_measured_block_is_answered_from_its_measurement() -> None:
    blocks = [block(f"b{n}", n, n) for n in range(1, 7)]
    device = latency.calibrate(
        [Measurement(b, 0.3 + 1.7 * n) for n, b in enumerate(blocks, start=1)], "made up"
    )
    assert device.predict(blocks[2]).latency_ms == pytest.approx(0.3 + 1.7 * 3)
    network = concatenate("n", blocks[:3])
    assert device.predict(network).latency_ms == pytest.approx(3 * 0.3 + 1.7 * 6)


def test_blocks_and_networks_together_learn_what_blocks_miss() -> None:
    rng = np.random.default_rng(0)
    blocks = [block(f"s{n}=b{n}", *rng.uniform(0.1, 2, 2)) for n in range(8)]
    alone_ms = rng.uniform(0.5, 3, 8)
    seen = [Measurement(b, float(ms)) for b, ms in zip(blocks, alone_ms, strict=True)]

    def network(rng: np.random.Generator) -> Measurement:
        chosen = [n for n in range(8) if rng.random() < 0.6] or [0]
        whole_ms = 1.5 + 0.8 * sum(alone_ms[n] for n in chosen)
        return Measurement(concatenate(str(chosen), [blocks[n] for n in chosen]), float(whole_ms))

    seen += [network(rng) for _ in range(12)]
    device = latency.calibrate(seen, "made up").validated([network(rng) for _ in range(40)], "x")
    assert device.validation is not None
    assert device.validation.mape_pct < 2


def test_a_roofline_is_the_larger_of_arithmetic_and_traffic() -> None:
    roofline = Roofline(gflop_per_s=1000, gb_per_s=100, launch_ms=0.01)
    assert roofline.latency_ms(block("compute", 10, 1)) == pytest.approx(0.01 + 10)
    assert roofline.latency_ms(block("traffic", 0.001, 500)) == pytest.approx(0.01 + 5)


@given(st.lists(st.floats(-3, 3), min_size=60, max_size=200))
def test_bounds_follow_what_they_have_seen(errors: list[float]) -> None:
    wider = conformal_quantile([2 * error for error in errors])
    assert conformal_quantile(errors) <= wider
    inside = sum(abs(error) <= 1.3 * conformal_quantile(errors) + 0.3 for error in errors)
    assert inside >= 0.85 * len(errors)


def test_bounds_of_normal_errors_are_normal_quantiles() -> None:
    errors = np.random.default_rng(0).normal(size=2000)
    assert conformal_quantile(list(errors)) == pytest.approx(1.645, rel=0.05)
    assert conformal_quantile([]) == pytest.approx(1.645, rel=1e-3)


@pytest.mark.parametrize(
    ("latencies", "message"),
    [
        ([1.0], "needs two or more"),
        ([2.0, 2.0, 2.0], "constant"),
        ([1.0, 0.0], "not positive"),
        ([1.0, float("nan")], "not positive"),
    ],
)
def test_nonsense_is_refused(latencies: list[float], message: str) -> None:
    measured = [Measurement(from_choices("n", [("s", "conv")]), ms) for ms in latencies]
    with pytest.raises(InputError, match=message):
        latency.calibrate(measured, "made up")


def test_times_a_unit_apart_are_refused() -> None:
    blocks = [block(f"b{n}", n, n) for n in range(1, 4)]
    seen = [Measurement(b, 1.0 + n) for n, b in enumerate(blocks)]
    whole = [Measurement(concatenate(str(n), blocks[: n + 1]), 2.0 + 2 * n) for n in range(3)]
    for factor, times in ((1000, "1,300 times"), (1e-3, "0.0013 times"), (40, "")):
        found = [Measurement(n.workload, n.latency_ms * factor) for n in whole]
        if times:
            with pytest.raises(InputError, match=f"networks take {times} the sum of their blocks"):
                latency.calibrate(seen + found, "made up")
        else:  # what a call costs may be most of a small network
            latency.calibrate(seen + found, "made up")
    tabular_ = from_choices("n", [("s", "conv")])
    with pytest.raises(InputError, match="as 3 ms and as 3000 ms: is a unit wrong"):
        latency.calibrate([Measurement(tabular_, 3.0), Measurement(tabular_, 3000.0)], "made up")
    with pytest.raises(InputError, match="1e-09 ms is no time of a network"):
        latency.calibrate([Measurement(tabular_, 1e-9), Measurement(tabular_, 2e-9)], "made up")


def made_device() -> Device:
    rng = np.random.default_rng(0)
    choices = tabular(rng, 20)
    measured = [Measurement(from_choices(str(c), c), time_ms(c)) for c in choices]
    blocks = [Measurement(block(f"b{n}", n, n), n + 0.5) for n in range(1, 6)]
    return latency.calibrate(measured + blocks, "made up", {"os": "none"})


def as_text(device: Device) -> str:
    return json.dumps(device.to_json())


def test_a_device_is_a_file(tmp_path: Path) -> None:
    device = made_device()
    path = tmp_path / "device.json"
    device.save(path)
    again = latency.read_device(path)
    assert as_text(again) == as_text(device)
    network = from_choices("n", [("s0", "conv"), ("s1", "none")])
    assert again.predict(network).latency_ms == pytest.approx(device.predict(network).latency_ms)
    content = json.loads(path.read_text())
    content["somebody's"] = {"note": 1}
    path.write_text(json.dumps(content))
    kept = latency.read_device(path)
    assert kept.to_json()["somebody's"] == {"note": 1}
    assert as_text(replace(kept, extra={})) == as_text(device)


def damageable() -> Iterator[tuple[Json, list[Workload]]]:
    """Device files of every kind, each with workloads that it predicts."""
    blocks = [block(f"s{n}=b{n}", 0.3 * n + 0.1, 2 - 0.3 * n) for n in range(5)]
    ways = [(0, 1), (1, 2, 3), (2, 4), (0, 3), (0, 1, 2, 3, 4)]
    nets = [concatenate(str(way), [blocks[n] for n in way]) for way in ways]
    alone = [Measurement(b, n + 1.0) for n, b in enumerate(blocks)]
    whole = [Measurement(n, 1.5 + sum(w) + len(w)) for n, w in zip(nets, ways, strict=True)]
    asked = [blocks[0], block("new", 3, 3), nets[1], concatenate("n", [block("s0=new", 1, 1)])]
    yield latency.calibrate(alone, "blocks", launch_ms=0.2).to_json(), asked
    yield latency.calibrate(alone + whole, "both").to_json(), asked
    options = ["none", "conv", "pool"]
    choices = [[("s0", options[n % 3]), ("s1", options[n // 3 % 3])] for n in range(160)]
    found = [from_choices(str(c), c) for c in choices]
    times = [3.0 + (n % 3) * (1 + n // 3 % 3) for n in range(160)]
    sources = latency.learn_sources([Source("other", found, times)])
    seen = [Measurement(n, ms) for n, ms in zip(found[:9], times[:9], strict=True)]
    yield latency.calibrate(seen, "borrowing", borrow=sources).to_json(), found[:4]
    wide = [from_choices(str(n), [("op", options[n % 3]), ("w", n)], {"w"}) for n in range(1, 12)]
    seen = [Measurement(network, 2.0 + n) for n, network in enumerate(wide)]
    yield latency.calibrate(seen, "numeric").to_json(), wide[:2]
    yield latency.load_device("iphone-13").to_json(), asked
    held_out = latency.calibrate(alone, "judged").validated(whole[:4], "held out")
    yield held_out.to_json(), asked
    rates = {"gflop_per_s": 900, "gb_per_s": 25, "launch_ms": 0.02}
    head = {"format": "temporal-nas/device", "version": "1.0", "name": "sheet"}
    yield {**head, "rates": rates, "memory_limit_mb": 100}, asked


DAMAGEABLE = list(damageable())
EXTREMES = st.sampled_from(
    [None, True, 0, -1, 1e-300, 1e300, -1e300, 10**400, "", "x", [], {}, [1]]
)
JUNK = EXTREMES | st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Json, list[Workload]]:
    """One field of a device file, however deep, replaced by junk or left out."""
    content, asked = draw(st.sampled_from(DAMAGEABLE))
    content = json.loads(json.dumps(content))
    inside: Any = content
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        key = draw(st.sampled_from(keys))
        deeper = isinstance(inside[key], (dict, list)) and inside[key]
        if not deeper or draw(st.integers(0, 3)) == 0:
            break
        inside = inside[key]
    if draw(st.integers(0, 9)) == 0:
        del inside[key]
    else:
        inside[key] = draw(JUNK)
    return content, asked


@pytest.mark.slow
@settings(max_examples=500)
@given(damaged())
def test_no_damage_to_a_device_file_crashes_the_reader(found: tuple[Json, list[Workload]]) -> None:
    content, asked = found
    try:
        device = Device.from_json(content, "device.json")
    except InputError as error:
        assert "\n" not in str(error)
        return
    json.dumps(device.to_json(), allow_nan=False)
    for workload in asked:
        try:
            predicted = device.predict(workload)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert 0 <= predicted.low_ms <= predicted.latency_ms <= predicted.high_ms < np.inf
            assert predicted.latency_ms > 0


def test_predicting_together_is_predicting_one_by_one() -> None:
    for content, asked in DAMAGEABLE:
        device = Device.from_json(content, "device.json")
        assert device.predict_all(asked) == [device.predict(workload) for workload in asked]


def claiming() -> dict[str, Json]:
    """Devices of both ways to judge one, as their files hold them."""
    device, rng = made_device(), np.random.default_rng(1)
    choices = tabular(rng, 6)
    unseen = [Measurement(from_choices(str(c), c), time_ms(c)) for c in choices]
    return {
        "left out": device.to_json(),
        "held out": device.validated(unseen, "held out").to_json(),
        "shipped": latency.load_device("iphone-13").to_json(),
    }


@pytest.mark.parametrize("way", ["left out", "held out", "shipped"])
def test_what_a_file_claims_of_its_errors_is_what_it_holds(way: str) -> None:
    content = json.loads(json.dumps(claiming()[way]))
    assert Device.from_json(content, "device.json").validation is not None
    claim = content["validation"]
    share, count = claim["within_bounds_share"], claim["networks"]
    bare = {**content, "measurements": [], "judged": []}
    other = 0.5 if share > 0.75 else 1.0
    for wrong, says in (
        (bare, f"of {count} networks .*, and holds the errors of 0; calibrate it on what was"),
        ({**content, "validation": {**claim, "networks": count + 3}}, "holds the errors of"),
        ({**content, "validation": {**claim, "within_bounds_share": other}}, "own errors say"),
        ({**content, "validation": {**claim, "within_bounds_share": 1.2}}, "expected 0 to 1"),
        ({**content, "validation": {**claim, "mape_pct": 30.0}}, "a mean error of 30%, and its"),
        ({**content, "bounds": {"quantile": 1.6, "coverage": 0.99}}, "coverage: expected 0.9"),
    ):
        with pytest.raises(InputError, match=says) as refused:
            Device.from_json(wrong, "device.json")
        assert "\n" not in str(refused.value)
    assert Device.from_json({**bare, "validation": None}, "device.json").validation is None


def test_a_data_sheet_claims_no_coverage() -> None:
    claim = {"networks": 24, "mape_pct": 4, "spearman": 0.9, "within_bounds_share": 0.9}
    rates = {"gflop_per_s": 900, "gb_per_s": 25, "launch_ms": 0.02}
    head = {"format": "temporal-nas/device", "version": "1.0", "name": "sheet", "rates": rates}
    for how in ("held out", "5 folds"):
        with pytest.raises(InputError, match="90% of 24 networks .*holds nothing that was meas"):
            Device.from_json({**head, "validation": {**claim, "how": how}}, "device.json")


def test_devices_that_were_judged_before_errors_were_kept_are_read() -> None:
    content = claiming()["held out"]
    older = {name: value for name, value in content.items() if name != "judged"}
    assert Device.from_json(older, "device.json").validation is not None


def test_files_of_older_versions_have_no_median_error() -> None:
    content = made_device().to_json()
    assert content["validation"]["median_error_pct"] >= 0
    older = {k: v for k, v in content["validation"].items() if "median" not in k and "10" not in k}
    device = Device.from_json({**content, "validation": older}, "device.json")
    assert device.validation is not None
    assert device.validation.median_error_pct is device.validation.within_10pct_share is None


def test_the_median_error_is_not_made_by_an_absurd_row() -> None:
    names = [from_choices(str(n), [("s", str(n))]) for n in range(9)]
    absurd = [Measurement(w, 0.01 if n == 0 else 10.0 + n) for n, w in enumerate(names)]
    found = validate([Prediction(10.5 + n, 9.0, 30.0) for n in range(9)], absurd, "held out")
    assert found.mape_pct > 1000
    assert found.median_error_pct == pytest.approx(4, abs=1)
    assert found.within_10pct_share == pytest.approx(8 / 9)
    assert found.skewed


def test_whole_numbers_that_vary_freely_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("width,latency_ms\n" + "\n".join(f"{n},{2 * n + 5}" for n in range(1, 40)))
    table = read_table(path)
    numeric = {choice.name for choice in table.space.choices}
    found = [from_choices(str(a), list(a.items()), numeric) for a in table.architectures]
    measured = [Measurement(w, ms) for w, ms in zip(found, table.metric("latency_ms"), strict=True)]
    device = latency.calibrate(measured[::3], "linear").validated(measured, "all")
    assert device.validation is not None
    assert device.validation.mape_pct < 1


def test_what_a_device_never_saw_is_refused() -> None:
    device = made_device()
    with pytest.raises(InputError, match="knows nothing of 'edge0'; it knows s0, s1"):
        device.predict(from_choices("n", [("edge0", "conv")]))
    blocks = [Measurement(block(f"b{n}", n, n), n + 0.5) for n in range(1, 6)]
    with pytest.raises(InputError, match="give the `space=` of a U-Net, or a device"):
        latency.calibrate(blocks, "blocks").predict(from_choices("n", [("s", "conv")]))


def test_a_data_sheet_is_a_device(tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    rates = {"gflop_per_s": 1000, "gb_per_s": 100, "launch_ms": 0.01}
    head = {"format": "temporal-nas/device", "version": "1.0", "name": "sheet"}
    path.write_text(json.dumps({**head, "rates": rates}))
    device = latency.read_device(path)
    predicted = device.predict(block("b", 10, 1))
    assert predicted.latency_ms == pytest.approx(10.01)
    assert predicted.low_ms < 0.7 * predicted.latency_ms
    path.write_text(json.dumps({**head, "rates": {**rates, "gb_per_s": 0}}))
    with pytest.raises(InputError, match="rates must be positive"):
        latency.read_device(path)


def test_devices_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    path.write_text(json.dumps({**made_device().to_json(), "version": "2.1"}))
    with pytest.raises(InputError, match="newer than the 1.x"):
        latency.read_device(path)


def test_unknown_devices_name_the_known() -> None:
    with pytest.raises(InputError, match="unknown device 'iphone-99'; known: host"):
        latency.load_device("iphone-99")


def test_few_blocks_on_a_neighbour_s_costs_beat_few_blocks_alone() -> None:
    """Three measured networks of a phone 1.4 times as fast as the one that it is like."""
    neighbour = latency.load_device("iphone-12")
    known = workloads()
    names = ["FastViT-T8", "MobileOne-S2", "EfficientFormer-L3"]
    unseen = ["FastViT-SA36", "MobileOne-S4", "EfficientFormer-L7", "SD 2.1-base UNet"]

    def error(device: Device) -> float:
        true_ms = [neighbour.predict(known[n]).latency_ms / 1.4 for n in unseen]
        found_ms = [device.predict(known[n]).latency_ms for n in unseen]
        return float(np.mean(np.abs(np.array(found_ms) / true_ms - 1)))

    seen = [Measurement(known[n], neighbour.predict(known[n]).latency_ms / 1.4) for n in names]
    like = latency.calibrate(seen, "new", like=neighbour)
    assert error(like) < 0.1
    assert error(like) < error(latency.calibrate(seen, "new"))
    assert like.memory_limit_mb == neighbour.memory_limit_mb
    named = [Measurement(from_choices("n", [("s", o)]), ms) for o, ms in (("a", 1.0), ("b", 2.0))]
    with pytest.raises(InputError, match="borrow columns"):
        latency.calibrate(named, "new", like=neighbour)
