"""Profiling: planned, interrupted, gone on with; and what the tables mean."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import wait_until

import nas as nas_api
from latency.sources import settling
from latency.sources.contract import Protocol
from latency.sources.journal import Journal, journal_path
from latency.sources.visits import Visit
from nas.calibration import block_tables, profiling
from nas.costs.workloads import SpaceCosts
from nas.pipeline import host_profile
from nas.tables import write_rows
from search_spaces import Choice, InputError, SearchSpace, TemporalSpace, read_table

NAS = [sys.executable, "-c", "from nas.cli import main; main()"]
Call = Callable[..., tuple[int, str, str]]


def profiled_until(folder: Path, lines: int, stop: signal.Signals, *arguments: str) -> str:
    """Start `nas profile`, and stop it when its journal has so many lines; returns its words."""
    process = subprocess.Popen(
        [*NAS, "profile", *arguments], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    journal = journal_path(folder / "b.csv")
    wait_until(process, lambda: journal.exists() and journal.read_bytes().count(b"\n") >= lines)
    process.send_signal(stop)
    output, words = process.communicate()
    assert output == ""
    assert process.returncode == (1 if stop == signal.SIGINT else -stop)
    return words


@pytest.mark.long
def test_killed_at_any_moment_it_loses_one_visit_and_goes_on(tmp_path: Path, call: Call) -> None:
    wanted = ["--blocks", "--rounds", "12", "--seed", "3", "--out", "b.csv"]
    path = journal_path(tmp_path / "b.csv")
    profiled_until(tmp_path, 20, signal.SIGKILL, *wanted)
    before = path.read_bytes()
    assert not (tmp_path / "b.csv").exists()
    code, _, words = call("profile", *wanted)
    assert code == 2
    assert "b.csv.partial.jsonl: a measurement was left here; go on with it by --resume" in words
    for other in (["--seed", "4"], ["--rounds", "11"], ["--precision", "bfloat16"]):
        code, _, words = call("profile", *wanted, *other, "--resume")
        assert code == 2
        assert len(words.strip().splitlines()) == 1
        assert f"was begun with {other[0].strip('-')} " in words
    words = profiled_until(tmp_path, 60, signal.SIGINT, *wanted, "--resume")
    assert "go on with: nas profile --blocks --rounds 12 --seed 3 --out b.csv --resume" in words
    assert "Traceback" not in words
    kept = before[: before.rfind(b"\n") + 1]
    assert path.read_bytes().startswith(kept)
    visits = {(v["job"], v["round"]) for v in map(json.loads, path.read_bytes().splitlines()[1:])}
    assert len(visits) == path.read_bytes().count(b"\n") - 1, "a visit was made twice"
    code, output, words = call("profile", *wanted, "--resume", "--json")
    assert code == 0, words
    assert json.loads(output)["rows"] == 1 + 5 * 24
    table = read_table(tmp_path / "b.csv")
    assert set(table.reserved["samples"]) == {str(12 * 4)}
    assert not path.exists()
    # What is whole stays as it is; something else is not written over.
    whole = (tmp_path / "b.csv").read_bytes()
    assert call("profile", *wanted, "--resume")[0] == 0
    assert (tmp_path / "b.csv").read_bytes() == whole
    code, _, words = call("profile", "--networks", "3", "--out", "b.csv", "--resume")
    assert code == 2
    assert "is whole, and holds something other" in words


@pytest.mark.long
def test_a_search_does_not_measure_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = nas_api.Settings(calibration_networks=2, unseen_networks=2)
    made: list[tuple[str, int]] = []
    append = Journal.append

    def stops(journal: Journal, visit: Visit) -> None:
        append(journal, visit)
        made.append(visit.key)
        if len(made) == 15:
            raise KeyboardInterrupt

    def measured(*_: Any) -> None:
        raise StopAsyncIteration  # nothing after the measurement matters here

    monkeypatch.setattr(host_profile, "NETWORK_PROTOCOL", Protocol(rounds=2, runs_per_visit=1))
    monkeypatch.setattr(Journal, "append", stops)
    monkeypatch.setattr(host_profile.HostProfile, "_calibrated", measured)
    with pytest.raises(KeyboardInterrupt):
        nas_api.search(tmp_path / "run", settings)
    with pytest.raises(StopAsyncIteration):
        nas_api.search(tmp_path / "run", settings, resume=True)
    assert len(made) == (73 + 4 + 2) * 2  # blocks, networks, two of them again; two rounds
    names = sorted(file.name for file in (tmp_path / "run" / "measured").iterdir())
    assert names == ["blocks.csv", "networks.csv", "unseen.csv"]
    assert len(read_table(tmp_path / "run" / "measured" / "unseen.csv").metric("again_ms")) == 2


CONV, FULL = "conv1d(kernel=3,width=1.0)", "conv3d(kernel=3,width=1.0)"


def chains(tmp_path: Path, rows: list[tuple[str, int, float]]) -> Any:
    path = tmp_path / "chains.csv"
    write_rows(
        path,
        [
            {"slot": "mid", "option": option, "repeats": repeats, "latency_ms": ms}
            for option, repeats, ms in rows
        ],
    )
    return read_table(path)


def test_a_block_in_chains_of_two_lengths_is_what_one_more_adds(
    tmp_path: Path, space_costs: SpaceCosts
) -> None:
    rows = [(CONV, 1, 2.5), (FULL, 1, 4.4), (CONV, 8, 16.5), (FULL, 8, 32.4)]
    table = chains(tmp_path, rows)
    found = profiling.measurements_of(table, "latency_ms", space_costs)
    times = {m.workload.group: m.latency_ms for m in found}
    assert times == pytest.approx({CONV: 2.0, FULL: 4.0})
    assert block_tables.launch_ms(table, "latency_ms") == pytest.approx(0.45)


def test_chains_of_one_length_are_divided(tmp_path: Path, space_costs: SpaceCosts) -> None:
    table = chains(tmp_path, [(CONV, 8, 16.0), (FULL, 8, 32.0), (FULL, 8, 33.6)])
    found = profiling.measurements_of(table, "latency_ms", space_costs)
    assert [m.latency_ms for m in found] == pytest.approx([2.0, 4.0, 4.2])
    assert block_tables.launch_ms(table, "latency_ms") is None


def test_a_chain_that_took_no_longer_is_no_slope(tmp_path: Path, space_costs: SpaceCosts) -> None:
    table = chains(tmp_path, [(CONV, 1, 2.0), (CONV, 8, 2.0)])
    found = profiling.measurements_of(table, "latency_ms", space_costs)
    assert [m.latency_ms for m in found] == pytest.approx([0.25])
    of_none = chains(tmp_path, [(CONV, 0, 2.0), (CONV, 8, 2.0)])
    with pytest.raises(InputError, match="row 2: repeats '0' is not 1 or more"):
        profiling.measurements_of(of_none, "latency_ms", space_costs)


def test_worth_measuring_are_different_networks_the_same_for_a_seed(space: TemporalSpace) -> None:
    found = profiling.worth_measuring(space, 20, 1)
    assert len(set(found)) == 20
    assert found == profiling.worth_measuring(space, 20, 1)
    assert found != profiling.worth_measuring(space, 20, 2)
    others = profiling.held_out(space, found, 10, 1)
    assert len(others) == 10
    assert not set(found) & set(others)


def test_a_plan_says_what_and_how_long(call: Call, tmp_path: Path) -> None:
    code, output, words = call("profile", "--plan", "--json")
    assert code == 0, words
    plan = json.loads(output)
    assert len(plan["blocks"]) == 121
    assert len({row["id"] for row in plan["blocks"]}) == 73, "equal shapes are measured once"
    assert len(plan["networks"]) == 36
    assert plan["about_s"] > 0
    for backend in ("coreml", "coreml-device"):
        code, output, _ = call("profile", "--plan", "--blocks", "--backend", backend, "--json")
        assert code == 0
        plan = json.loads(output)
        assert {row["repeats"] for row in plan["blocks"]} == {1, 8}
    code, output, _ = call("profile", "--plan", "--blocks")
    assert "121 rows of 73 measurements" in output
    assert len(output.strip().splitlines()) < 12, "a summary; --out writes the rows"
    for words in ("down0, down1, mid, up1, up0", "conv3d 4", "--out writes the rows"):
        assert words in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_networks_of_a_table_are_planned_filled_in_and_calibrated(
    call: Call, tmp_path: Path
) -> None:
    choices = [Choice(f"edge{n}", ("conv", "pool", "skip")) for n in range(3)]
    (tmp_path / "cell.json").write_text(json.dumps(SearchSpace("cell", tuple(choices)).to_json()))
    code, _, words = call("profile", "--space", "cell.json", "--networks", "9", "--out", "t.csv")
    assert code == 2
    assert "measure by hand, --networks 9 --plan --out todo.csv writes which" in words
    wanted = ["profile", "--space", "cell.json", "--networks", "12", "--plan", "--out", "todo.csv"]
    code, output, words = call(*wanted)
    assert code == 0, words
    assert "add the column latency_ms" in output
    todo = read_table(tmp_path / "todo.csv", measured=False)
    assert len(set(todo.architectures)) == 12
    cost = {"conv": 3.0, "pool": 1.0, "skip": 0.5}
    rows = [
        {"id": id_, **choices, "latency_ms": 1 + sum(cost[option] for option in choices.values())}
        for id_, choices in zip(todo.reserved["id"], todo.choices.to_dict("records"), strict=True)
    ]
    write_rows(tmp_path / "done.csv", rows)
    code, _, words = call("calibrate", "done.csv", "--space", "cell.json", "--out", "d.json")
    assert code == 0, words
    code, _, words = call(*wanted)
    assert code == 2
    assert "todo.csv: exists" in words


OWN = """
from latency.sources.contract import Protocol, Sampled
from search_spaces import CONV1D, NONE, UNetShape, temporal_space

