"""Blocks of named choices: a network of any space takes the sum of its blocks."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import latency
from nas.calibration.block_tables import always_ms, measurements_of
from nas.calibration.calibrating import calibrated, read
from nas.costs.workloads import workload_of
from nas.tables import write_rows
from search_spaces import (
    Choice,
    Condition,
    InputError,
    NumericChoice,
    SearchSpace,
    encode,
    read_table,
)

Call = Callable[..., tuple[int, str, str]]
CNN = SearchSpace(
    "cnn",
    (
        Choice("stage0", ("mb3", "mb5", "skip")),
        Choice("stage1", ("mb3", "mb5", "skip")),
        Choice("width", (1, 2)),
        Choice("deep", ("a", "b"), when=Condition("stage1", ("mb5",))),
    ),
)
BLOCKS = """slot,option,latency_ms
backbone,always,3
stage0,mb3,1.2
stage0,mb5,2
stage0,skip,0
stage1,mb3,0.5
stage1,mb5,0.75
stage1,skip,0
width,1,1
width,2.0,2
deep,a,0.125
deep,b,0.25
"""
TIMES_MS = {(s, o): float(ms) for s, o, ms in (row.split(",") for row in BLOCKS.split()[1:])}
TIMES_MS["width", "2"] = 2.0


def sum_ms(decided: dict[str, object]) -> float:
    return 3 + sum(TIMES_MS[name, str(option)] for name, option in decided.items())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cnn.json").write_text(json.dumps(CNN.to_json()))
    (tmp_path / "blocks.csv").write_text(BLOCKS)
    write_rows(tmp_path / "all.csv", [dict(each) for each in CNN.enumerate()])
    return tmp_path


def device_of(folder: Path, *tables: str) -> latency.Device:
    given_ = read([folder / name for name in tables], str(folder / "cnn.json"), "latency_ms")
    device, _ = calibrated(given_, "phone", None, 0)
    device.save(folder / "phone.json")
    assert latency.read_device(folder / "phone.json").to_json() == device.to_json()
    return latency.read_device(folder / "phone.json")


def test_a_network_takes_the_sum_of_its_blocks(folder: Path) -> None:
    device, networks = device_of(folder, "blocks.csv"), list(CNN.enumerate())
    found = [
        p.latency_ms for p in device.predict_all([workload_of(CNN, a, None) for a in networks])
    ]
    assert found == pytest.approx([sum_ms(dict(a)) for a in networks])
    encoded = latency.EncodedPredictor.of_choices(device, CNN).predict(encode(CNN, networks))
    assert encoded[0] == pytest.approx(found, rel=1e-5)


@pytest.mark.usefixtures("folder")
def test_from_the_command_line(call: Call) -> None:
    words = ["calibrate", "blocks.csv", "--space", "cnn.json", "--out", "phone.json"]
    assert call(*words)[0] == 0
    for more in ([], ["--space", "cnn.json"]):
        asked = ["predict", "--device", "phone.json", "--architectures", "all.csv", "--json"]
        found = json.loads(call(*asked, *more)[1])["predictions"]
        wanted = [sum_ms(dict(each)) for each in CNN.enumerate()]
        assert [each["latency_ms"] for each in found] == pytest.approx(wanted)
    assert "measured blocks: 10" in call("show", "phone.json")[1]


def test_measured_networks_correct_the_sum(folder: Path) -> None:
    """A device whose networks take 1.3 times what their blocks take alone."""
    rng, networks = np.random.default_rng(0), list(CNN.enumerate())
    seen = [networks[i] for i in rng.permutation(len(networks))[:8]]
    rows = [{**dict.fromkeys(["deep"], ""), **a, "latency_ms": 1.3 * sum_ms(dict(a))} for a in seen]
    write_rows(folder / "networks.csv", rows)
    truth = np.array([1.3 * sum_ms(dict(a)) for a in networks])
    errors = []
    for tables in (["blocks.csv", "networks.csv"], ["networks.csv"]):
        device = device_of(folder, *tables)
        found = device.predict_all([workload_of(CNN, a, None) for a in networks])
        errors.append(np.abs([p.latency_ms for p in found] / truth - 1).mean())
        encoded = latency.EncodedPredictor.of_choices(device, CNN).predict(encode(CNN, networks))
        assert encoded[0] == pytest.approx([p.latency_ms for p in found], rel=1e-4)
    assert errors[0] < 0.02
    assert errors[0] < errors[1] / 2


def test_what_no_table_measured_is_said(folder: Path, call: Call) -> None:
    """Such options, whole choices too, cost nothing until something says otherwise."""
    lines = BLOCKS.splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("deep", "stage0,skip"))]
    (folder / "blocks.csv").write_text("".join(kept))
    words = ["calibrate", "blocks.csv", "--space", "cnn.json", "--out", "phone.json"]
    said = call(*words)[2]
    assert "stage0=skip, deep=a, deep=b: in no table, so taken to cost nothing" in said
    device = latency.read_device(folder / "phone.json")
    network = CNN.architecture({"stage0": "mb3", "stage1": "mb5", "width": 1, "deep": "b"})
    assert device.predict(workload_of(CNN, network, None)).latency_ms == pytest.approx(5.95)
    assert device.unmeasured_options([workload_of(CNN, network, None)]) == ["deep=b"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("stage9,mb3,1", "row 13: no choice 'stage9' in space 'cnn'; slots are its choices, and"),
        (
            "stage0,mb9,1",
            "row 13: choice 'stage0' has no option 'mb9'; its options: mb3, mb5, skip",
        ),
        ("backbone,other,1", "slot backbone has the options always, other; it is what every"),
        ("stage0,mb3,-1", "row 13, column 'latency_ms': '-1' is not a number of at least 0"),
    ],
)
def test_rows_that_are_no_blocks_of_the_space(folder: Path, row: str, said: str) -> None:
    (folder / "blocks.csv").write_text(BLOCKS + row + "\n")
    with pytest.raises(InputError, match=said):
        device_of(folder, "blocks.csv")


def test_numbers_are_no_slots(folder: Path) -> None:
    free = SearchSpace("free", (Choice("op", ("a", "b")), NumericChoice("width", 8, 64)))
    (folder / "cnn.json").write_text(json.dumps(free.to_json()))
    (folder / "blocks.csv").write_text("slot,option,latency_ms\nop,a,1\nwidth,8,2\n")
    with pytest.raises(InputError, match="row 3: choice 'width' varies freely between 8 and 64"):
        device_of(folder, "blocks.csv")


def test_blocks_need_a_space(folder: Path) -> None:
    with pytest.raises(InputError, match="say whose slots they stand in, as `space="):
        read([folder / "blocks.csv"], None, "latency_ms")


def test_a_choice_may_be_called_backbone(tmp_path: Path) -> None:
    space = SearchSpace("two", (Choice("backbone", ("small", "large")), Choice("op", ("a", "b"))))
    (tmp_path / "t.csv").write_text("slot,option,latency_ms\nbackbone,small,3\nbackbone,large,9\n")
    table = read_table(tmp_path / "t.csv", space)
    assert always_ms([table], "latency_ms") == 0
    named = {m.workload.name: m.latency_ms for m in measurements_of(table, "latency_ms", None)}
    assert named == {"backbone=small": 3, "backbone=large": 9}


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Choices that share their options' names, some of which matter only by an earlier one."""
    names = ["mb3", "mb5", "skip", "1", "2.5"]
    choices: list[Choice] = []
    for index in range(draw(st.integers(1, 4))):
        options = tuple(draw(st.lists(st.sampled_from(names), min_size=2, unique=True)))
        when = None
        if choices and draw(st.booleans()):
            when = Condition(choices[0].name, choices[0].options[:1])
        choices.append(Choice(f"stage{index}", options, when=when))
    return SearchSpace("random", tuple(choices))


