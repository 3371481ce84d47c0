"""Reports of ONNX Runtime, TensorFlow Lite and Qualcomm AI Hub: read whole, or refused in a line.

Their shapes are those that the tools print (each reader's docstring says where that is written);
what ONNX Runtime itself writes is read in test_onnx_runtime.py.
"""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import ANYTHING, changed, ways
from hypothesis import given, settings
from hypothesis import strategies as st

from latency.sources.reports import read_any_report
from nas.testing import ReportConformance
from search_spaces import InputError

SECRETS = ("jabc12345", "/home/ada/private", "ada-lovelace")


def node(number: int, kind: str, dur: int, provider: str) -> dict[str, Any]:
    return {
        "cat": "Node",
        "pid": 5118,
        "tid": 5118,
        "dur": dur,
        "ts": 45_000 + number,
        "ph": "X",
        "name": f"node_{kind.lower()}_{number}_kernel_time",
        "args": {
            "op_name": kind,
            "node_index": str(number),
            "provider": provider,
            "output_type_shape": [{"float": [1, 8]}],
            "input_type_shape": [{"float": [1, 8]}, {"int64": [2]}],
        },
    }


def onnx_profile() -> list[dict[str, Any]]:
    """A session that loads, and calls a network of three nodes three times."""
    session = {"cat": "Session", "pid": 5118, "tid": 5118, "ph": "X", "args": {}}
    events = [
        session | {"dur": 4106, "ts": 3, "name": "model_loading_uri"},
        session | {"dur": 40_472, "ts": 4162, "name": "session_initialization"},
    ]
    for call, dur in enumerate((9000, 1000, 2000)):
        events += [
            node(3 * call, "Conv", 600, "CUDAExecutionProvider"),
            node(3 * call + 1, "Conv", 200, "CUDAExecutionProvider"),
            node(3 * call + 2, "Reshape", 200, "CPUExecutionProvider"),
            session | {"dur": dur, "ts": 50_000 * (call + 1), "name": "model_run"},
        ]
    return events


def hub_profile() -> dict[str, Any]:
    """As `download_profile` writes one."""
    return {
        "execution_summary": {
            "estimated_inference_time": 1980,
            "estimated_inference_peak_memory": 166_711_296,
            "first_load_time": 1_374_293,
            "warm_load_time": 277_823,
            "inference_memory_peak_range": [2_654_208, 39_406_752],
            "all_inference_times": [10_003, 2000, 3000, 1990],
            "all_warm_load_times": [277_823],
        },
        "execution_detail": [
            {"name": "a", "type": "CONV_2D", "compute_unit": "NPU", "execution_time": 1500},
            {"name": "b", "type": "CONV_2D", "compute_unit": "NPU", "execution_cycles": 18},
            {"name": "c", "type": "TRANSPOSE", "compute_unit": "CPU", "execution_time": 500},
        ],
    }