class Board:
    name, chains, protocol = "board", (1, 4), Protocol(rounds=2, runs_per_visit=3, warmup_s=0)
    def facts(self):
        return {"device": "board", "precision": "int4"}
    def prepare(self, module, inputs):
        ms = 0.5 + 2.0 * len(getattr(module, "blocks", [0]))
        return lambda calls: Sampled([ms] * calls, {"firmware": "7"})

class Falling(Board):
    # slows down after the calls of a burst: two rounds of three jobs, three calls each

    def __init__(self):
        self.called = 0

    def prepare(self, module, inputs):
        def run(calls):
            self.called += calls
            return Sampled([2.0 if self.called <= 18 else 3.0] * calls)
        return run

UNET = UNetShape(1, (8,), frames=2, height=8, width=8, context_tokens=1, context_channels=2)
SPACE = temporal_space("one_slot", UNET, (NONE, CONV1D))
NOTHING = dict
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "board.py").write_text(OWN)
    yield
    sys.modules.pop("board", None)
    sys.path[:] = [folder for folder in sys.path if folder != str(tmp_path)]


@pytest.mark.usefixtures("own")
def test_a_source_of_ones_own(call: Call, tmp_path: Path) -> None:
    wanted = ["profile", "--space", "board:SPACE", "--blocks", "--backend"]
    code, output, words = call(*wanted, "board:Board", "--out", "t.csv", "--json")
    assert code == 0, words
    assert json.loads(output) == {"table": "t.csv", "rows": 3, "launch_ms": pytest.approx(0.5)}
    table = read_table(tmp_path / "t.csv")
    assert list(table.reserved["repeats"]) == ["1", "1", "4"]
    assert list(table.metric("latency_ms")) == [2.5, 2.5, 8.5]
    assert set(table.reserved["notes"]) == {"firmware=7"}
    assert set(table.reserved["device"]) == {"board"}
    for name, message in (
        ("board:NOTHING", "returned no measurement source: it lacks name, chains"),
        ("board:SPACE", "is not callable"),
        ("board:Nobody", "has no 'Nobody'"),
    ):
        code, _, words = call(*wanted, name, "--out", "u.csv")
        assert code == 2
        assert message in words


