"""ONNX Runtime for real: what it measures here, what it writes of itself, and where nodes ran.

Skipped where it is not installed; `.ci/run --only onnx_runtime` installs it.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from latency.measurement.measurement import NotHereError
from latency.onnx.export import save
from latency.sources.contract import Protocol, Source
from latency.sources.onnx_runtime import OnnxRuntime
from latency.sources.reports import read_any_report
from latency.sources.visits import visits
from nas.testing import ReportConformance, SourceConformance
from nas.testing.sources import Convolutions, job
from search_spaces import InputError, read_table

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnxscript", reason="the exporter's onnxscript is not installed")

ONCE = Protocol(rounds=1, runs_per_visit=2, warmup_s=0)
NOTHING_RUNS = "AzureExecutionProvider"  # it calls services, and takes no node of any network here
Call = Callable[..., tuple[int, str, str]]


@pytest.mark.long
class TestOnnxRuntime(SourceConformance):
    def source(self) -> Source:
        return OnnxRuntime()


@pytest.mark.long
def test_notes_where_it_ran_and_in_what_precision() -> None:
    source = OnnxRuntime("cpu", "float16", threads=2)
    (visit,) = visits(source, {"one": job(4, 8)}, ONCE)
    assert visit.notes["ran_on"] == "cpu:1.00"
    assert "Conv:1" in str(visit.notes["operations"])
    facts = source.facts()
    assert facts["compute_unit"] == "CPUExecutionProvider, 2 threads"
    assert facts["precision"] == "float16"
    assert source.name == f"ONNX Runtime {onnxruntime.__version__}"
    assert source.chains == (1,)


@pytest.mark.slow
@pytest.mark.skipif(
    NOTHING_RUNS not in onnxruntime.get_available_providers(),
    reason="this build has no provider that takes no node",
)
def test_a_provider_that_fell_back_to_the_processor_is_refused_unless_asked_for() -> None:
    jobs = {"one": job(4, 8)}
    fell_back = "^one: AzureExecutionProvider .* 100% .* elsewhere .cpu:1.00.; .*`allow_fallback="
    with pytest.raises(InputError, match=fell_back):
        list(visits(OnnxRuntime(NOTHING_RUNS), jobs, ONCE))
    source = OnnxRuntime(NOTHING_RUNS, allow_fallback=True)
    assert source.chains == (1, 8)
    (visit,) = visits(source, jobs, ONCE)
    assert visit.notes["ran_on"] == "cpu:1.00"


@pytest.mark.slow
@pytest.mark.parametrize(
    "provider",
    sorted({*onnxruntime.get_available_providers()} - {NOTHING_RUNS, "CPUExecutionProvider"}),
)
def test_every_other_provider_of_this_build_runs_what_it_is_asked_to(provider: str) -> None:
    (visit,) = visits(OnnxRuntime(provider), {"one": job(16, 16, layers=4)}, ONCE)
    assert not str(visit.notes["ran_on"]).startswith("cpu")
    assert all(sample > 0 for sample in visit.samples_ms)


def test_options_that_are_none() -> None:
    with pytest.raises(NotHereError, match="ONNX Runtime .* has .*CPUExecutionProvider here"):
        OnnxRuntime("NoSuchExecutionProvider")
    with pytest.raises(InputError, match="precision 'bfloat16': ONNX is written in float32 or"):
        OnnxRuntime(precision="bfloat16")
    with pytest.raises(InputError, match="`threads=0`: give a number from 1"):
        OnnxRuntime(threads=0)


class Unknown(nn.Module):
    """Does what ONNX has no operation for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigh(x)[0]


@pytest.mark.slow
def test_a_module_that_onnx_cannot_say_is_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="cannot be exported to ONNX: .*eigh") as error:
        save(Unknown(), (torch.eye(3),), tmp_path / "a.onnx")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "off"), [("float32", 1e-4), ("float16", 2e-2)])
def test_an_onnx_file_answers_as_its_module(tmp_path: Path, precision: str, off: float) -> None:
    module, inputs = job(8, 8, layers=2).made()
    with torch.inference_mode():
        expected = module(*inputs).numpy()
    save(module, inputs, tmp_path / "net.onnx", precision)
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    feeds = [x.numpy().astype(precision) for x in inputs]
    names = [each.name for each in session.get_inputs()]
    (answer,) = session.run(None, dict(zip(names, feeds, strict=True)))
    assert np.abs(answer - expected).max() <= off * np.abs(expected).max()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "net-1.onnx"
    inputs = torch.randn(1, 8, 16, 16), torch.randn(1, 2, 4)
    save(Convolutions(8, 2), inputs, path)
    return path


