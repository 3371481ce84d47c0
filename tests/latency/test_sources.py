"""Sources measure what they are given, wherever they stand, and never name a specimen."""

import inspect
import json
from pathlib import Path
from typing import Any

import fake_coreml
import pytest
import torch

from latency.measurement.measurement import NotHereError
from latency.sources import apple, settling
from latency.sources.compute_plan import read_plan
from latency.sources.contract import Protocol, Sampled, Source
from latency.sources.coreml_iphone import CoreMLiPhone
from latency.sources.coreml_mac import CoreMLMac
from latency.sources.journal import Journal
from latency.sources.settling import settle
from latency.sources.torch_host import TorchSource
from latency.sources.user_table import rows_of
from latency.sources.visits import Visit, gather, visits
from nas.testing import ReportConformance, SourceConformance
from nas.testing.sources import job
from search_spaces import InputError, read_table


def phone(**options: Any) -> CoreMLiPhone:
    return CoreMLiPhone(
        team="TEAM", parts=fake_coreml.TOOLKIT, warmup_s=0, run=fake_coreml.devicectl, **options
    )


class TestTorch(SourceConformance):
    def source(self) -> Source:
        return TorchSource()


class TestTorchInHalf(SourceConformance):
    def source(self) -> Source:
        return TorchSource(precision="bfloat16")


class TestCoreML(SourceConformance):
    def source(self) -> Source:
        return CoreMLMac("cpu-and-ne", fake_coreml.TOOLKIT, warmup_s=0)


class TestIPhone(SourceConformance):
    def source(self) -> Source:
        return phone()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
class TestCuda(SourceConformance):
    def source(self) -> Source:
        return TorchSource("cuda", "float16")


class TestComputePlan(ReportConformance):
    measured = False

    def rows(self) -> list[dict[str, Any]]:
        return self.read

    @pytest.fixture(autouse=True)
    def _plan(self, tmp_path: Path) -> None:
        package = tmp_path / "My network.mlpackage"
        package.mkdir()
        (package / "model.json").write_text("{}")
        self.read = read_plan(package, "cpu-and-ne", fake_coreml.TOOLKIT)

    def test_says_where_it_would_run(self) -> None:
        (row,) = self.read
        assert row["id"] == "My network"
        assert row["compute_unit"] == "cpu-and-ne"
        assert row["notes"] == "ran_on=ne:0.90,cpu:0.10; operations=add:1,cond:1,conv:1"
        found = {name: row[name] for name in ("ne_pct", "gpu_pct", "cpu_pct", "operations_count")}
        assert found == {"ne_pct": 90, "gpu_pct": 0, "cpu_pct": 10, "operations_count": 3}


class TestUserTable(ReportConformance):
    @pytest.fixture(autouse=True)
    def _table(self, tmp_path: Path) -> None:
        self.path = tmp_path / "mine.csv"
        self.path.write_text("width,latency_us,source\n8,1500,me\n16,2500,me\n")

    def rows(self) -> list[dict[str, Any]]:
        return rows_of(read_table(self.path))

    def test_times_are_in_ms(self) -> None:
        assert [row["latency_ms"] for row in self.rows()] == [1.5, 2.5]


FAKES = {
    "MLModel": ["__init__", "get_spec"],
    "ComputePlan": [
        "__init__",
        "load_from_path",
        "get_estimated_cost_for_mlprogram_operation",
        "get_compute_device_usage_for_mlprogram_operation",
    ],
    "Benchmarker": ["__init__", "benchmark_predict", "benchmark_operation_execution"],
    "Device": ["get_connected_devices", "prepare_for_model_debugging"],
}


def test_the_fakes_have_the_signatures_of_coremltools() -> None:
    real = apple.real_toolkit()
    for part, names in FAKES.items():
        for name in names:
            assert shape(getattr(getattr(fake_coreml.TOOLKIT, part), name)) == shape(
                getattr(getattr(real, part), name)
            ), f"{part}.{name}"
    assert shape(fake_coreml.compile_model) == shape(real.compile_model)
    assert shape(fake_coreml.save) == shape(real.save)
    assert shape(fake_coreml.Device) == shape(real.Device)
    assert shape(fake_coreml.AppSigningCredentials) == shape(real.Credentials)
    assert real.DeviceType.IPHONE.value == fake_coreml.DeviceType.IPHONE.value
    assert {unit.name for unit in real.ComputeUnit} == {u.name for u in fake_coreml.ComputeUnit}