@pytest.mark.usefixtures("own")
def test_burst_and_steady_latency_are_kept_apart(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "WINDOW_S", 1e-4)
    wanted = ["profile", "--space", "board:SPACE", "--blocks", "--backend", "board:Falling"]
    code, _, words = call(*wanted, "--sustain", "60", "--out", "t.csv")
    assert code == 0, words
    table = read_table(tmp_path / "t.csv")
    assert list(table.metric("latency_ms")) == [2.0] * 3
    assert list(table.metric("steady_latency_ms")) == [3.0] * 3
    assert all("settled_after_s=" in notes for notes in table.reserved["notes"])
    calibrate = ["calibrate", "t.csv", "--space", "board:SPACE", "--column", "steady_latency_ms"]
    code, _, words = call(*calibrate, "--out", "d.json")
    assert code == 0, words


@pytest.mark.long
@pytest.mark.usefixtures("own")
def test_what_xcode_measured_becomes_a_device(call: Call, tmp_path: Path) -> None:
    """Plan and packages here, Xcode there; its reports come back by the names of the packages."""
    wanted = ["profile", "--space", "board:SPACE", "--blocks", "--plan", "--packages", "models"]
    code, output, words = call(*wanted, "--out", "todo.csv")
    assert code == 0, words
    assert "nas import REPORT.mlperf ... --choices todo.csv" in output
    packages = sorted((tmp_path / "models").iterdir())
    names = ["backbone", "conv1d-8x8x8-2f-x1", "conv1d-8x8x8-2f-x8"]
    assert [package.name for package in packages] == [f"{name}.mlpackage" for name in names]
    for name, ms in zip(names, (9.0, 2.5, 16.5), strict=True):
        folder = tmp_path / f"{name}.mlperf"
        folder.mkdir()
        (folder / "report.json").write_text(json.dumps(xcode_report(name, ms)))
    reports = [f"{name}.mlperf" for name in names]
    code, _, words = call("import", *reports, "--choices", "todo.csv", "--out", "phone.csv")
    assert code == 0, words
    table = read_table(tmp_path / "phone.csv")
    assert table.of_blocks
    assert list(table.reserved["repeats"]) == ["1", "1", "8"]
    assert block_tables.launch_ms(table, "latency_ms") == pytest.approx(0.5)
    code, _, words = call("calibrate", "phone.csv", "--space", "board:SPACE", "--out", "phone.json")
    assert code == 0, words


