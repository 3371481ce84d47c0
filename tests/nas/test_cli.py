"""Commands as people and scripts call them."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from nas.cli import app
from search_spaces import TemporalSpace, read_table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("search --out run --space moving_digit", "unknown space 'moving_digit'; shipped"),
        ("search --out run --device iphone-99", "unknown device 'iphone-99'; known: host"),
        ("search --out run --strategy genetic", "unknown strategy 'genetic'"),
        ("search --out run --recipe genetic", "unknown recipe 'genetic'"),
        ("search --out run --latency-ms fast", "latency budget 'fast'"),
        ("search --out run --supernet no.safetensors", "no.safetensors: no such file"),
        ("search --out run --storage sqlite://", "sqlite://: is in memory"),
        ("search --out file.txt", "file.txt: is a file; name a folder"),
        ("search --out other --resume", "other: is no run folder"),
        ("search --out other", "other: exists; go on with it by --resume"),
        ("train --out run.safetensors --backbone no.safetensors", "no.safetensors: no such file"),
        ("train --out file.txt", "file.txt: exists"),
        ("profile --out file.txt --blocks", "file.txt: exists"),
        ("profile --out t.csv", "say what to measure"),
        ("profile --out t.csv --networks 99999999", "has 9765625 networks"),
        ("profile --out t.csv --blocks --backend vulkan", "unknown backend 'vulkan'"),
        ("calibrate no.csv --out d.json", "no.csv: no such file"),
        ("calibrate file.txt --out d.json", "file.txt: "),
        ("calibrate units.csv --out d.json", "spell it latency_ms"),
        ("calibrate negative.csv --out d.json", "negative.csv, row 3, column 'latency_ms': '-2'"),
        ("calibrate constant.csv --out d.json", "constant"),
        (
            "calibrate good.csv --column energy_mj --out d.json",
            "has no column energy_mj; .* --column latency_ms",
        ),
        ("calibrate good.csv --samples 9 --out d.json", "9 samples asked for, 3 networks"),
        (
            "calibrate blocks.csv --out d.json",
            "holds blocks; say whose slots they stand in, as --space",
        ),
        ("calibrate badblock.csv --space moving_digits --out d.json", "row 2: no slot 'middle'"),
        ("predict --device file.txt --architectures good.csv", "file.txt: not valid JSON"),
        ("predict --device DEVICE", "give one of --architecture"),
        ("predict --device host --architectures good.csv", "'host' is measured"),
        ("predict --device DEVICE --architecture arch.json", "arch.json: .*no option 'conv9'"),
        ("predict --device DEVICE --architecture no.json", "no.json: cannot be read"),
        ("predict --device DEVICE --architecture file.txt", "file.txt: not valid JSON"),
        ("predict --device DEVICE --model mine:net", "a torch module needs --shape"),
        ("predict --device DEVICE --model no:net --shape 1,3", "cannot import no"),
        ("predict --device DEVICE --model json:dumps --shape 1,x", ""),
        ("show nothing.json", "nothing.json: no such file"),
        ("show file.txt", "file.txt: is neither JSON nor a table"),
        ("show other", "other: no folder that temporal-nas writes or reads"),
        ("search --nonsense", ""),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: str, message: str, call: object, tmp_path: Path, device_file: Path
) -> None:
    (tmp_path / "file.txt").write_text("words")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    (tmp_path / "units.csv").write_text("op,latency\na,1\nb,2\n")
    (tmp_path / "good.csv").write_text("op,latency_ms\na,1\nb,2\nc,4\n")
    (tmp_path / "negative.csv").write_text("op,latency_ms\na,1\nb,-2\n")
    (tmp_path / "constant.csv").write_text("op,latency_ms\na,1\nb,1\n")
    (tmp_path / "blocks.csv").write_text("slot,option,latency_ms\nmid,conv1d,1\nmid,conv3d,2\n")
    (tmp_path / "badblock.csv").write_text("slot,option,latency_ms\nmiddle,conv1d,1\n")
    choices = dict.fromkeys(("down0", "down1", "mid", "up1", "up0"), "conv9")
    document = {"format": "temporal-nas/architecture", "version": "1.0", "choices": choices}
    (tmp_path / "arch.json").write_text(json.dumps(document))
    before = sorted(tmp_path.rglob("*"))
    words = [str(device_file) if word == "DEVICE" else word for word in arguments.split()]
    code, out, err = call(*words)  # type: ignore[operator]
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    if message:
        assert len(err.strip().splitlines()) == 1
        assert re.search(message, err), err
    assert sorted(tmp_path.rglob("*")) == before, "something was left behind"


@pytest.mark.long
def test_profile_calibrate_predict(call: object, tmp_path: Path, space: TemporalSpace) -> None:
    fast = ["--rounds", "2"]
    assert call("profile", "--blocks", "--out", "blocks.csv", *fast)[0] == 0  # type: ignore[operator]
    assert call("profile", "--networks", "24", "--out", "networks.csv", *fast)[0] == 0  # type: ignore[operator]
    code, out, err = call(  # type: ignore[operator]
        "calibrate", "blocks.csv", "networks.csv", "--space", "moving_digits",
        "--samples", "20", "--out", "mine.json", "--json",
    )  # fmt: skip
    assert code == 0, err
    validation = json.loads(out)["validation"]
    assert validation["networks"] == 4
    assert validation["how"] == "held out"
    code, out, _ = call(  # type: ignore[operator]
        "predict", "--device", "mine.json", "--architectures", "networks.csv",
        "--space", "moving_digits", "--json",
    )  # fmt: skip
    predictions = json.loads(out)["predictions"]
    assert len(predictions) == 24
    assert all(0 < p["low_ms"] < p["latency_ms"] < p["high_ms"] for p in predictions)
    architecture = read_table(tmp_path / "networks.csv", space).architectures[0]
    (tmp_path / "a.json").write_text(json.dumps(architecture.to_json()))
    code, out, _ = call("predict", "--device", "mine.json", "--architecture", "a.json", "--json")  # type: ignore[operator]
    one = json.loads(out)["predictions"]
    assert len(one) == 1
    assert one[0] == pytest.approx(predictions[0])
    for path in ("blocks.csv", "networks.csv", "mine.json", "a.json"):
        assert call("show", path)[0] == 0  # type: ignore[operator]


def test_a_table_of_ones_own(call: object, tmp_path: Path) -> None:
    rows = [f"{a},{b},{2 * (a == 'x') + 3 * (b == 'x') + 1}" for a in "xyz" for b in "xyz"]
    (tmp_path / "t.csv").write_text("first,second,phone_us\n" + "\n".join(rows) + "\n")
    code, _, err = call("calibrate", "t.csv", "--column", "phone_us", "--out", "d.json")  # type: ignore[operator]
    assert code == 0, err
    code, out, _ = call("predict", "--device", "d.json", "--architectures", "t.csv", "--json")  # type: ignore[operator]
    assert code == 0
    found = [p["latency_ms"] for p in json.loads(out)["predictions"]]
    assert found[0] == pytest.approx(0.006, rel=0.05)
    assert found[-1] == pytest.approx(0.001, rel=0.05)


def test_a_few_rows_are_read_as_the_device_was_calibrated(call: object, tmp_path: Path) -> None:
    rows = [
        f"{width},{depth},{0.5 * width + 4 * depth}" for width in range(1, 30) for depth in (2, 4)
    ]
    (tmp_path / "t.csv").write_text("width,depth,latency_ms\n" + "\n".join(rows) + "\n")
    assert call("calibrate", "t.csv", "--samples", "20", "--out", "d.json")[0] == 0  # type: ignore[operator]
    (tmp_path / "few.csv").write_text("width,depth\n7,2\n7.0,4.0\n")
    code, out, err = call(  # type: ignore[operator]
        "predict", "--device", "d.json", "--architectures", "few.csv", "--json"
    )
    assert code == 0, err
    found = [p["latency_ms"] for p in json.loads(out)["predictions"]]
    assert found == pytest.approx([11.5, 19.5], rel=0.02)
    (tmp_path / "other.csv").write_text("height,depth\n7,2\n")
    code, _, err = call("predict", "--device", "d.json", "--architectures", "other.csv")  # type: ignore[operator]
    assert code == 2
    assert "knows nothing of 'height'; it knows width, depth" in err


def test_any_torch_module(call: object, tmp_path: Path, device_file: Path) -> None:
    (tmp_path / "somebody.py").write_text(
        "import torch\ndef net():\n    return torch.nn.Conv2d(3, 8, 3)\n"
    )
    code, out, err = call(  # type: ignore[operator]
        "predict", "--device", str(device_file), "--model", "somebody:net",
        "--shape", "1,3,32,32", "--json",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["workload"]["gflops"] == pytest.approx(2 * 8 * 27 * 30 * 30 / 1e9)
    assert found["predictions"][0]["latency_ms"] > 0


@pytest.mark.slow
def test_train(call: object, tmp_path: Path, space: TemporalSpace) -> None:
    arguments = ["train", "--image-steps", "2", "--video-steps", "2", "--out", "s.safetensors"]
    assert call(*arguments)[0] == 0  # type: ignore[operator]
    from supernet import load_supernet

    first = load_supernet(tmp_path / "s.safetensors", space)
    code, _, err = call(*arguments)  # type: ignore[operator]
    assert code == 2
    assert "exists" in err
    backbone = ["--backbone", "s.backbone.safetensors"]
    again = [*arguments[:-1], "again.safetensors", *backbone]
    assert call(*again)[0] == 0  # type: ignore[operator]
    second = load_supernet(tmp_path / "again.safetensors", space)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert call("show", "s.safetensors")[0] == 0  # type: ignore[operator]


def test_what_there_is(call: object) -> None:
    code, out, _ = call("spaces", "--json")  # type: ignore[operator]
    assert code == 0
    assert json.loads(out)["spaces"][0]["networks"] == 25**5
    code, out, _ = call("devices", "--json")  # type: ignore[operator]
    assert json.loads(out)["devices"][0]["name"] == "host"
    assert call("spaces")[0] == call("devices")[0] == 0  # type: ignore[operator]


@pytest.mark.slow
def test_python_may_start_it_and_it_says_its_version() -> None:
    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "nas", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout

    assert said("--version") == f"temporal-nas {version('temporal-nas')}\n"
    assert said("-h") == said("--help")
    assert "Commands:" in said("-h")


def test_every_command_answers_to_h(call: object) -> None:
    for name in (command.name for command in app.registered_commands):
        code, out, _ = call(name, "-h")  # type: ignore[operator]
        assert code == 0
        assert out.startswith(f"Usage: nas {name}")