def called(model: Path, calls: int, prefix: str = "") -> tuple[list[float], str]:
    """The seconds of some calls, and the profile if there is a prefix for one."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = bool(prefix)
    options.profile_file_prefix = prefix
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {each.name: np.ones(each.shape, "float32") for each in session.get_inputs()}
    taken_s = []
    for _ in range(calls):
        begun = time.perf_counter()
        session.run(None, feeds)
        taken_s.append(time.perf_counter() - begun)
    return taken_s, session.end_profiling() if prefix else ""


class TestItsProfile(ReportConformance):
    @pytest.fixture(autouse=True)
    def _profile(self, model: Path, tmp_path: Path) -> None:
        self.taken_s, profile = called(model, 6, str(tmp_path / "net-1"))
        self.path = Path(profile)

    def rows(self) -> list[dict[str, Any]]:
        return read_any_report(self.path)

    def test_says_what_was_measured_where(self) -> None:
        (row,) = self.rows()
        assert row["id"] == "net-1"
        assert row["samples"] == 5
        assert row["compute_unit"] == "CPUExecutionProvider"
        assert row["precision"] == "float32"
        assert row["notes"].startswith("ran_on=cpu:1.00; operations=Conv:2")
        assert 0 < row["latency_ms"] <= 1e3 * max(self.taken_s[1:])

    def test_a_session_that_was_not_ended_is_refused(self) -> None:
        whole = self.path.read_text()
        self.path.write_text(whole[: whole.rindex(",")])
        with pytest.raises(InputError, match="not valid JSON"):
            self.rows()


def perf_test(taken_s: list[float]) -> str:
    """What onnxruntime_perf_test prints of calls; pip has no onnxruntime_perf_test."""
    ordered, count = sorted(taken_s), len(taken_s)
    at = {name: ordered[int(count * q)] for name, q in
          (("P50", 0.5), ("P90", 0.9), ("P95", 0.95), ("P99", 0.99), ("P999", 0.999))}  # fmt: skip
    stats = {"Min": ordered[0], "Max": ordered[-1], **at}
    return "\n".join(
        [
            "Setting intra_op_num_threads to 1",
            f"Total inference time cost: {sum(taken_s):g} s",
            f"Total inference requests: {count}",
            f"Average inference time cost total: {sum(taken_s) / count * 1e3:f} ms",
            *(f"{name} Latency: {value:g} s" for name, value in stats.items()),
        ]
    )


def test_its_calls_as_onnxruntime_perf_test_prints_them(model: Path, tmp_path: Path) -> None:
    taken_s, _ = called(model, 20)
    (tmp_path / "net-1.txt").write_text(perf_test(taken_s))
    (row,) = read_any_report(tmp_path / "net-1.txt")
    assert row["samples"] == 20
    assert row["latency_ms"] == pytest.approx(sorted(taken_s)[10] * 1e3, rel=1e-4)


SLOT = """from search_spaces import CONV1D, NONE, UNetShape, temporal_space
UNET = UNetShape(1, (8,), 2, height=8, width=8, context_tokens=1, context_channels=2)
SPACE = temporal_space("slot", UNET, (NONE, CONV1D))
"""


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """A command in a folder that has a small space."""
    from nas.cli import main

    (tmp_path / "onnx_slot.py").write_text(SLOT)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["nas", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.mark.long
def test_nas_profile_by_onnx_runtime_here_and_elsewhere(call: Call, tmp_path: Path) -> None:
    """Measured here; and as files, whose profiles come back by the names of the files."""
    blocks = ["profile", "--space", "onnx_slot:SPACE", "--blocks"]
    here = ["--backend", "onnxruntime", "--rounds", "2", "--out", "t.csv"]
    code, _, words = call(*blocks, *here)
    assert code == 0, words
    measured = read_table(tmp_path / "t.csv")
    assert list(measured.reserved["repeats"]) == ["1", "1"]
    assert set(measured.reserved["source"]) == {f"ONNX Runtime {onnxruntime.__version__}"}
    assert all("ran_on=cpu:1.00" in notes for notes in measured.reserved["notes"])

    files = ["--plan", "--packages", "models", "--format", "onnx", "--out", "todo.csv"]
    code, output, words = call(*blocks, *files)
    assert code == 0, words
    assert "--choices todo.csv" in output
    models = sorted((tmp_path / "models").iterdir())
    assert [model.suffix for model in models] == [".onnx"] * 3
    other = [*files[:-1], "other.csv", "--precision", "float16"]
    code, output, words = call(*blocks, *other)
    assert (code, output) == (2, "")
    assert "is there in float32, and float16 was asked for; choose another folder" in words
    code, _, words = call(*blocks, *files[:-1], "again.csv")
    assert code == 0, words
    profiles = [called(model, 4, os.fspath(model.with_suffix("")))[1] for model in models]
    code, output, words = call("import", *profiles, "--choices", "todo.csv", "--out", "i.csv")
    assert code == 0, words
    imported = read_table(tmp_path / "i.csv")
    assert sorted(imported.reserved["id"]) == [model.stem for model in models]
    assert list(imported.reserved["repeats"]) == ["1", "1", "8"]
    code, output, words = call(
        "calibrate", "i.csv", "--space", "onnx_slot:SPACE", "--out", "d.json"
    )
    assert code == 0, words
    assert json.loads((tmp_path / "d.json").read_text())["format"] == "temporal-nas/device"


def test_a_provider_that_is_not_here_is_one_line_and_exit_2(call: Call, tmp_path: Path) -> None:
    wanted = ["profile", "--space", "onnx_slot:SPACE", "--blocks", "--backend", "onnxruntime"]
    code, output, words = call(*wanted, "--provider", "NoSuchProvider", "--out", "t.csv")
    assert (code, output, words.count("\n")) == (2, "", 1)
    assert "provider 'NoSuchProvider': ONNX Runtime" in words
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["onnx_slot.py"]