def xcode_report(name: str, ms: float) -> dict[str, Any]:
    return {
        "jsonVersion": 1,
        "deviceInfo": {"modelName": "iPhone", "osNameAndVersionWithoutBuildNumber": "iOS 19"},
        "computeUnit": 2,
        "modelMetadata": {"fileName": name},
        "deviceResults": {
            "perfRunConfig": {"experimentIterations": 1, "predictionCount": 3},
            "predict": {"samples": [1.0, ms / 1e3, ms / 1e3]},
        },
    }


FELL_BACK = """Graph: [net.tflite]
Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate.
count=50 first=2 curr=3 min=2 max=4 avg=3 std=1
Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 3, Inference (avg): 3
"""


def test_what_a_phone_printed_becomes_rows_of_what_was_planned(call: Call, tmp_path: Path) -> None:
    (tmp_path / "todo.csv").write_text("id,op\nnet,a\nnot-measured,b\n")
    (tmp_path / "net.txt").write_text(FELL_BACK)
    command = "import net.txt --allow-fallback --choices todo.csv --out phone.csv --json"
    code, output, words = call(*command.split(), "--measured-on", "Galaxy S24")
    assert code == 0, words
    assert json.loads(output)["rows"] == 1
    table = read_table(tmp_path / "phone.csv")
    assert list(table.choices["op"]) == ["a"]
    assert list(table.metric("latency_ms")) == [0.003]
    assert list(table.reserved["device"]) == ["Galaxy S24"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("import gone.mlperf --out t.csv", "gone.mlperf: no such file"),
        ("import words.txt --out t.csv", "words.txt: holds nothing that is known; give an Xcode"),
        ("import gone --out t.csv", "gone: no such file"),
        ("import a.json --out a.json", "a.json: exists"),
        ("import a.json mine.csv --out t.csv", "not all of them have the columns"),
        ("import a.json --choices todo.csv --out t.csv", "no row has the id 'net' of a report"),
        ("import a.json --choices mine.csv --out t.csv", "mine.csv: has no column 'id'"),
        ("import broken.json --out t.csv", "broken.json: is JSON of something else; give an Xcode"),
        ("import cpu.txt --out t.csv", "ran all of it; take that by --allow-fallback"),
        ("profile --blocks --plan --packages p --format onyx --out t.csv", "--format onyx: give"),
        ("profile --blocks --format onnx --out t.csv", "--format onnx goes with --plan --packages"),
        ("profile --blocks --backend onnxruntime --precision bfloat16 --out t.csv", "float16"),
        ("profile --blocks --backend onnxruntime --threads 9999 --out t.csv", "--threads 9999: "),
        ("profile --blocks --plan --packages p", "--packages needs --out too"),
        ("profile --blocks --packages p --out t.csv", "--packages goes with --plan"),
        ("profile --plan --out t.csv", "a table of one kind: add --blocks, or --networks N"),
        ("profile --blocks", "give --out, the table to write; or --plan"),
        ("profile --blocks --repeats 1,x --out t.csv", "--repeats '1,x': give numbers from 1"),
        ("profile --blocks --torch-device cuda:99 --out t.csv", "torch finds . CUDA GPUs here"),
        ("profile --blocks --precision int4 --out t.csv", "precision 'int4'"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: str, message: str, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text("words")
    (tmp_path / "a.json").write_text(json.dumps(xcode_report("net", 1.0)))
    (tmp_path / "broken.json").write_text("{}")
    (tmp_path / "cpu.txt").write_text(FELL_BACK)
    (tmp_path / "mine.csv").write_text("op,latency_ms\na,1\nb,2\n")
    (tmp_path / "todo.csv").write_text("id,op\nother,a\n")
    before = sorted(tmp_path.rglob("*"))
    code, output, words = call(*arguments.split())
    assert code == 2, words
    assert output == ""
    assert len(words.strip().splitlines()) == 1
    assert re.search(message, words), words
    assert sorted(tmp_path.rglob("*")) == before, "something was left behind"
