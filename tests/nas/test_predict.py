"""`nas predict` of whatever a user has: tables, packages, and networks out of their own code."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

import latency
import nas
from latency import Measurement, from_choices
from latency.coreml.convert import convert, save
from latency.coreml.palette import palettise
from nas.tables import choice_columns, write_rows
from nas.testing.operators import randomised
from search_spaces import InputError, TemporalSpace

Call = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]

MINE = """
import torch
from torch import nn
from helpers.config import Config

print("imported")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = Config(width=8, nested=Config(depth=2))
        self.table = nn.Embedding(50, self.config.width)
        self.rates = [x.item() for x in torch.linspace(0, 0.1, self.config.nested.depth)]

    def forward(self, tokens, mask=None):
        print("runs", tokens.shape)
        h = self.table(tokens) * self.rates[-1]
        return {"out": h if mask is None else h * mask[..., None]}


class Data(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def leaves():
    raise SystemExit(0)
"""
CONFIG = "class Config(dict):\n    __getattr__ = dict.__getitem__\n"


@pytest.fixture
def table_device(tmp_path: Path) -> Path:
    """A device of a table of two choices, as a file."""
    cost_ms = {"skip": 1.0, "conv": 4.0}
    rows = [(op, kernel) for op in cost_ms for kernel in (1, 3, 5, 7, 9)]
    measured = [
        Measurement(
            from_choices(f"{op} {kernel}", [("op", op), ("kernel", kernel)], {"kernel"}),
            cost_ms[op] + kernel,
        )
        for op, kernel in rows
    ]
    path = tmp_path / "table.json"
    latency.calibrate(measured, "table").save(path)
    return path


@pytest.mark.long
def test_networks_out_of_a_project_that_stands_outside_of_the_environment(tmp_path: Path) -> None:
    """Its helpers come by PYTHONPATH, it prints, and it holds what must not be looked at."""
    (tmp_path / "project").mkdir()
    (tmp_path / "elsewhere" / "helpers").mkdir(parents=True)
    (tmp_path / "project" / "mine.py").write_text(MINE)
    (tmp_path / "elsewhere" / "helpers" / "config.py").write_text(CONFIG)
    searched = [str(ROOT), str(tmp_path / "elsewhere")]
    command = [
        *(sys.executable, "-m", "nas", "predict", "--device", "iphone-13", "--json"),
        *("--model", "mine:Net", "--shape", "1,7:int64;mask=1,7"),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path / "project",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(searched)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["workload"]["parameters"] == 50 * 8
    assert {kind["kind"] for kind in found["workload"]["kinds"]} == {"gather", "elementwise"}
    assert "runs torch.Size([1, 7])" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("own:Data --shape 2,3", "own:Data: .*depends on the data.*own.py, line"),
        ("own:leaves --shape 2,3", "own:leaves raised SystemExit"),
        ("own:Config --shape 2,3", "own:Config returned a Config, no torch module"),
        ("own:Net --shape 1,7", "Long.*1,77:int64"),
        ("own:Net --shape 1,7:int65", "no type 'int65'"),
        ("own:Net", "needs --shape 1,3,224,224"),
        ("own:Net --shape 3,99999999999999999999", "--shape 3,9+: no tensor is so large"),
        ("torch.nn:Identity --shape 1,3", "runs no operation, so there is nothing to predict"),
        ("own.py", "name what builds the network in it, as own:build"),
        ("no.mlpackage/", "no.mlpackage: no such package"),
        ("old.mlmodel", "old.mlmodel: is a file; an .mlpackage is a folder"),
        ("gone.mlmodel", "gone.mlmodel: no such package"),
        ("built.mlmodelc/", "built.mlmodelc: is compiled"),
        ("built.mlmodelc --shape 1,3", "a package has its shapes; leave --shape out"),
    ],
)
def test_models_that_are_refused(
    words: str, says: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own.py").write_text(MINE.replace("from helpers.config import Config", CONFIG))
    Path("old.mlmodel").write_bytes(b"model")
    Path("built.mlmodelc").mkdir()
    monkeypatch.delitem(sys.modules, "own", raising=False)
    monkeypatch.setattr("sys.path", list(sys.path))
    code, out, err = call("predict", "--device", "iphone-13", "--model", *words.split())
    assert (code, out) == (2, "")
    *said, line = err.strip().splitlines()
    assert all(text.startswith(("imported", "runs")) for text in said)
    assert pd.Series([line]).str.contains(says).all(), line


def test_packages_are_refused_in_the_words_of_lint(call: Call) -> None:
    Path("old.mlmodel").write_bytes(b"model")
    Path("built.mlmodelc").mkdir()
    Path("empty.mlpackage").mkdir()
    for name in ("old.mlmodel", "built.mlmodelc", "empty.mlpackage", "no.mlpackage"):
        wanted = call("lint", name)
        assert wanted[0] == 2
        for spelled in (name, f"{name}/", f"./{name}"):
            assert call("predict", "--device", "iphone-13", "--model", spelled) == wanted


@pytest.mark.slow
def test_a_palettised_package_has_the_parameters_of_its_network(call: Call) -> None:
    network = randomised(nn.Sequential(nn.Conv2d(8, 64, 3), nn.ReLU(), nn.Conv2d(64, 32, 1))).eval()
    x = torch.zeros(1, 8, 8, 8)
    save(network, [x], Path("plain.mlpackage"))
    palettise(convert(network, [x]), 6).save("small.mlpackage")
    for name in ("plain.mlpackage", "small.mlpackage/"):
        code, out, err = call("predict", "--device", "iphone-13", "--model", name, "--json")
        assert code == 0, err
        wanted = sum(parameter.numel() for parameter in network.parameters())
        assert json.loads(out)["workload"]["parameters"] == wanted


def test_choices_are_enough_to_be_predicted(call: Call, table_device: Path) -> None:
    """What is still to be measured has no latency; what was never to be, no column of it."""
    asked = ("predict", "--device", str(table_device), "--architectures", "todo.csv", "--json")
    predictions = []
    for column in ("latency_ms\nconv,3,9.5\nskip,5,\n", "notes\nconv,3,\nskip,5,later\n"):
        Path("todo.csv").write_text(f"op,kernel,{column}")
        code, out, err = call(*asked)
        assert code == 0, err
        predictions.append(json.loads(out)["predictions"])
    assert predictions[0] == predictions[1]
    assert predictions[0][0]["latency_ms"] == pytest.approx(7.0, rel=0.1)
    assert predictions[0][1]["latency_ms"] == pytest.approx(6.0, rel=0.1)


def test_networks_are_told_apart_with_and_without_ids(call: Call, table_device: Path) -> None:
    """A row's number is its line, as in all words about tables."""

    def said(text: str) -> list[list[str]]:
        Path("t.csv").write_text(text)
        _, out, _ = call("predict", "--device", str(table_device), "--architectures", "t.csv")
        return [line.split()[:-3] for line in out.splitlines() if line.strip()[:1].isdigit()]

    assert said("op,kernel\nconv,3\nconv,5\n") == [["2"], ["3"]]
    assert said("id,op,kernel\nx,conv,3\ny,conv,5\n") == [["2", "x"], ["3", "y"]]


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_predictions_are_written_as_a_table(name: str, call: Call, table_device: Path) -> None:
    Path("t.csv").write_text("id,op,kernel\na,conv,3\nb,skip,5\n")
    asked = ("predict", "--device", str(table_device), "--architectures", "t.csv")
    found = json.loads(call(*asked, "--json")[1])["predictions"]
    code, out, err = call(*asked, "--out", name)
    assert (code, len(out.splitlines())) == (0, 1), err
    table = pd.read_parquet(name) if name.endswith("parquet") else pd.read_csv(name)
    assert list(table) == ["id", "op", "kernel", "predicted_ms", "low_ms", "high_ms"]
    assert list(table["id"]) == ["a", "b"]
    assert list(table["predicted_ms"]) == pytest.approx([p["latency_ms"] for p in found])
    again = json.loads(call(*asked[:-1], name, "--json")[1])["predictions"]
    assert again == found, "which may be asked about again"


def test_predictions_are_not_written_over_what_they_come_from(
    call: Call, table_device: Path
) -> None:
    Path("t.csv").write_text("op,kernel,latency_ms\nconv,3,9.5\n")
    before = Path("t.csv").read_bytes(), table_device.read_bytes()
    asked = ("predict", "--device", str(table_device), "--architectures", "t.csv", "--out")
    for out, says in (
        ("t.csv", "would be written over what is read"),
        ("./t.csv", "would be written over what is read"),
        (str(table_device), "is a table; call it"),
    ):
        code, _, err = call(*asked, out)
        assert (code, says in err) == (2, True), err
    assert (Path("t.csv").read_bytes(), table_device.read_bytes()) == before


def test_out_is_of_networks_alone(call: Call) -> None:
    asked = ("predict", "--device", "iphone-13", "--model", "torch.nn:ReLU", "--shape", "1,2")
    code, _, err = call(*asked, "--out", "p.csv")
    assert (code, err.count("\n")) == (2, 1)
    assert not Path("p.csv").exists()


def test_a_device_of_a_table_is_not_told_to_leave_out_what_was_not_given(
    call: Call, table_device: Path, space: TemporalSpace
) -> None:
    write_rows(Path("nets.csv"), [choice_columns(space, space.uniform(space.blocks()[0]))])
    for words in (
        ("--model", "torch.nn:ReLU", "--shape", "1,2"),
        ("--architectures", "nets.csv", "--space", "moving_digits"),
    ):
        code, out, err = call("predict", "--device", str(table_device), *words)
        assert (code, out) == (2, "")
        line = err.strip().splitlines()[-1]
        assert "calibrated on a table of op, kernel" in line
        assert "space" not in line


def test_the_same_from_python(tmp_path: Path, table_device: Path) -> None:
    device = latency.read_device(table_device)
    (tmp_path / "t.csv").write_text("op,kernel\nconv,3\nskip,5\n")
    networks = nas.read_architectures(tmp_path / "t.csv", device)
    assert (networks.ids, networks.rows[1]) == (None, {"op": "skip", "kernel": 5})
    rows = networks.predicted(device.predict_all(networks.workloads), "ms")
    assert [row["predicted_ms"] for row in rows] == pytest.approx([7.0, 6.0], rel=0.1)
    assert nas.read_model("torch.nn:ReLU", "1,8").parameters == 0
    with pytest.raises(InputError, match="needs `shape=1,3,224,224`"):
        nas.read_model("torch.nn:ReLU")


def test_bounds_say_which_part_of_them_is_what(call: Call, table_device: Path) -> None:
    asked = ("predict", "--model", "torch.nn:Softmax", "--shape", "8,512,512", "--device")
    code, out, err = call(*asked, "iphone-13", "--json")
    assert code == 0, err
    found = json.loads(out)["bounds"]
    assert list(found) == ["costs", "family", "residual"]
    assert all(factor >= 1 for factor in found.values())
    said = call(*asked, "iphone-13")[1].splitlines()
    parts = ", ".join(f"{name} x{factor:.2f}" for name, factor in found.items())
    assert said[1] == f"90% bounds: {parts}"
    nas_devices = json.loads(call("devices", "iphone-13", "--json")[1])["bounds"]
    assert nas_devices["family, of attention"] > nas_devices["family, of convolutions"] > 1
    assert "90% bounds: family, of convolutions x" in call("devices", "iphone-13")[1]
    # A device that networks were measured on has bounds of their errors, and a sheet has neither.
    assert json.loads(call("devices", str(table_device), "--json")[1])["bounds"] is None
    Path("sheet.json").write_text(
        json.dumps(
            {
                "format": "temporal-nas/device",
                "version": "1.0",
                "name": "sheet",
                "rates": {"gflop_per_s": 900, "gb_per_s": 25, "launch_ms": 0.02},
            }
        )
    )
    assert json.loads(call(*asked, "sheet.json", "--json")[1])["bounds"] is None
    assert "90% bounds" not in call(*asked, "sheet.json")[1]