PERF_TEST = """Setting intra_op_num_threads to 1
Disabling intra-op thread spinning between runs
Session creation time cost: 0.217932 s
First inference time cost: 196 ms
Total inference time cost: 0.49481 s
Total inference requests: 5
Average inference time cost total: 98.961997 ms
Total inference run time: 0.494854 s
Number of inferences per second: 10.104
Avg CPU usage: 11 %
Peak working set size: 271122432 bytes
Avg CPU usage:11
Peak working set size:271122432
Runs:5
Min Latency: 0.0958204 s
Max Latency: 0.101519 s
P50 Latency: 0.0995086 s
P90 Latency: 0.101519 s
P95 Latency: 0.101519 s
P99 Latency: 0.101519 s
P999 Latency: 0.101519 s
"""
PERF_TEST_2020 = """Session creation time cost:1.84149 s
Total inference time cost:1.469212 s
Total inference requests:2
Average inference time cost:734.606 ms
Total inference run time:1.469761 s
"""
BENCHMARK = """INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Num threads: [2]
INFO: Graph: [/home/ada/private/net-1.tflite]
INFO: #threads used for CPU inference: [2]
INFO: Use gpu: [1]
INFO: Loaded model /home/ada/private/net-1.tflite
VERBOSE: Replacing 36 out of 48 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 \
partitions for subgraph 0.
INFO: Explicitly applied GPU delegate, and the model graph will be partially executed by the \
delegate w/ 1 delegate kernels.
INFO: The input model file size (MB): 16.1527
INFO: Initialized session in 5664.36ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
INFO: count=2 first=328140 curr=309932 min=309932 max=328140 avg=319036 std=9104 p5=309932 \
median=328140 p95=328140

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if \
exceeding 150 seconds.
INFO: count=50 first=307215 curr=309783 min=305938 max=333030 avg=309350 std=4411 p5=306372 \
median=307968 p95=315711

INFO: Inference timings in us: Init: 5664363, First inference: 328140, Warmup (avg): 319036, \
Inference (avg): 309350
INFO: Memory footprint delta from the start of the tool (MB): init=375.48 overall=375.48
"""
APPLIED = next(line for line in BENCHMARK.splitlines(True) if "Explicitly applied" in line)
NOT_APPLIED = (
    "INFO: Though NNAPI delegate is explicitly applied, the model graph will not be executed by "
    "the delegate.\n"
)
MEASURED_2021 = (
    "count=50 first=2990275 curr=2913402 min=2727568 max=3189954 avg=2.95034e+06 std=109798"
)
BENCHMARK_2021 = f"""Graph: [./mobilenet_v1_1.0_224.tflite]
#threads used for CPU inference: [4]
Initialized session in 17.187ms.
count=1 curr=3512391

{MEASURED_2021}

Inference timings in us: Init: 17187, First inference: 3512391, Warmup (avg): 3.51239e+06, \
Inference (avg): 2.95034e+06
Profiling Info for Benchmark Initialization:
Timings (microseconds): count=1 curr=1356
"""


