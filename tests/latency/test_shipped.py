"""The shipped devices: there, up to date, honest about where they come from."""

import json
import runpy
from pathlib import Path

import pytest

import latency
from latency import Device, Workload
from latency.predictor.published import workloads

BENCHMARKS = Path(__file__).resolve().parents[2] / "examples" / "benchmarks"
NAMES = [
    "iphone-12",
    "iphone-13",
    "iphone-14",
    "iphone-14-pro",
    "iphone-15-pro",
    "iphone-16",
    "iphone-16-pro-max",
    "iphone-17",
    "iphone-17-pro",
    "iphone-17-pro-max",
    "mac-m1",
    "mac-m1-max",
    "mac-m1-pro",
    "mac-m2",
    "mac-m3",
    "mac-m3-max",
    "mac-m4",
    "mac-m5",
    "mac-m5-pro",
]
UNMEASURED = ["iphone-16-pro-max", "iphone-17-pro", "iphone-17-pro-max"]
RESNET = "ResNet50"


def width(device: Device, workload: Workload) -> float:
    found = device.predict(workload)
    return found.high_ms / found.low_ms


def test_all_are_there() -> None:
    own = [name for name, file in latency.shipped().items() if file.parent.name == "devices"]
    assert sorted(own) == sorted(NAMES)


@pytest.mark.long
def test_they_are_what_the_published_rows_make_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The committed costs are those that the script fits; the errors on families take longer."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = runpy.run_path(str(BENCHMARKS / "build_devices.py"))
    assert sorted(named.name for named in script["DEVICES"]) == sorted(NAMES)
    among = script["networks"]()
    spread = script["deviations"](among)
    models: dict[str, object] = {}
    for named in script["DEVICES"]:
        committed = json.loads(latency.shipped()[named.name].read_text())
        factor = committed["physical"]["width"]
        if named.soc not in models:
            built = script["model_of"](among, named.soc, spread, factor)
            models[named.soc] = json.loads(json.dumps(built.to_json()))
        assert_alike(models[named.soc], committed["physical"], named.name)
        assert committed["facts"]["soc"] == named.soc


def assert_alike(found: object, wanted: object, where: str) -> None:
    if isinstance(wanted, dict):
        assert isinstance(found, dict)
        assert found.keys() == wanted.keys(), where
        for key, value in wanted.items():
            assert_alike(found[key], value, f"{where}, {key}")
    elif isinstance(wanted, list):
        assert isinstance(found, list)
        assert len(found) == len(wanted), where
        for index, value in enumerate(wanted):
            assert_alike(found[index], value, f"{where}, {index}")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-3, abs=1e-6), where
    else:
        assert found == wanted, where


@pytest.mark.parametrize("name", NAMES)
def test_each_predicts_a_known_network_and_says_where_it_is_from(name: str) -> None:
    device = latency.load_device(name)
    found = device.predict(workloads()[RESNET])
    assert 0.3 < found.low_ms < found.latency_ms < found.high_ms < 8
    assert device.facts["status"]
    origins = set(device.facts["origin"].values())
    assert origins <= {"measured", "extrapolated"}
    assert (origins == {"extrapolated"}) == (name in UNMEASURED)
    assert device.memory_limit_mb is not None


@pytest.mark.parametrize("name", UNMEASURED)
def test_extrapolated_devices_are_less_sure_than_measured_ones(name: str) -> None:
    network = workloads()["FastViT-SA24"]
    measured, extrapolated = latency.load_device("iphone-12"), latency.load_device(name)
    assert width(extrapolated, network) > 1.3 * width(measured, network)
    assert extrapolated.validation is None
    assert "nothing was measured" in extrapolated.facts["status"]


def test_newer_phones_are_not_slower() -> None:
    network = workloads()["SD 2.1-base UNet"]
    times_ms = [
        latency.load_device(name).predict(network).latency_ms
        for name in ("iphone-12", "iphone-13", "iphone-14-pro", "iphone-17-pro")
    ]
    assert times_ms == sorted(times_ms, reverse=True)