@settings(max_examples=40, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**31), backbone=st.booleans(), chains=st.booleans())
def test_any_space_predicts_sums(
    space: SearchSpace,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    *,
    backbone: bool,
    chains: bool,
) -> None:
    folder, rng = tmp_path_factory.mktemp("blocks"), np.random.default_rng(seed)
    (folder / "cnn.json").write_text(json.dumps(space.to_json()))
    options = [(c.name, o) for c in space.choices if isinstance(c, Choice) for o in c.options]
    times_ms = {pair: float(rng.uniform(0.1, 9)) for pair in options}
    always = float(rng.uniform(1, 5)) if backbone else 0.0
    lengths = (1, 4) if chains else (1,)  # the launch, 0.5 ms, is paid once by a network
    rows = [
        {"slot": s, "option": o, "repeats": n, "latency_ms": ms * n + 0.5 * chains}
        for (s, o), ms in times_ms.items()
        for n in lengths
    ]
    if backbone:
        rows.append({"slot": "backbone", "option": "rest", "repeats": 1, "latency_ms": always})
    write_rows(folder / "blocks.csv", rows)
    device = device_of(folder, "blocks.csv")
    networks = [space.sample(rng) for _ in range(8)]
    found = [device.predict(workload_of(space, a, None)).latency_ms for a in networks]
    wanted = [0.5 * chains + always + sum(times_ms[pair] for pair in a.items()) for a in networks]
    assert found == pytest.approx(wanted, rel=1e-6)
    encoded = latency.EncodedPredictor.of_choices(device, space).predict(encode(space, networks))
    assert encoded[0] == pytest.approx(wanted, rel=1e-4)
