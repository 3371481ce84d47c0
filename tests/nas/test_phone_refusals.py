"""Pipelines for a phone that are refused: parts that do not belong, changed bytes, full disks."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Call
from phones import Given, loaded, networks_of, stand_in
from processes import wait_until
from runs import NAS
from torch import nn

from examples.tiny_text_encoder import CONFIG, write_pipeline
from nas.phone.manifest import read_pipeline, sealed
from search_spaces import InputError
from supernet import checkpoint
from supernet.autoencoders.autoencoder import KIND, ImageAutoencoder

pytest.importorskip("tokenizers")
pytest_plugins = ["phones"]
pytestmark = pytest.mark.long


def test_what_is_not_as_it_was_exported_is_refused(
    of_latents: Path, made: Given, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    weights = "denoiser.mlpackage/Data/com.apple.CoreML/weights/weight.bin"

    def byte(folder: Path) -> None:
        data = bytearray((folder / weights).read_bytes())
        data[-1] ^= 1
        (folder / weights).write_bytes(data)

    def changed(folder: Path, **fields: object) -> None:
        file = folder / "pipeline.json"
        file.write_text(json.dumps(sealed({**json.loads(file.read_text()), **fields})))

    def edited(folder: Path) -> None:
        file = folder / "pipeline.json"
        file.write_text(file.read_text().replace('"guidance": 3', '"guidance": 2'))

    def lacking(folder: Path) -> None:
        file = folder / "pipeline.json"
        pipeline = json.loads(file.read_text())
        del pipeline["sampler"]["guidance"]
        file.write_text(json.dumps(sealed(pipeline)))

    cases: dict[str, Callable[[Path], object]] = {
        f"{weights}: is not": byte,
        "model.mlmodel: is missing": lambda f: shutil.rmtree(f / "decoder.mlpackage"),
        "tokenizer/tokenizer.json: is missing": lambda f: (f / "tokenizer/tokenizer.json").unlink(),
        "pipeline.json: ": lambda f: (f / "pipeline.json").write_text("{"),
        "version": lambda f: changed(f, version="2.0"),
        "is missing|does not match": lambda f: changed(f, files={"../told.json": "0" * 64}),
        "pipeline.json: is not what was exported": edited,
        "'guidance'": lacking,
    }
    networks = networks_of(made, made.latents, tuned=False)
    monkeypatch.setitem(sys.modules, "coremltools", stand_in(of_latents, networks))
    for number, (says, spoil) in enumerate(cases.items()):
        folder = tmp_path / f"spoilt{number}"
        shutil.copytree(of_latents, folder)
        spoil(folder)
        run = loaded(folder)
        monkeypatch.setattr(
            "sys.argv", ["run.py", "--prompt", "one", "--out", str(tmp_path / "clip.mp4")]
        )
        with pytest.raises(SystemExit) as stop:
            run.main()
        assert stop.value.code == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert any(word in line for word in says.split("|")), line
        code, printed, said = call("show", str(folder))
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert any(word in said for word in says.split("|")), said
    assert not (tmp_path / "clip.mp4").exists()
    with pytest.raises(InputError, match="no such file"):
        read_pipeline(tmp_path)
    shutil.copytree(of_latents, folder := tmp_path / "an app")
    for name in ("run.py", "README.md"):  # whoever builds on them may
        (folder / name).write_bytes((folder / name).read_bytes().replace(b"\n", b"\r\n"))
    assert loaded(folder).read_pipeline(folder)["files"] == read_pipeline(folder)["files"]


def test_parts_that_do_not_belong_are_refused(
    made: Given, of_latents: Path, call: Call, tmp_path: Path
) -> None:
    diffusers = pytest.importorskip("diffusers")
    write_pipeline(tmp_path / "wide", replace(CONFIG, hidden_size=32))
    write_pipeline(tmp_path / "few", replace(CONFIG, vocab_size=500))
    diffusers.AutoencoderKL(
        block_out_channels=(32,), down_block_types=("DownEncoderBlock2D",), latent_channels=3,
        up_block_types=("UpDecoderBlock2D",), layers_per_block=1,
    ).save_pretrained(tmp_path / "vae3")  # fmt: skip
    beyond = ImageAutoencoder()
    nn.init.constant_(beyond.decoder[0].bias, 60_000)
    nn.init.constant_(beyond.decoder[1].first.weight, 0.1)
    checkpoint.write(tmp_path / "beyond.safetensors", beyond.state_dict(), {"holds": KIND})
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "precious.txt").write_text("not ours")
    shutil.copytree(of_latents, tmp_path / "before")
    shutil.copytree(of_latents, tmp_path / "filmed")
    for name in ("__pycache__/run.pyc", ".DS_Store", "clip.mp4", "tokenizer/clip2.mp4"):
        (tmp_path / "filmed" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "filmed" / name).write_text("not ours")
    shutil.copytree(of_latents, tmp_path / "edited")
    with (tmp_path / "edited" / "run.py").open("a") as script:
        script.write("# mine\n")
    text = ["--text-encoder", str(made.folder / "text")]
    before = sorted(path.name for path in tmp_path.iterdir())
    cases: list[tuple[str, list[str], str]] = [
        ("makes 12 tokens of 32 channels", ["--text-encoder", "wide", *made.decoder], "phone"),
        ("up to number 521, and the text model's embedding ends at 499",
         ["--text-encoder", "few", *made.decoder], "phone"),
        ("beyond.safetensors: its decoder passes 65,504, where float16 ends, at 1.first;",
         [*text, "--vae", "beyond.safetensors"], "phone"),
        ("decodes latents of 3 channels", [*text, "--vae", "vae3"], "phone"),
        ("give what decodes them, as --vae FOLDER", text, "phone"),
        ("give --text-encoder", made.decoder, "phone"),
        ("the decoder needs 2 MB for one frame", [*made.words, "--decoder-mb", "0.5"], "phone"),
        ("--decoder-mb nan: give a", [*made.words, "--decoder-mb", "nan"], "phone"),
        ("--decoder-mb 0: give a", [*made.words, "--decoder-mb", "0"], "phone"),
        ("was made for another space", [*made.words, "--space", "moving_digits"], "phone"),
        ("--chunk-mb: give a size above 0", [*made.words, "--chunk-mb", "0"], "phone"),
        ("give 8, 6, 4", [*made.words, "--palettise", "5"], "phone"),
        ("holds something else than a pipeline", made.words, "taken"),
        ("stands there already; give another --out, or --replace", made.words, "before"),
        ("filmed/clip.mp4 and 1 more: not as the pipeline was exported there",
         [*made.words, "--replace"], "filmed"),
        ("edited/run.py: not as the pipeline was exported there", [*made.words, "--replace"],
         "edited"),
    ]  # fmt: skip
    for says, words, out in cases:
        code, printed, said = call("export", made.latents, "--pipeline", *words, "--out", out)
        assert (code, printed, said.count("\n")) == (2, "", 1), said
        assert says in said
    for words in (text, ["--fps", "8"]):
        code, _, said = call("export", made.latents, "--out", "w.mlpackage", *words)
        assert (code, said.count("\n")) == (2, 1)
        assert f"{words[0]}: is of a whole pipeline; give --pipeline, too" in said
    asked = ["--pipeline", *text, "--out", "phone", "--decoder-mb", "9"]
    code, _, said = call("export", made.pixels, *asked)
    assert (code, said.count("\n")) == (2, 1)
    assert "--decoder-mb: the network makes pixels" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == before


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from nas.cli import main
sys.argv = ["nas", *sys.argv[1:]]
main()
"""


def test_a_full_disk_leaves_nothing_half_written(made: Given, tmp_path: Path) -> None:
    """No file may grow beyond a limit, which is what a full disk does to one."""
    words = ["export", made.latents, "--pipeline", *made.words, "--out", "phone"]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("nas: phone/decoder.mlpackage: cannot be written")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_export_that_is_asked_to_end_leaves_nothing(made: Given, tmp_path: Path) -> None:
    words = ["export", made.latents, "--pipeline", *made.words, "--out", "phone"]
    with subprocess.Popen(
        [*NAS, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(process, lambda: any(tmp_path.iterdir()))
        process.terminate()
        _, said = process.communicate()
    assert process.returncode > 0, "not by the signal"
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())