def test_coremltools_has_what_the_fakes_return() -> None:
    from coremltools.models import compute_device, compute_plan
    from coremltools.models.ml_program.experimental.perf_utils import MLModelBenchmarker

    for name in ("MLNeuralEngineComputeDevice", "MLGPUComputeDevice", "MLCPUComputeDevice"):
        assert inspect.isclass(getattr(compute_device, name))
    assert "functions" in fields(compute_plan.MLModelStructureProgram)
    assert "block" in fields(compute_plan.MLModelStructureProgramFunction)
    assert "operations" in fields(compute_plan.MLModelStructureProgramBlock)
    assert {"operator_name", "blocks"} <= fields(compute_plan.MLModelStructureProgramOperation)
    assert "preferred_compute_device" in fields(compute_plan.MLComputePlanDeviceUsage)
    assert "weight" in fields(compute_plan.MLComputePlanCost)
    assert "samples" in fields(MLModelBenchmarker.Measurement)
    info = fields(MLModelBenchmarker.OperationExecutionInfo)
    assert {"spec", "compute_device_usage", "measurement"} <= info


def shape(function: Any) -> list[tuple[str, Any, bool]]:
    """Names, kinds, and which have defaults, of a function's parameters."""
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default is not p.empty) for p in parameters]


def fields(of: Any) -> set[str]:
    return set(of.__dataclass_fields__)


def test_core_ml_notes_where_it_ran_and_how_it_was_called() -> None:
    source = CoreMLMac("all", fake_coreml.TOOLKIT, warmup_s=0)
    protocol = Protocol(rounds=2, runs_per_visit=5, warmup_s=0)
    jobs = {"one": job(8, 16), "chain": job(8, 16, repeats=8)}
    found = gather(visits(source, jobs, protocol))
    notes = dict(note.split("=") for note in found["one"].notes.split("; "))
    assert notes["ran_on"] == "ne:0.90,cpu:0.10"
    assert notes["warmup_s"] == "0"
    assert float(notes["spacing_ms"]) >= 0
    # The launch shows in what a chain takes less than its blocks alone.
    one, chain = found["one"].timing.latency_ms, found["chain"].timing.latency_ms
    assert one - (chain - one) / 7 == pytest.approx(fake_coreml.LAUNCH_MS, rel=0.1)


def test_a_real_block_converts_to_what_the_benchmarker_is_given(tmp_path: Path) -> None:
    """The way to Core ML is real up to the model's description; Linux goes no further."""
    real = apple.real_toolkit()
    module, inputs = job(8, 8, repeats=2).made()
    package = tmp_path / "model.mlpackage"
    real.save(module, inputs, package)
    units = apple.units_of(real, "cpu-and-ne")
    model = real.MLModel(str(package), skip_model_load=True, compute_units=units)
    assert real.Benchmarker(model).compute_units is units
    described = [tuple(f.type.multiArrayType.shape) for f in model.get_spec().description.input]
    assert described == [tuple(x.shape) for x in inputs]


def test_a_phone_is_known_by_its_model_and_never_by_its_owner() -> None:
    facts = phone().facts()
    assert facts["device"] == "iPhone 16 Pro"
    assert facts["os"] == "iOS 19.1"
    text = json.dumps(facts)
    for secret in (fake_coreml.OWNER, fake_coreml.UDID, fake_coreml.SERIAL, "TEAM", "23B85"):
        assert secret not in text


def test_a_phone_says_where_a_model_ran_on_it() -> None:
    (visit,) = visits(phone(), {"one": job(4, 8)}, Protocol(rounds=1, warmup_s=0))
    assert visit.notes["ran_on"] == "ne:0.75,cpu:0.25"
    assert visit.notes["operations"] == "conv:1,add:1"
    assert len(visit.samples_ms) == Protocol().runs_per_visit


def test_a_phone_that_xcode_does_not_describe_is_an_iphone() -> None:
    def broken(command: list[str], **_: Any) -> None:
        Path(command[-1]).write_text("[]")

    def absent(command: list[str], **_: Any) -> None:
        raise FileNotFoundError(command[0])

    for run in (broken, absent):
        source = CoreMLiPhone(team="TEAM", parts=fake_coreml.TOOLKIT, warmup_s=0, run=run)
        assert source.facts()["device"] == "iPhone"