def write(folder: Path, content: Any, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.unlink(missing_ok=True)  # quicker than to truncate it, thousands of times
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


PROFILE_NAME = "net-1_2026-11-30_08-49-51_899.json"
HUB_NAME = "net-1_jabc12345_results.json"
EXAMPLES: dict[str, tuple[Any, str]] = {
    "profile": (onnx_profile(), PROFILE_NAME),
    "hub": (hub_profile(), HUB_NAME),
    "perf_test": (PERF_TEST, "net-1.txt"),
    "benchmark": (BENCHMARK, "anything.log"),
}


class Reads(ReportConformance):
    example: str

    @pytest.fixture(autouse=True)
    def _report(self, tmp_path: Path) -> None:
        self.path = write(tmp_path / "reports", *EXAMPLES[self.example])

    def rows(self) -> list[dict[str, Any]]:
        return read_any_report(self.path)

    def test_takes_nothing_that_names_a_person(self) -> None:
        assert not [secret for secret in SECRETS if secret in json.dumps(self.rows())]


class TestOnnxProfile(Reads):
    example = "profile"

    def test_says_what_was_measured_where(self) -> None:
        (row,) = self.rows()
        assert row == {
            "id": "net-1",
            "latency_ms": 1.5,  # the first call is cold
            "samples": 2,
            "std_ms": 0.5,
            "p10_ms": pytest.approx(1.1),
            "p90_ms": pytest.approx(1.9),
            "compute_unit": "CPUExecutionProvider, CUDAExecutionProvider",
            "precision": "float32",
            "source": "ONNX Runtime profile",
            "notes": "ran_on=cuda:0.80,cpu:0.20; operations=Conv:2,Reshape:1",
        }


class TestHubProfile(Reads):
    example = "hub"

    def test_says_what_was_measured_where(self) -> None:
        (row,) = self.rows()
        assert row["id"] == "net-1"
        assert row["latency_ms"] == 2.0
        assert row["samples"] == 3
        assert row["compute_unit"] == "CPU, NPU"
        assert row["notes"] == "ran_on=npu:0.75,cpu:0.25; operations=CONV_2D:2,TRANSPOSE:1"


class TestPerfTest(Reads):
    example = "perf_test"

    def test_takes_the_median_where_it_is_told(self) -> None:
        (row,) = self.rows()
        assert row == {
            "id": "net-1",
            "latency_ms": pytest.approx(99.5086),
            "samples": 5,
            "p90_ms": pytest.approx(101.519),
            "source": "onnxruntime_perf_test",
            "notes": "latency=median; threads=1",
        }


class TestBenchmark(Reads):
    example = "benchmark"

    def test_takes_the_measured_calls_and_says_who_ran_them(self) -> None:
        (row,) = self.rows()
        assert row == {
            "id": "net-1",
            "latency_ms": pytest.approx(307.968),
            "samples": 50,
            "std_ms": pytest.approx(4.411),
            "compute_unit": "gpu",
            "source": "TFLite benchmark_model",
            "notes": "latency=median; nodes_on=gpu:0.75,cpu:0.25",
        }


def row_of(tmp_path: Path, content: Any, name: str = "net-1.txt", **how: Any) -> dict[str, Any]:
    (row,) = read_any_report(write(tmp_path, content, name), **how)
    return row


def test_a_node_that_a_provider_made_of_many_has_a_name_of_its_own(tmp_path: Path) -> None:
    content = onnx_profile()
    for event in content:
        if event["cat"] == "Node":
            event["args"] |= {"provider": "OpenVINOExecutionProvider"}
            event["args"] |= {"op_name": "OpenVINO-EP-subgraph_1"}
    row = row_of(tmp_path, content)
    assert row["notes"] == "ran_on=openvino:1.00; operations=OpenVINO-EP-subgraph_1:3"


def test_older_versions_tell_less(tmp_path: Path) -> None:
    row = row_of(tmp_path, PERF_TEST_2020)
    assert (row["latency_ms"], row["notes"]) == (734.606, "latency=mean")
    row = row_of(tmp_path, BENCHMARK_2021)
    assert row["id"] == "mobilenet_v1_1.0_224"
    assert (row["latency_ms"], row["compute_unit"]) == (pytest.approx(2950.34), "cpu, 4 threads")
    assert row["notes"] == "latency=mean"
    old = hub_profile()
    del old["execution_summary"]["all_inference_times"]
    old["execution_detail"] = [{"type": "Conv", "compute_unit": "gpu"}]
    row = row_of(tmp_path, old)
    assert (row["latency_ms"], row["samples"]) == (1.98, 1)
    assert row["notes"] == "ran_on=gpu:1.00; operations=Conv:1; latency=estimate"


def test_what_powershell_writes_is_read(tmp_path: Path) -> None:
    file = tmp_path / "net-1.txt"
    file.write_bytes(PERF_TEST.replace("\n", "\r\n").encode("utf-16"))
    (row,) = read_any_report(file)
    assert row == row_of(tmp_path / "plain", PERF_TEST)


def test_a_delegate_that_took_nothing_is_no_measurement_of_it(tmp_path: Path) -> None:
    both = BENCHMARK.replace(APPLIED, APPLIED + NOT_APPLIED)
    assert row_of(tmp_path, both)["compute_unit"] == "gpu"
    neither = BENCHMARK.replace(APPLIED, NOT_APPLIED)
    with pytest.raises(InputError, match="NNAPI delegate .* the processor ran all of it"):
        row_of(tmp_path, neither)
    row = row_of(tmp_path, neither, allow_fallback=True)
    assert row["compute_unit"] == "cpu, 2 threads"


@pytest.mark.parametrize(
    ("content", "old", "new", "message"),
    [
        (PERF_TEST, "98.961997 ms", "98.961997 s", "average time of a call in s, not in ms"),
        (PERF_TEST, "98.961997 ms", "98.961997", "in no unit, not in ms"),
        (PERF_TEST, "98.961997 ms", "0.098961 ms", "5 calls of 0.098961 ms do not take 0.49481 s"),
        (PERF_TEST, "0.49481 s", "494.81 s", "so a unit is wrong"),
        (PERF_TEST, "0.0958204 s", "95.8204 ms", "Min latency in ms, not in s"),
        (PERF_TEST, "P50 Latency: 0.0995086 s\n", "", "does not say the P50 latency"),
        (PERF_TEST, "P50 Latency: 0.0995086", "P50 Latency: 0.2", "not times in rising order"),
        (PERF_TEST, "Total inference requests: 5\n", "", "does not say how many calls"),
        (PERF_TEST, "requests: 5", "requests: 0", "0 calls"),
        (PERF_TEST, PERF_TEST, PERF_TEST * 2, "says 2 times the average.*a file of its own"),
        (PERF_TEST, "Average inference time cost total", "Average time cost", "before version 1.2"),
        (PERF_TEST, "Latency: 0.", "Latency: 12.", "outside of its latencies"),
        (BENCHMARK, "timings in us", "timings in ms", "in ms, and us were expected"),
        (BENCHMARK, "(avg): 309350\n", "(avg): 309.35\n", "average is 309350 us in one line"),
        (BENCHMARK, "5664.36ms", "5664.36s", "its start in s, not in ms"),
        (BENCHMARK, "5664.36ms", "5.66436ms", "the time of its start is 5664.36 us in one line"),
        (BENCHMARK, "count=", "cnt=", "no statistics"),
        (BENCHMARK, "max=333030", "max=333", "contradict themselves"),
        (BENCHMARK, BENCHMARK, BENCHMARK * 2, "says 2 times its summary"),
        (BENCHMARK, BENCHMARK[-300:], "", "does not say its summary"),
        (BENCHMARK_2021, MEASURED_2021, "count=0", "no times of measured calls"),
        ("hello\n", "", "", "holds nothing that is known; give an Xcode"),
        ("", "", "", "holds nothing that is known"),
        ('{"other": 1}', "", "", "is JSON of something else; give an Xcode"),
        ('{"execution_summary"', "", "", "not valid JSON"),
    ],
)
def test_text_that_contradicts_itself_or_lacks_something(
    content: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    file = write(tmp_path, content.replace(old, new) if old else content, "net-1.txt")
    with pytest.raises(InputError, match=message) as error:
        read_any_report(file)
    check_error(error.value, file)


RUNS = [index for index, event in enumerate(onnx_profile()) if event["name"] == "model_run"]


@pytest.mark.parametrize(
    ("document", "way", "value", "message"),
    [
        (onnx_profile(), (2, "args", "provider"), None, r"'\[2\].args.provider' is missing"),
        (onnx_profile(), (2, "args", "provider"), "a b", "not the name of an execution provider"),
        (onnx_profile(), (2, "args", "op_name"), "a;b", "not the name of an operator"),
        (onnx_profile(), (2, "dur"), -1, r"'\[2\].dur' is not a number, 0 to"),
        (onnx_profile(), (2, "dur"), 3e9, "so their units differ"),
        (onnx_profile(), (0, "cat"), 7, r"'\[0\].cat' is not text"),
        (onnx_profile(), (RUNS[0], "dur"), 100_000, "calls of the network overlap"),
        (onnx_profile()[: RUNS[0] + 1], (0, "dur"), 1, "no times of warm calls"),
        (onnx_profile()[:2], (0, "dur"), 1, "no event `model_run`"),
        (hub_profile(), ("execution_summary", "estimated_inference_time"), None, "is missing"),
        (hub_profile(), ("execution_summary", "estimated_inference_time"), 0, "a time above 0"),
        (
            hub_profile(),
            ("execution_summary", "estimated_inference_time"),
            1.98,
            "is 0.00099 times what the calls took, so their units differ",
        ),
        (
            hub_profile(),
            ("execution_summary", "all_inference_times"),
            [9, 0],
            r"all_inference_times\[1\]' is not a time above 0",
        ),
        (hub_profile(), ("execution_detail",), {}, "'execution_detail' is not a list"),
        (hub_profile(), ("execution_detail",), None, "'execution_detail' is missing"),
        (
            hub_profile(),
            ("execution_detail", 0, "compute_unit"),
            "TPU",
            "is not one of CPU, GPU, NPU, UNSPECIFIED",
        ),
        (hub_profile(), ("execution_detail", 0, "type"), "a=b", "is not the type of a layer"),
        (
            hub_profile(),
            ("execution_detail", 0, "execution_time"),
            3e9,
            "times as long as a call, so their units differ",
        ),
    ],
)
def test_json_that_contradicts_itself_or_lacks_something(
    document: Any, way: tuple[Any, ...], value: Any, message: str, tmp_path: Path
) -> None:
    document = copy.deepcopy(document)
    changed(document, way, "put", value)
    file = write(tmp_path, document, "net-1.json")
    with pytest.raises(InputError, match=message) as error:
        read_any_report(file)
    check_error(error.value, file)


def check_error(error: InputError, path: Path) -> None:
    """One line that names the file, and gives nobody away."""
    text = str(error)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert not [secret for secret in SECRETS if secret in text]


def outcome(path: Path) -> None:
    """A report is read whole, or refused by its name."""
    try:
        rows = read_any_report(path)
    except InputError as error:
        check_error(error, path)
        return
    for row in rows:
        assert 0 < row["latency_ms"] < math.inf
        assert row["samples"] >= 1
        assert row["id"]
        assert ";" not in row.get("compute_unit", "")
        assert np.isfinite([v for k, v in row.items() if k.endswith("_ms")]).all()
        notes = dict(note.split("=", 1) for note in filter(None, row["notes"].split("; ")))
        for name in ("ran_on", "nodes_on"):
            shares = [float(each.rpartition(":")[2]) for each in notes.get(name, "x:1").split(",")]
            assert sum(shares) == pytest.approx(1, abs=0.005 * len(shares) + 1e-9)


@pytest.mark.slow
@settings(max_examples=150)
@given(
    make=st.sampled_from([onnx_profile, hub_profile]),
    data=st.data(),
    change=st.sampled_from(["put", "put", "drop", "double"]),
    value=ANYTHING,
)
def test_malformed_documents(
    make: Callable[[], Any],
    data: st.DataObject,
    change: str,
    value: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """One change in each of six places, and all of them together."""
    places = data.draw(st.lists(st.sampled_from(ways(make())), min_size=6, max_size=6, unique=True))
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    for ways_here in [*([way] for way in places), places]:
        content = make()
        for way in ways_here:
            changed(content, way, change, value)
        outcome(write(folder, content, "net-1.json"))


@pytest.mark.slow
@settings(max_examples=600)
@given(data=st.data())
def test_damaged_text(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A line that is gone, doubled or moved; a number that is another; a file that was cut off."""
    text = data.draw(st.sampled_from([PERF_TEST, PERF_TEST_2020, BENCHMARK, BENCHMARK_2021]))
    lines = text.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        at, to = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        change = data.draw(st.sampled_from(["drop", "double", "move", "number", "text", "cut"]))
        line = lines[at]
        if change == "drop":
            lines[at] = ""
        elif change == "double":
            lines.insert(to, line)
        elif change == "move":
            lines[at], lines[to] = lines[to], line
        elif change == "number":
            other = data.draw(st.sampled_from(["0", "-1", "nan", "inf", "1e999", "1e-9", "9" * 30]))
            lines[at] = _other_number(line, other, data.draw(st.integers(0, 5)))
        elif change == "text":
            lines[at] = line.replace(": ", data.draw(st.text(max_size=3)), 1)
        else:
            lines[at] = line[: data.draw(st.integers(0, len(line)))]
    file = tmp_path_factory.getbasetemp() / "damaged.txt"
    file.write_text("".join(lines), encoding="utf-8", errors="replace")
    outcome(file)


def _other_number(line: str, other: str, which: int) -> str:
    words = [word for word in line.replace("=", " ").split() if word[0].isdigit()]
    return line.replace(words[which % len(words)], other) if words else line


@pytest.mark.slow
@settings(max_examples=400)
@given(content=st.binary(max_size=60) | ANYTHING.map(lambda each: json.dumps(each).encode()))
def test_files_of_something_else(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "other.txt"
    file.write_bytes(content)
    outcome(file)
