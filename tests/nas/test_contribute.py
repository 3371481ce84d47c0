"""`nas devices --contribute`: what a pull request needs, and nothing that names anybody."""

import csv
import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import Call, Made
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import latency
from latency import Measurement
from latency.measurement.anonymous import named_in, own_names
from latency.predictor.contribution import COLUMNS, NETWORK, Contribution
from latency.predictor.contribution_files import FILES, read_contribution
from latency.predictor.shipped import CONTRIBUTED, FOLDER
from nas.cli import main
from search_spaces import InputError

pytestmark = pytest.mark.slow
SPACE = "examples.own_parts.shift:SPACE"
GIVEN = ("--from", "blocks.csv", "--from", "networks.csv", "--space", SPACE)
ASKED = ("devices", "--contribute", "small-board.json", *GIVEN, "--out", "small-board")


def nas(*words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["nas", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code, words


@pytest.fixture(scope="session")
def profiled(made_once: Made) -> Path:
    """A small profile of this machine's processor, a device of it, and its contribution."""

    def fill(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            few = ("profile", "--space", SPACE, "--rounds", "1", "--out")
            nas(*few, "blocks.csv", "--blocks")
            nas(*few, "networks.csv", "--networks", "12")
            tables = ("blocks.csv", "networks.csv", "--space", SPACE)
            nas("calibrate", *tables, "--out", "small-board.json")
            nas(*ASKED)

    return made_once("contribution", fill)


@pytest.fixture
def here(profiled: Path, tmp_path: Path, call: Call) -> Call:
    """The same in the working folder, to be changed; without the contribution."""
    shutil.copytree(profiled, tmp_path, dirs_exist_ok=True)
    shutil.move(tmp_path / "small-board", tmp_path / "contributed")
    return call


def texts(folder: Path) -> str:
    return "\n".join(file.read_text() for file in folder.iterdir())


def test_it_holds_the_rows_that_were_measured(profiled: Path) -> None:
    found = read_contribution(profiled / "small-board")
    for name, of in (("blocks.csv", "block"), ("networks.csv", NETWORK)):
        table = pd.read_csv(profiled / name)
        rows = [row for row in found.rows if row.of == of]
        assert [row.latency_ms for row in rows] == pytest.approx(list(table["latency_ms"]))
        assert [row.p90_ms for row in rows] == pytest.approx(list(table["p90_ms"]))
        assert [row.samples for row in rows] == list(table["samples"])
    machine = found.machine
    assert (machine.name, machine.precision, machine.source) == ("small-board", "float32", "torch")
    assert machine.os.startswith(platform.system())
    assert f"python {platform.python_version()}" in machine.tools
    assert "torch " in machine.tools
    assert machine.power
    assert machine.thermal
    networks = [row for row in found.rows if row.of == NETWORK]
    again = [Measurement(found.workloads[row.model], row.latency_ms) for row in networks]
    assert latency.calibrate(again, "again").predict(again[0].workload).latency_ms > 0


def test_its_device_predicts_what_the_user_s_does(profiled: Path) -> None:
    found = read_contribution(profiled / "small-board")
    own = latency.read_device(profiled / "small-board.json")
    assert found.device.validation == own.validation
    for workload in found.workloads.values():
        assert found.device.predict(workload) == own.predict(workload)
    assert found.device.facts["status"] == "contributed: 12 networks measured"


def test_the_drift_of_the_machine_is_in_the_bounds(profiled: Path, call: Call) -> None:
    own = latency.read_device(profiled / "small-board.json")
    assert own.drift is not None
    assert own.drift.rounds == 2, "one of the blocks, one of the networks"
    workload = next(iter(read_contribution(profiled / "small-board").workloads.values()))
    promised, beside = own.predict(workload), own.same_hour.predict(workload)
    assert promised.low_ms < beside.low_ms < beside.high_ms < promised.high_ms
    code, out, _ = call("devices", str(profiled / "small-board.json"))
    assert code == 0
    assert f"drift: x{own.drift.factor:.2f} of an hour later is in the bounds, from 2 rounds" in out
    code, out, _ = call("devices", str(profiled / "small-board.json"), "--json")
    assert json.loads(out)["bounds"]["drift"] == pytest.approx(own.drift.factor)


def test_it_names_neither_the_machine_nor_its_user(profiled: Path) -> None:
    said = texts(profiled / "small-board").lower()
    assert not [name for name in own_names() if name in said]
    assert str(profiled) not in said
    ids = pd.read_csv(profiled / "networks.csv")["id"]
    assert not [each for each in ids if each in said]


def test_what_it_says_of_the_moment_was_noted_when_it_was_measured(profiled: Path) -> None:
    for notes in pd.read_csv(profiled / "networks.csv")["notes"]:
        assert {each.partition("=")[0] for each in notes.split("; ")} >= {
            "power",
            "thermal",
            "tools",
        }


def test_its_words(here: Call) -> None:
    code, out, err = here(*ASKED)
    assert code == 0, err
    assert out.splitlines()[0] == "23 rows, 12 of them whole networks: small-board"
    assert "look at every file before you publish it" in out
    assert texts(Path("small-board")) == texts(Path("contributed"))
    shutil.rmtree("small-board")
    code, out, err = here(*ASKED, "--json")
    found = json.loads(out)
    assert (code, found["rows"], found["networks"]) == (0, 23, 12)


@pytest.mark.parametrize("folder", sorted((FOLDER / CONTRIBUTED).glob("*")), ids=lambda f: f.name)
def test_what_others_contributed_is_whole_and_names_nobody(folder: Path) -> None:
    found = read_contribution(folder)
    assert found.machine.name == folder.name, "the folder is called after the device"
    assert latency.shipped()[folder.name].parent == folder, "no other device is called so"


def edit(table: str, change: Callable[[pd.DataFrame], Any]) -> None:
    frame = pd.read_csv(table)
    change(frame)
    frame.to_csv(table, index=False)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--contribute", "small-board.json"], "needs the tables that the device was calibrated"),
        (["--contribute", "small-board.json", *GIVEN], "needs --out, the folder to write: --out s"),
        ([*ASKED[1:-1], "contributed"], "--out contributed: exists"),
        (["iphone-13", *ASKED[1:]], "iphone-13: --contribute names its device itself"),
        (["iphone-13", "--space", SPACE], "--space goes with --contribute"),
        (["--from", "blocks.csv"], "--from goes with --contribute"),
        ([*ASKED[1:3], *GIVEN[2:], "--out", "x"], "is not of the rows; give all tables that the"),
    ],
)
def test_what_is_missing_is_said(words: list[str], says: str, here: Call) -> None:
    code, out, err = here("devices", *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert says in err
    assert not Path("x").exists()


def test_measurements_that_do_not_do(here: Call) -> None:
    def refused(says: str) -> None:
        code, _, err = here(*ASKED)
        assert (code, err.count("\n")) == (2, 1)
        assert says in err
        assert not Path("small-board").exists()

    original = Path("networks.csv").read_text()
    edit("networks.csv", lambda t: t.__setitem__("soc", ["A18"] + ["A17"] * (len(t) - 1)))
    refused("column 'soc': 'A17' and 'A18'; a contribution is of one machine")
    Path("networks.csv").write_text(original)
    for table in ("networks.csv", "blocks.csv"):
        edit(table, lambda t: t.__setitem__("device", "Anna's iPhone"))
    refused("may name one specimen or its owner (an owner)")
    for table in ("networks.csv", "blocks.csv"):
        edit(table, lambda t: t.__setitem__("device", "Pixel 9, C02XK0AAJGH5"))
    refused("may name one specimen or its owner (a serial number)")
    Path("names.csv").write_text("op,latency_ms\n" + "".join(f"o{n},{n + 1}\n" for n in range(12)))
    assert here("calibrate", "names.csv", "--out", "small-board.json")[0] == 0
    code, _, err = here(*ASKED[:3], "--from", "names.csv", "--out", "x")
    assert (code, "was calibrated on the names of options" in err) == (2, True)


def test_a_device_that_is_called_after_its_owner_is_refused(
    here: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "node", lambda: "small-board.local")
    code, _, err = here(*ASKED)
    assert (code, err.count("\n")) == (2, 1)
    assert "small-board.json, name: may name one specimen or its owner (this machine" in err
    assert not Path("small-board").exists()


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("machine.json", lambda d: d.pop("power"), "field 'power' is missing"),
        ("machine.json", lambda d: d.update(owner="me"), "field 'owner' is not known"),
        ("machine.json", lambda d: d.update(thermal=""), "thermal: expected a line of text"),
        ("machine.json", lambda d: d.update(soc=["A18"]), "soc: expected a line of text"),
        ("machine.json", lambda d: d.update(os="Linux\n6"), "os: expected a line of text"),
        ("machine.json", lambda d: d.update(tools="x" * 999), "tools: expected 400 letters"),
        ("machine.json", lambda d: d.update(tools="/home/anna/venv/bin"), "(a path)"),
        ("machine.json", lambda d: d.update(device="a@b.org"), "(a mail address)"),
        ("machine.json", lambda d: d.update(name="other"), "device.json is 'small-board'"),
        ("machine.json", lambda d: d.update(version="2.0"), "newer than the 1.x"),
        ("device.json", lambda d: d.update(validation=None), "says nothing of its errors"),
        ("device.json", lambda d: d.update(note="mine"), "field 'note' is not of a device"),
        ("device.json", lambda d: d["facts"].update(host="x"), "'host' is not to be told"),
        ("device.json", lambda d: d["facts"].update(os="DE:AD:BE:EF:00:01"), "network's address"),
        ("device.json", lambda d: d["measurements"].pop(), "holds the errors of 11"),
        ("device.json", lambda d: d["measurements"][0].update(name="net"), "is not of the rows"),
        ("workloads.json", lambda d: d["workloads"].pop(), "has no workload in workloads.json"),
        (
            "workloads.json",
            lambda d: d["workloads"].append(d["workloads"][0]),
            "stands there twice",
        ),
        ("workloads.json", lambda d: d["workloads"][0].update(operations=[]), "have no sizes"),
    ],
)
def test_documents_that_are_refused(file: str, change: Change, says: str) -> None:
    path = Path("contributed", file)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as refused:
        read_contribution(Path("contributed"))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("latency_ms", "", "row 2, latency_ms: '' is no time"),
        ("latency_ms", "0", "row 2, latency_ms: '0' is no time"),
        ("latency_ms", "nan", "row 2, latency_ms: 'nan' is no number"),
        ("repeats", "0.5", "row 2, repeats: '0.5' is not 1 or more"),
        ("of", "chain", "row 2: expected a model, and of network or block"),
        ("model", "unheard", "'unheard' has no workload"),
        ("samples", "many", "row 2, samples: 'many' is no number"),
        ("ran_on", "C:\\Users\\anna", "rows.csv: may name one specimen or its owner (a path)"),
    ],
)
def test_rows_that_are_refused(column: str, cell: str, says: str) -> None:
    path = Path("contributed", "rows.csv")
    rows = list(csv.DictReader(path.open(newline="")))
    rows[0][column] = cell
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(InputError) as refused:
        read_contribution(Path("contributed"))
    assert says in str(refused.value)