def test_what_is_wrong_with_phones_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="No signing certificate.*`signing_team=`") as error:
        CoreMLiPhone(parts=fake_coreml.TOOLKIT, run=fake_coreml.devicectl)
    assert "\n" not in str(error.value)
    for count in (0, 2):
        monkeypatch.setattr(fake_coreml, "CONNECTED", [fake_coreml.PHONE] * count)
        with pytest.raises(InputError, match=f"{count} iPhones are connected"):
            phone()


@pytest.mark.skipif(apple.platform.system() == "Darwin", reason="this is a Mac")
def test_elsewhere_one_line_says_that_it_needs_a_mac(tmp_path: Path) -> None:
    for make in (CoreMLMac, CoreMLiPhone, lambda: read_plan(tmp_path)):
        with pytest.raises(NotHereError, match="needs macOS, and this is Linux"):
            make()


def test_options_that_no_source_knows() -> None:
    for make, message in (
        (lambda: TorchSource("tpu"), "give cpu, cuda"),
        (lambda: TorchSource("mps"), "measures on cpu, cuda"),
        (lambda: TorchSource("cpu", "int8"), "torch measures float32, float16, bfloat16"),
        (lambda: CoreMLMac("npu", fake_coreml.TOOLKIT), "give one of all, cpu-only"),
    ):
        with pytest.raises(InputError, match=message):
            make()


def test_a_model_that_core_ml_cannot_run_names_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("ANE compiler\nfailed")

    monkeypatch.setattr(fake_coreml.MLModelBenchmarker, "benchmark_predict", fails)
    source = CoreMLMac("all", fake_coreml.TOOLKIT, warmup_s=0)
    with pytest.raises(InputError, match="^conv3d: Core ML cannot run it: .*ANE compiler failed$"):
        list(visits(source, {"conv3d": job(4, 8)}, Protocol(rounds=1, warmup_s=0)))


def test_rounds_after_the_clock_has_settled_are_made_and_gone_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "WINDOW_S", 1e-4)
    jobs = {"one": job(4, 8), "two": job(4, 8)}
    protocol = Protocol(rounds=2, runs_per_visit=1, warmup_s=0, sustain_s=1e-3)
    whole = list(visits(TorchSource(), jobs, protocol))
    assert [visit.round for visit in whole] == [0, 0, 1, 1, 2, 2, 3, 3]
    said = ["settled_after_s" in v.notes or "not_settled_in_s" in v.notes for v in whole]
    assert said == [False] * 4 + [True] * 4
    done = {visit.key for visit in whole[:5]}
    rest = list(visits(TorchSource(), jobs, protocol, done))
    assert [visit.key for visit in rest] == [visit.key for visit in whole[5:]]
    assert all(visit.notes for visit in rest), "the clock has recovered: it is settled again"
    for measured in gather(whole, protocol.rounds).values():
        assert measured.steady is not None
        assert (measured.timing.samples, measured.steady.samples) == (2, 2)


def test_a_clock_that_does_not_settle_is_said_to() -> None:
    now = iter(float(second) for second in range(1000))
    taken_ms = iter(float(ms) for ms in range(1, 1000))
    slower = settle(lambda calls: Sampled([next(taken_ms)] * calls), 60.0, lambda: next(now))
    assert slower == {"not_settled_in_s": 60.0}
    steady = settle(lambda calls: Sampled([1.0] * calls), 600.0, lambda: next(now))
    assert steady.keys() == {"settled_after_s"}


def test_a_burst_is_not_taken_for_what_lasts() -> None:
    """Twenty seconds at one speed, then slower for good: what a budget of power looks like."""
    seconds = iter(range(10_000))
    now = [0.0]

    def clock() -> float:
        now[0] = next(seconds) / 4
        return now[0]

    found = settle(lambda calls: Sampled([1.0 if now[0] < 20 else 2.0] * calls), 60.0, clock)
    after_s = found["settled_after_s"]
    assert isinstance(after_s, float)
    assert after_s > 20


