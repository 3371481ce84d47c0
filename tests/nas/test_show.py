"""`nas show` of everything that the toolkit writes: what it is, and what to do with it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from latency.coreml.convert import save
from latency.sources.journal import Journal
from latency.sources.visits import Visit
from nas.run.run_folder import RunFolder
from nas.temporal.settings import Settings
from nas.training.clip_files import write_clips
from search_spaces import Choice, SearchSpace, TemporalSpace

Call = Callable[..., tuple[int, str, str]]


def made(kind: str, call: Call, space: TemporalSpace, device_file: Path, supernet: Path) -> Path:
    """A file or folder of a kind, by the command or the function that writes it."""
    path = Path(kind)
    Path("t.csv").write_text("op,depth,latency_ms,error_pct\na,1,1,9\na,2,2,7\nb,1,3,8\nb,2,5,4\n")
    bench = ["bench", "t.csv", "--objectives", "error_pct,latency_ms", "--out", "r.csv"]
    makers: dict[str, Callable[[], object]] = {
        "device.json": lambda: shutil.copy(device_file, path),
        "device.html": lambda: call("calibrate", "t.csv", "--out", "device.json"),
        "supernet.safetensors": lambda: shutil.copy(supernet, path),
        "space.json": lambda: path.write_text(json.dumps(space.to_json())),
        "a.json": lambda: path.write_text(json.dumps(space.uniform(space.blocks()[1]).to_json())),
        "r.csv": lambda: call(*bench, "--trials", "3", "--seeds", "1", "--strategies", "random"),
        "todo.csv": lambda: call("profile", "--plan", "--networks", "3", "--out", "todo.csv"),
        "todo.parquet": lambda: call("profile", "--plan", "--blocks", "--out", "todo.parquet"),
        "costs.csv": lambda: call("costs", "--device", str(device_file), "--out", "costs.csv"),
        "clips": lambda: write_clips(Path("clips"), space, "digits", {"train": 2, "test": 1}),
        "net.mlpackage": lambda: save(torch.nn.Conv2d(3, 4, 3), [torch.zeros(1, 3, 8, 8)], path),
    }
    makers |= {"r.json": makers["r.csv"], "r.png": makers["r.csv"]}
    makers |= dict.fromkeys(("clips/train", "clips/train/00000.safetensors"), makers["clips"])
    if kind.startswith("run"):
        with RunFolder(Path("run"), Settings(), None, resume=False).opened():
            pass
    elif kind.endswith(".jsonl"):
        with Journal(path, {"space": "own"}) as journal:
            journal.append(Visit("block", 0, (1.0, 2.0), {}))
    else:
        makers[kind]()
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("device.json", {"device": "made-up"}),
        ("device.html", {"what": "a report for people; open it in a browser"}),
        ("supernet.safetensors", {"holds": "supernet", "space": "moving_digits"}),
        ("space.json", {"space": "moving_digits"}),
        ("a.json", {"architecture of": "moving_digits"}),
        ("r.csv", {"rows": 3, "results of": "nas bench; r.json says of what"}),
        ("r.json", {"benchmark on": "t.csv", "runs of": {"random": 1}}),
        ("r.png", {"what": "a picture; open it in a viewer"}),
        ("todo.csv", {"rows": 3, "of": "networks", "metric columns": []}),
        ("todo.parquet", {"of": "blocks", "choice columns": ["slot", "option"]}),
        ("costs.csv", {"of": "blocks", "reserved columns": ["notes"]}),
        ("run", {"state": "unfinished; go on by --resume"}),
        ("run/run.json", {"state": "unfinished; go on by --resume"}),
        ("t.csv.partial.jsonl", {"visits": 1, "settings": {"space": "own"}}),
        ("clips", {"folder of": "clips"}),
        ("clips/train", {"holds": "clips, train", "clips": "2 of 1x8x16x16 in 1 files"}),
        ("clips/train/00000.safetensors", {"holds": "clips", "clips": "2x1x8x16x16"}),
        ("net.mlpackage", {"Core ML package": "net.mlpackage", "operations": 1}),
    ],
)
def test_whatever_the_toolkit_writes_is_shown(
    kind: str,
    said: dict[str, object],
    call: Call,
    space: TemporalSpace,
    device_file: Path,
    supernet_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = made(kind, call, space, device_file, supernet_file)
    capsys.readouterr()
    code, out, err = call("show", str(path), "--json")
    assert code == 0, err
    found = json.loads(out)
    assert {name: found.get(name) for name in said} == said
    code, out, err = call("show", str(path))
    assert code == 0, err
    assert len(out.splitlines()) <= 12, "short"
    assert out.splitlines()[0] == f"{next(iter(found))}: {next(iter(found.values()))}"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"format": "other/thing"}', "JSON of another format (other/thing)"),
        ("a.json", "{}", "JSON of another format (it names none)"),
        ("a.json", "[1]", "JSON, but no object"),
        ("a.json", '{"format": "temporal-nas/run", "results": 3}', "temporal-nas/run, and damaged"),
        ("a.jsonl", "", "is neither JSON nor a table"),
        ("a.jsonl", "{}", "no measurement that nas profile left"),
        ("a.safetensors", "words", "not a whole safetensors file"),
        ("a.txt", "words", "is neither JSON nor a table"),
        ("a.csv", "op,latency\n1,2\n", "does not end in a unit"),
    ],
)
def test_what_is_nothing_of_ours_is_said(name: str, text: str, message: str, call: Call) -> None:
    Path(name).write_text(text)
    code, out, err = call("show", name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"nas: {name}: ")
    assert message in err


def test_what_has_no_end_is_not_read(call: Call) -> None:
    os.mkfifo("endless")
    assert call("show", "endless")[::2] == (
        2, "nas: endless: is a device, a pipe or a socket; name a file or a folder\n",
    )  # fmt: skip


TABLE = (
    ",width,op,layer_count,latency_ms,error_pct\n0,0.25,x,2,3,\n1,0.5,x,4,3,9\n2,0.25,y,2,3,8\n"
    "3,0.5,y,4,4,\n4,0.25,x,2,3.1,7\n"
)


def test_a_table_is_described(call: Call, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    code, out, err = call("show", "t.csv")
    assert code == 0
    for line in (
        "networks: 4 of 4 in its space",
        "duplicates: 1 rows are networks of earlier rows, as row 6 is that of row 2; they count",
        "  width: named: 0.25, 0.5",
        "  error_pct: 7 to 9; 3 of 5 rows have one",
        "reserved: Unnamed: 0 (counts the rows, so it is left out)",
    ):
        assert line in out
    assert "layer_count has few values; if it is a choice, rename it or say --choice-columns" in err
    code, out, err = call("show", "t.csv", "--choice-columns", "layer_count")
    assert code == 0
    assert err == "nas: t.csv: if one of the metrics is a choice, say --choice-columns NAME\n"
    assert "networks: 4 of 8 in its space" in out
    space = SearchSpace("own", (Choice("width", (0.25, 0.5, 1.0)), Choice("op", ("x", "y"))))
    (tmp_path / "s.json").write_text(json.dumps(space.to_json()))
    code, out, err = call("show", "t.csv", "--space", "s.json")
    assert code == 0, err
    assert "networks: 4 of 6 in its space" in out
    code, out, err = call("show", "s.json", "--space", "s.json")
    assert code == 2
    assert "s.json: is no table; --space and --choice-columns are for tables" in err