@pytest.mark.usefixtures("here")
def test_folders_that_are_refused() -> None:
    folder = Path("contributed")
    (folder / ".DS_Store").write_bytes(b"")
    with pytest.raises(InputError, match="DS_Store: is no file of a contribution; take it out"):
        read_contribution(folder)
    (folder / ".DS_Store").unlink()
    for name in FILES:
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(InputError, match=f"{name}: is missing"):
            read_contribution(folder)
        (folder / name).write_bytes(content)
    lines = (folder / "rows.csv").read_text().splitlines(keepends=True)
    fewer = [lines[0], *(line for line in lines[1:] if ",block," in line)]
    (folder / "rows.csv").write_text("".join(fewer))
    with pytest.raises(InputError, match=r"no row is of|0 whole networks"):
        read_contribution(folder)
    with pytest.raises(InputError, match=r"is missing"):
        read_contribution(folder / "nowhere")


JUNK = st.sampled_from([None, True, -1, 1e300, "", "x", "Anna's", [], {}, [1]]) | st.text(
    max_size=3
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_crashes_the_reader(profiled: Path, tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(profiled / "small-board", folder)
    name = data.draw(st.sampled_from(FILES))
    path = folder / name
    if name == "rows.csv" or data.draw(st.integers(0, 4)) == 0:
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content))
    else:
        document = json.loads(path.read_text())
        inside: Any = document
        while True:
            keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            key = data.draw(st.sampled_from(keys))
            if not (isinstance(inside[key], (dict, list)) and inside[key]):
                break
            inside = inside[key]
        inside[key] = data.draw(JUNK)
        path.write_text(json.dumps(document))
    try:
        found = read_contribution(folder)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(found, Contribution)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("00008110-001A2B3C4D5E6F70", "an identifier of a device"),
        ("8C7A0E3B-5D0A-4B7E-9C7A-0E3B5D0A4B7E", "an identifier of a device"),
        ("192.168.1.12", "a network's address"),
        ("3c:22:fb:01:02:03", "a network's address"),
        ("anna@example.org", "a mail address"),
        ("/Users/anna/model.onnx", "a path"),
        ("~/model", "a path"),
        ("C:\\models", "a path"),
        ("Anna\u2019s iPhone", "an owner"),
        ("C02XK0AAJGH5", "a serial number"),
        ("R58M12ABCDE", "a serial number"),
        ("S/N 123", "a serial number"),
        ("net-f055dad7bacd8f86", "a serial number"),
        ("356938035643809", "a serial number"),
    ],
)
def test_what_may_name_somebody(text: str, kind: str) -> None:
    assert named_in(text) == kind
    assert named_in(f"phone, {text}") == kind


@pytest.mark.parametrize(
    "text",
    [
        "iPhone 16 Pro Max",
        "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz",
        "Snapdragon 8 Gen 3 (SM8650-AB)",
        "NVIDIA GeForce RTX 4090",
        "Raspberry Pi 5 Model B Rev 1.0",
        "Linux 6.18.44",
        "python 3.12.1, torch 2.13.0+cpu, onnxruntime 1.23.2",
        "hottest 54 C, then hottest 61 C, governor performance",
        "ne:0.97,cpu:0.03",
        "down0=conv1d(kernel=3, width=0.5) mid=self_attention3d",
        "cuda 13.0",
        "kirin-9000, armv8.2-a",
    ],
)
def test_facts_name_nobody(text: str) -> None:
    assert named_in(text) is None


def test_own_names_are_found_in_words_and_long_ones_inside_them() -> None:
    assert named_in("bob-phone", {"bob"})
    assert named_in("annabellas_phone", {"annabella"})
    assert named_in("bobsleigh", {"bob"}) is None
