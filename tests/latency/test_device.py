"""Calibration: what is recovered, what is refused, and how it does on public measurements."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import latency
from latency import Device, Measurement, Operation, Workload, concatenate, from_choices
from latency.bounds import quantile
from latency.roofline import Roofline
from search_spaces import InputError, read_table


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
    wider = quantile([2 * error for error in errors])
    assert quantile(errors) <= wider
    inside = sum(abs(error) <= 1.3 * quantile(errors) + 0.3 for error in errors)
    assert inside >= 0.85 * len(errors)


def test_bounds_of_normal_errors_are_normal_quantiles() -> None:
    errors = np.random.default_rng(0).normal(size=2000)
    assert quantile(list(errors)) == pytest.approx(1.645, rel=0.05)
    assert quantile([]) == pytest.approx(1.645, rel=1e-3)


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


@given(st.data())
def test_no_damage_to_a_device_file_crashes_the_reader(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = made_device().to_json()
    path = tmp_path_factory.mktemp("fuzz") / "device.json"
    keys = [key for key in content if key not in ("format", "version")]
    key = data.draw(st.sampled_from(keys))
    junk = st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
        max_leaves=4,
    )
    if isinstance(content[key], dict) and content[key] and data.draw(st.booleans()):
        inner = data.draw(st.sampled_from(sorted(content[key])))
        content[key] = {**content[key], inner: data.draw(junk)}
    else:
        content[key] = data.draw(junk)
    path.write_text(json.dumps(content))
    try:
        device = latency.read_device(path)
        device.predict(from_choices("n", [("s", "conv")]))
    except InputError as error:
        assert "\n" not in str(error)


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
    with pytest.raises(InputError, match="give the --space"):
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