@pytest.mark.parametrize("samples", [[1.0], [1.0, 0.0], [1.0, float("nan")], [1.0, -1.0]])
def test_a_source_that_returns_no_times_is_refused(samples: list[float]) -> None:
    class Broken(TorchSource):
        name = "broken"

        def prepare(self, module: Any, inputs: Any) -> Any:
            return lambda _: Sampled(samples)

    with pytest.raises(InputError, match="source 'broken': .*'one'"):
        list(visits(Broken(), {"one": job(4, 8)}, Protocol(1, 2, warmup_s=0)))


def test_modules_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    class Counting(TorchSource):
        def prepare(self, module: Any, inputs: Any) -> Any:
            built.append("module")
            return super().prepare(module, inputs)

    jobs = {str(n): job(8, 8) for n in range(3)}
    protocol = Protocol(rounds=3, runs_per_visit=1, warmup_s=0)
    list(visits(Counting(), jobs, protocol))
    assert len(built) == 3
    monkeypatch.setattr("latency.sources.visits.KEPT_BYTES", 1)
    list(visits(Counting(), jobs, protocol))
    assert len(built) > 6


def test_journals_drop_a_line_that_was_cut_off_and_keep_the_rest(tmp_path: Path) -> None:
    path, settings = tmp_path / "journal", {"seed": 0, "space": "a"}
    made = [Visit("one", n, (1.0, 2.0), {"ran_on": "cpu:1.00", "warmup_s": 1.0}) for n in range(3)]
    with Journal(path, settings) as journal:
        for visit in made:
            journal.append(visit)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in (*range(0, len(whole), 5), *ends, *(end - 1 for end in ends)):
        path.write_bytes(whole[:cut])
        with Journal(path, settings) as journal:
            assert journal.visits == made[: max(0, sum(end <= cut for end in ends) - 1)]
            journal.append(made[0])
        with Journal(path, settings) as journal:
            assert journal.visits[-1] == made[0]


def test_journals_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, {"seed": 0}) as journal:
        journal.append(Visit("one", 0, (1.0,)))
        with pytest.raises(InputError, match="another process is at this measurement"):
            Journal(path, {"seed": 0})
    with pytest.raises(InputError, match="was begun with seed 0, not 1; .* remove the file"):
        Journal(path, {"seed": 1})
    path.write_text(path.read_text() + "[]\n")
    with pytest.raises(InputError, match="journal, line 3: damaged"):
        Journal(path, {"seed": 0})
    path.write_text('{"format": "other"}\n')
    with pytest.raises(InputError, match="expected format"):
        Journal(path, {"seed": 0})
    with Journal(path := tmp_path / "second", {"seed": 0}) as journal:
        journal.append(Visit("one", 0, (1.0,)))
    with Journal(path, {"seed": 1}, forget_others=True) as journal:
        assert journal.visits == []


@pytest.mark.slow
def test_nas_profile_by_core_ml(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The whole command as on a Mac, with coremltools' parts replaced alone."""
    from nas.cli import main

    (tmp_path / "slot.py").write_text(
        "from search_spaces import CONV1D, NONE, UNetShape, temporal_space\n"
        "UNET = UNetShape(1, (8,), 2, height=8, width=8, context_tokens=1, context_channels=2)\n"
        'SPACE = temporal_space("slot", UNET, (NONE, CONV1D))\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(apple, "toolkit", lambda _: fake_coreml.TOOLKIT)
    command = "nas profile --space slot:SPACE --blocks --backend coreml --compute-units cpu-and-ne"
    monkeypatch.setattr("sys.argv", [*command.split(), "--rounds", "1", "--out", "t.csv", "--json"])
    with pytest.raises(SystemExit, match="0"):
        main()
    printed = json.loads(capsys.readouterr().out)
    assert printed["rows"] == 3
    assert printed["launch_ms"] == pytest.approx(fake_coreml.LAUNCH_MS, rel=0.1)
    table = read_table(tmp_path / "t.csv")
    assert list(table.reserved["repeats"]) == ["1", "1", "8"]
    assert set(table.reserved["compute_unit"]) == {"cpu-and-ne"}
    assert set(table.reserved["source"]) == {"Core ML"}
    assert all("warmup_s=1; spacing_ms=" in notes for notes in table.reserved["notes"])
