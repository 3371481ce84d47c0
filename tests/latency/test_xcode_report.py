"""Xcode's performance reports: what is needed of them, nothing that names a person, no guesses."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import ANYTHING, changed, put, ways
from hypothesis import given, settings
from hypothesis import strategies as st

from latency.sources.xcode_report import COMPUTE_UNITS, read_report
from nas.testing import ReportConformance
from search_spaces import InputError

SERIAL, DEVICE_ID, OWNER = "F2LXQ0ABCDEF", "00008130-001A2B3C4D5E6F78", "Ada's iPad"
MAC_PATH = "file:///Users/ada-lovelace/secret-project/net.mlpackage"
SECRETS = (SERIAL, DEVICE_ID, OWNER, "ada-lovelace", "secret-project", "128 GB", "cloud-7")
COLD, WARM = 0.009, 0.0002


def operation(kind: str, weight: float | None = None, device: str = "cpu") -> dict[str, Any]:
    found: dict[str, Any] = {"operatorName": kind, "inputs": {}, "blocks": [], "outputs": []}
    if weight is not None:
        found["cost"] = {"weight": weight}
        found["deviceUsage"] = {
            "preferred": {"deviceType": {device: {}}},
            "supported": [{"deviceType": {"cpu": {}}}],
        }
    return found


def report() -> dict[str, Any]:
    """As Xcode writes one: 3 experiments of 4 predictions, the first of each cold."""
    branch = operation("cond")
    branch["blocks"] = [{"operations": [operation("ios18.matmul", 0.25, "gpu")]}]
    operations = [
        operation("const"),
        operation("ios18.constexpr_lut_to_dense"),
        operation("ios18.conv", 0.5, "neuralEngine"),
        operation("ios16.conv", 0.25, "neuralEngine"),
        branch,
    ]
    metadata = {"computePrecision": "Mixed (Float16, Int32)", "inputSchema": []}
    return {
        "jsonVersion": 1,
        "deviceResultVersion": 4,
        "deviceInfo": {
            "modelName": "iPad Air 11-inch (M2)",
            "osNameAndVersionWithoutBuildNumber": "iPadOS\u00a018.7.8",
            "deviceID": DEVICE_ID,
            "serialNumber": SERIAL,
            "displayName": OWNER,
            "capacity": "128 GB",
            "isCloudDevice": False,
            "cloudID": "cloud-7",
            "deviceType": {"iPad": {}},
        },
        "computeUnit": 3,
        "modelMetadata": {
            "fileName": "/Users/ada-lovelace/secret-project/net-1.mlpackage",
            "modelUrl": MAC_PATH,
            "rawMetadata": json.dumps([metadata]),
        },
        "deviceResults": {
            "modelStructure": {
                "program": {"_0": {"functions": {"main": {"block": {"operations": operations}}}}}
            },
            "perfRunConfig": {"loadCount": 3, "experimentIterations": 3, "predictionCount": 4},
            "predict": {
                "numOperations": 4,
                "samples": [x for n in (1, 2, 3) for x in (COLD, WARM * n, WARM * n, WARM * n)],
            },
        },
    }


def write(folder: Path, content: object) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "report.json"
    file.unlink(missing_ok=True)  # quicker than to truncate it, thousands of times
    file.write_text(json.dumps(content))
    return folder


class TestReport(ReportConformance):
    @pytest.fixture(autouse=True)
    def _report(self, tmp_path: Path) -> None:
        self.path = write(tmp_path / "net.mlperf", report())

    def rows(self) -> list[dict[str, Any]]:
        return read_report(self.path)

    def test_says_what_was_measured_where(self) -> None:
        (row,) = self.rows()
        latency_ms = row.pop("latency_ms"), row.pop("std_ms"), row.pop("p10_ms"), row.pop("p90_ms")
        warm_ms = [WARM * 1e3 * n for n in (1, 1, 1, 2, 2, 2, 3, 3, 3)]
        expected = np.median(warm_ms), np.std(warm_ms), *np.percentile(warm_ms, [10, 90])
        assert latency_ms == pytest.approx(expected)
        assert row == {
            "id": "net-1",
            "samples": 9,
            "device": "iPad Air 11-inch (M2)",
            "compute_unit": "cpu-and-ne",
            "os": "iPadOS 18.7.8",
            "precision": "float16",
            "source": "Xcode performance report",
            "notes": "ran_on=ne:0.75,gpu:0.25; operations=conv:2,cond:1,matmul:1",
        }

    def test_takes_nothing_that_names_a_device_or_a_person(self) -> None:
        text = json.dumps(self.rows())
        assert not [secret for secret in SECRETS if secret in text]

    def test_the_file_alone_will_do(self) -> None:
        assert read_report(self.path / "report.json") == self.rows()


def test_a_real_report(shared_data: Path) -> None:
    (row,) = read_report(shared_data / "xcode_performance_report_sample.json")
    assert row["device"] == "iPad Air 11-inch (M2)"
    assert row["compute_unit"] == "all"
    assert row["samples"] == 3
    assert row["latency_ms"] == pytest.approx(0.21910667)
    assert row["notes"].startswith("ran_on=cpu:1.00; operations=conv:1")


def test_a_run_that_was_cut_short_says_so(tmp_path: Path) -> None:
    content = report()
    content["deviceResults"]["predict"]["samples"] = [COLD, WARM, WARM, WARM, COLD, WARM]
    (row,) = read_report(write(tmp_path / "a.mlperf", content))
    assert row["samples"] == 4
    assert row["p90_ms"] < 1, "the cold sample of the second experiment is dropped"
    assert row["notes"].endswith("samples=4 of 9")


def test_what_a_report_may_lack(tmp_path: Path) -> None:
    content = report()
    del content["modelMetadata"]["rawMetadata"]
    content["deviceResults"]["modelStructure"] = {"neuralNetwork": {"_0": {"layers": []}}}
    (row,) = read_report(write(tmp_path / "a.mlperf", content))
    assert (row["precision"], row["notes"]) == ("", "")


CONV = "deviceResults.modelStructure.program._0.functions"


@pytest.mark.parametrize(
    ("way", "value", "message"),
    [
        ("jsonVersion", 2, "'jsonVersion' is newer than the 1"),
        ("deviceInfo", {}, "'deviceInfo.modelName' is missing; export the report again"),
        ("deviceInfo.modelName", 7, "'deviceInfo.modelName' is not text"),
        ("deviceInfo.modelName", "x" * 999, "'deviceInfo.modelName' is not at most 200"),
        ("deviceInfo.modelName", "a\x07b", "'deviceInfo.modelName' is not .* printable"),
        ("modelMetadata.fileName", "/", "'modelMetadata.fileName' is not the name of a model"),
        ("computeUnit", 4, "'computeUnit' is not a number, 0 to 3"),
        ("computeUnit", 1.5, "'computeUnit' is not a whole number"),
        ("computeUnit", True, "'computeUnit' is not a number"),
        ("deviceResults", [], "'deviceResults' is not an object"),
        (
            "deviceResults.perfRunConfig.predictionCount",
            0,
            "'.*predictionCount' is not a number, 1",
        ),
        ("deviceResults.perfRunConfig.predictionCount", 1, "has 12 samples, and 3 exp"),
        ("deviceResults.perfRunConfig.experimentIterations", 2, "has 12 samples, and 2 exp"),
        ("deviceResults.predict", None, "'deviceResults.predict' is missing"),
        ("deviceResults.predict.samples", [], "no times of warm predictions"),
        ("deviceResults.predict.samples", {}, "'deviceResults.predict.samples' is not a list"),
        ("deviceResults.predict.samples", [1, "2"], r"samples\[1\]' is not a number"),
        ("deviceResults.predict.samples", [1, -2], r"samples\[1\]' is not a number, 0 to 3600"),
        ("deviceResults.predict.samples", [1, 0], "no times of warm predictions"),
        (CONV, [], "functions' is not an object"),
        (CONV, {"main": {"block": {"operations": [{}]}}}, r"operations\[0\].operatorName'"),
        (
            CONV,
            {"main": {"block": {"operations": [operation("a b")]}}},
            "operatorName' is not the name of an operation",
        ),
        (
            CONV,
            {"main": {"block": {"operations": [operation("add", 1.5)]}}},
            "cost.weight' is not a number, 0 to 1",
        ),
        (
            CONV,
            {"main": {"block": {"operations": [operation("add", 0.5, "tpu")]}}},
            "deviceType' is not one of neuralEngine, gpu, cpu",
        ),
    ],
)
def test_an_error_names_file_field_and_mend(
    way: str, value: Any, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.mlperf", put(report(), way, value))
    with pytest.raises(InputError, match=message) as error:
        read_report(path)
    check_error(error.value, path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.mlperf: no such file"):
        read_report(tmp_path / "gone.mlperf")
    (tmp_path / "empty.mlperf").mkdir()
    with pytest.raises(InputError, match=r"report.json: no such file; .* bundle"):
        read_report(tmp_path / "empty.mlperf")
    file = tmp_path / "report.json"
    for content in (b"", b"\xff\xfe", b"[" * 100_000, b'{"jsonVersion": NaN}', b"9" * 9999):
        file.write_bytes(content)
        with pytest.raises(InputError) as error:
            read_report(file)
        check_error(error.value, file)


def check_error(error: InputError, path: Path) -> None:
    """One line that names the file and says what to do, and gives nobody away."""
    text = str(error)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert "export the report again" in text or "upgrade temporal-nas" in text
    assert not [secret for secret in SECRETS if secret in text]


def outcome(path: Path, content: Any) -> None:
    """A document is read whole, or refused by its name and field."""
    try:
        (row,) = read_report(path)
    except InputError as error:
        check_error(error, path)
        return
    results = content["deviceResults"]
    config, samples = results["perfRunConfig"], results["predict"]["samples"]
    each = int(config["predictionCount"])
    warm = [sample * 1e3 for index, sample in enumerate(samples) if index % each]
    assert len(samples) <= each * config["experimentIterations"]
    assert row["samples"] == len(warm)
    assert row["latency_ms"] == pytest.approx(np.median(warm))
    assert 0 < row["p10_ms"] <= row["latency_ms"] * (1 + 1e-9)
    assert row["latency_ms"] <= row["p90_ms"] * (1 + 1e-9) < math.inf
    assert row["compute_unit"] == COMPUTE_UNITS[int(content["computeUnit"])]
    assert row["device"] == " ".join(content["deviceInfo"]["modelName"].split())
    assert row["id"]
    assert not [secret for secret in SECRETS if secret in json.dumps(row)]


WAYS = ways(report())


@pytest.mark.slow
@settings(max_examples=250)
@given(
    places=st.lists(st.sampled_from(WAYS), min_size=8, max_size=8, unique=True),
    change=st.sampled_from(["put", "put", "drop", "double"]),
    value=ANYTHING,
)
def test_malformed_reports(
    places: list[tuple[Any, ...]],
    change: str,
    value: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Nine reports each time: one change in each of eight places, and all of them together."""
    folder = tmp_path_factory.getbasetemp() / "fuzz.mlperf"
    for ways_here in [*([way] for way in places), places]:
        content = report()
        for way in ways_here:
            changed(content, way, change, value)
        outcome(write(folder, content), content)


@pytest.mark.slow
@settings(max_examples=700)
@given(cut=st.integers(0, len(json.dumps(report())) - 1), byte=st.integers(-1, 255))
def test_damaged_files(cut: int, byte: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Cut off somewhere, or with one byte that is another."""
    file = tmp_path_factory.getbasetemp() / "report.json"
    whole = json.dumps(report()).encode()
    file.write_bytes(whole[:cut] if byte < 0 else whole[:cut] + bytes([byte]) + whole[cut + 1 :])
    try:
        content = json.loads(file.read_bytes())
    except ValueError:
        with pytest.raises(InputError) as error:
            read_report(file)
        check_error(error.value, file)
    else:
        outcome(file, content)


@pytest.mark.slow
@settings(max_examples=400)
@given(content=ANYTHING)
def test_documents_that_are_something_else(
    content: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outcome(write(tmp_path_factory.getbasetemp() / "other.mlperf", content), content)
