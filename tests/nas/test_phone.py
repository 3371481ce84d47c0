"""The whole pipeline for a phone: exported, read back, and run against stand-ins for Core ML."""

import ast
import importlib.util
import io
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from conftest import Call
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from processes import wait_until
from runs import NAS
from safetensors.torch import load_file, save_file
from torch import nn

from examples.tiny_pipeline import write_bundle, write_parts
from examples.tiny_text_encoder import CONFIG, write_pipeline
from latency.coreml.chunks import split
from latency.coreml.convert import export_program
from latency.coreml.package import open_package
from nas.bundle import Bundle
from nas.phone.calls import calls_in_words, priced
from nas.phone.manifest import hashes, read_pipeline, sealed
from nas.phone.parts import stretch
from nas.progress import Progress
from nas.sampling import files
from nas.sampling.making import Maker
from nas.sampling.prompts import Texts, opened_text_encoder
from nas.sampling.sampler import sampler_of
from search_spaces import InputError
from supernet import checkpoint
from supernet.autoencoders.autoencoder import KIND, ImageAutoencoder
from supernet.autoencoders.opening import open_autoencoder
from supernet.text.opening import open_text_encoder
from temporal_bundle import sha256
from temporal_bundle.testing import write_tuning

pytest.importorskip("tokenizers")
pytestmark = pytest.mark.long
Made = Callable[[str, Callable[[Path], object]], Path]
PROMPT = "the red one and the caf\u00e9"
LIGHT = ("coremltools", "numpy", "tokenizers", "av")


def tune(path: Path, **changes: object) -> None:
    """Leave tuned weights that are near those of the search."""
    write_tuning(path, **changes)
    weights = {n: 1.05 * w for n, w in load_file(path / "weights.safetensors").items()}
    save_file(weights, path / "finetuned.safetensors")
    said = json.loads((path / "finetuned.json").read_text())
    said["files"]["finetuned.safetensors"] = sha256(path / "finetuned.safetensors")
    (path / "finetuned.json").write_text(json.dumps(said))


@dataclass(frozen=True)
class Given:
    """What a pipeline is made of."""

    folder: Path

    @property
    def words(self) -> list[str]:
        return ["--text-encoder", str(self.folder / "text"), *self.decoder]

    @property
    def decoder(self) -> list[str]:
        return ["--vae", str(self.folder / "vae.safetensors")]

    @property
    def latents(self) -> str:
        return str(self.folder / "bundle")

    @property
    def pixels(self) -> str:
        """A bundle of a network of grey pixels, tuned for a leap of two steps."""
        return str(self.folder / "pixels")


@pytest.fixture(scope="session")
def made(made_once: Made) -> Given:
    def fill(folder: Path) -> None:
        write_parts(folder)
        write_bundle(folder / "pixels", 1)
        tune(folder / "pixels")

    return Given(made_once("pipeline", fill))


def exported(made_once: Made, name: str, *words: str) -> Path:
    def fill(folder: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "nas", "export", *words, "--out", "phone", "--json"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (folder / "told.json").write_text(done.stdout)

    return made_once(name, fill) / "phone"


@pytest.fixture(scope="session")
def of_latents(made_once: Made, made: Given) -> Path:
    """Three packages; two guided steps, the decoder two frames a call."""
    asked = ["--steps", "2", "--guidance", "3", "--decoder-mb", "1.25", "--fps", "4"]
    space = ["--space", "examples.tiny_pipeline:SPACE"]  # as operators of one's own need it
    return exported(made_once, "phone", made.latents, "--pipeline", *made.words, *asked, *space)


@pytest.fixture(scope="session")
def of_pixels(made_once: Made, made: Given) -> Path:
    """Two packages in palettes, by tuned steps; the network makes pixels."""
    text = ["--text-encoder", str(made.folder / "text"), "--palettise", "6", "--fps", "7.5"]
    return exported(made_once, "phone-pixels", made.pixels, "--pipeline", *text)


def loaded(folder: Path) -> Any:
    """run.py of a pipeline, as a module."""
    spec = importlib.util.spec_from_file_location("phone_run", folder / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stand_in(folder: Path, networks: dict[str, nn.Module]) -> ModuleType:
    """A coremltools that computes with torch what packages hold, called as they want to be."""
    packages = {path.stem: open_package(path) for path in folder.rglob("*.mlpackage")}

    class Model:
        def __init__(self, path: str, compute_units: str) -> None:
            assert compute_units == "CPU_AND_NE"
            self.opened = packages[Path(path).stem]
            self.network = networks[Path(path).stem]

        @torch.inference_mode()
        def predict(self, given: dict[str, Any]) -> dict[str, Any]:
            wanted = self.opened.inputs
            assert list(given) == [each.name for each in wanted]
            for each in wanted:
                assert given[each.name].shape == each.shape
                assert given[each.name].dtype == (np.int32 if each.type == "int32" else np.float32)
            values = [torch.from_numpy(value) for value in given.values()]
            found = self.network(*(v.long() if v.dtype == torch.int32 else v for v in values))
            answers = found if isinstance(found, tuple) else (found,)
            outputs = self.opened.outputs
            assert [answer.shape for answer in answers] == [output.shape for output in outputs]
            return {o.name: answer.numpy() for o, answer in zip(outputs, answers, strict=True)}

    fake: Any = ModuleType("coremltools")
    fake.ComputeUnit = SimpleNamespace(CPU_AND_NE="CPU_AND_NE")
    fake.models = SimpleNamespace(MLModel=Model)
    return fake  # type: ignore[no-any-return]


def frames_of(film: Path | io.BytesIO) -> Any:
    with av.open(film) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def networks_of(made: Given, path: str, *, tuned: bool) -> dict[str, nn.Module]:
    autoencoder = open_autoencoder(made.folder / "vae.safetensors")
    return {
        "text_encoder": open_text_encoder(made.folder / "text").model,
        "denoiser": Bundle.load(path).network(finetuned=tuned),
        "decoder": autoencoder.decoder,
    }


def sampled(made: Given, path: str, *, tuned: bool, seed: int) -> Any:
    """Frames (T, H, W, 3) of bytes, as `nas sample` makes them."""
    opened = Bundle.load(path)
    asked = {"steps": None, "guidance": None} if tuned else {"steps": 2, "guidance": 3.0}
    sampler = sampler_of(opened, tuned=tuned, **asked)  # type: ignore[arg-type]
    asker = Texts(opened_text_encoder(made.folder / "text", opened))
    decoder = None if tuned else open_autoencoder(made.folder / "vae.safetensors")
    found = Maker(opened, tuned, sampler, asker, decoder).make([PROMPT], seed, Progress())
    x_THWC = found.x_BCTHW[0].permute(1, 2, 3, 0).expand(-1, -1, -1, 3)
    return ((x_THWC + 1) * 127.5).round().to(torch.uint8).numpy()


@pytest.mark.parametrize(
    ("frames", "most", "a_call"),
    [(17, 0.0, 1), (17, 5.9, 5), (17, 9.0, 9), (17, 16.0, 9), (17, 1e9, 17), (17, math.inf, 17)],
)
def test_all_calls_of_a_decoder_are_alike(frames: int, most: float, a_call: int) -> None:
    """Of 5 frames it takes 4 calls, and of 16 as many as of 9."""
    assert stretch(frames, 0.0, 1.0, most) == a_call


def test_a_pipeline_is_exported_whole(of_latents: Path, call: Call) -> None:
    told = json.loads((of_latents.parent / "told.json").read_text())
    assert told["pipeline"] == read_pipeline(of_latents)
    assert {path.name for path in of_latents.parent.iterdir()} == {"phone", "told.json"}
    pipeline = told["pipeline"]
    assert pipeline["files"] == hashes(of_latents)
    assert {"run.py", "README.md", "tokenizer/vocab.json"} <= {*pipeline["files"]}
    assert pipeline["decoder"]["frames"] == 2
    calls = {name: pipeline[name]["calls"] for name in ("text_encoder", "denoiser", "decoder")}
    assert calls == {"text_encoder": 2, "denoiser": 4, "decoder": 3}
    assert pipeline["sampler"]["times"] == [1, 0.5]
    assert pipeline["video"] == {"frames": 5, "height": 64, "width": 64, "fps": 4}
    ids, clip = (pipeline[name]["inputs"][0] for name in ("text_encoder", "denoiser"))
    assert ids == {"name": "ids", "shape": [1, CONFIG.max_position_embeddings], "type": "int32"}, (
        "no ids beyond float16"
    )
    assert clip == {"name": "clip", "shape": [1, 4, 5, 8, 8], "type": "float16"}
    for name, part in told["parts"].items():
        (package,) = (of_latents.parent / path for path in part["packages"])
        assert package == of_latents / pipeline[name]["package"]
        opened = open_package(package)
        assert opened.workload.flops == part["flops"]
        assert not any(finding["refused"] for finding in part["lint"]["findings"])
    code, printed, said = call("show", str(of_latents))
    assert code == 0, said
    assert "text_encoder.mlpackage" in printed
    assert "\nnetwork calls for a clip: 4\n" in printed, "nothing is known of a search"
    readme = (of_latents / "README.md").read_text()
    assert "2 steps of `follow`, guidance 3: two calls a step" in readme
    assert "2 of 5 frames a call" in readme


def test_more_calls_than_a_search_counted_are_told(finished_run: Path) -> None:
    searched = Bundle.load(finished_run / "bundle")
    told = searched.latency
    found = priced(searched, 4)
    assert found["budget"] == {"calls": 4, "latency_ms": told["pipeline_ms"]}
    assert found["predicted"]["latency_ms"] == pytest.approx(told["pipeline_ms"])
    more = priced(searched, 50)["predicted"]
    assert more["latency_ms"] == pytest.approx(
        told["pipeline_ms"] + 46 * told["network"]["latency_ms"]
    )
    assert more["low_ms"] < more["latency_ms"] < more["high_ms"]
    line = calls_in_words({"denoiser": {"calls": 50}, **priced(searched, 50)})
    assert line.startswith("50, predicted to take ")
    assert f"; the search's budget counted 4, {told['pipeline_ms']:.5g} ms" in line


@pytest.mark.parametrize("tuned", [False, True])
def test_a_phone_makes_the_video_that_is_sampled_here(
    tuned: bool,
    made: Given,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = request.getfixturevalue("of_pixels" if tuned else "of_latents")
    path = made.pixels if tuned else made.latents
    networks = networks_of(made, path, tuned=tuned)
    monkeypatch.setitem(sys.modules, "coremltools", stand_in(folder, networks))
    run, pipeline = loaded(folder), read_pipeline(folder)
    assert (pipeline["decoder"] is None) == tuned
    frames = {seed: run.video(folder, pipeline, PROMPT, seed) for seed in (3, 4)}
    wanted = sampled(made, path, tuned=tuned, seed=3)
    off = np.abs(frames[3].astype(int) - wanted.astype(int))
    assert off.max() <= 1, "a number that lies between two"
    assert off.mean() < 0.01
    assert np.abs(frames[4].astype(int) - wanted.astype(int)).mean() > 1
    out = tmp_path / "clip.mp4"
    words = ["run.py", "--prompt", " \n".join([PROMPT] * 5), "--seed", "3", "--out", str(out)]
    monkeypatch.setattr("sys.argv", words)
    run.main()
    said = capsys.readouterr()
    assert "only the first 10 tokens of the prompt are seen" in said.err
    assert "clip.mp4: 5 frames" in said.out
    cut = run.video(folder, pipeline, " ".join([PROMPT] * 5), 3)
    pictures = [Image.fromarray(frame) for frame in cut]
    wanted = frames_of(io.BytesIO(files._mp4_bytes(pictures, pipeline["video"]["fps"])))
    assert np.array_equal(frames_of(out), wanted), "the film that nas sample writes of them"
    with av.open(out) as film:
        assert film.streams.video[0].average_rate == pipeline["video"]["fps"]


def test_chunks_of_a_network_run_one_after_the_other(
    made_once: Made, made: Given, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    text = ["--text-encoder", str(made.folder / "text"), "--chunks", "2"]
    folder = exported(made_once, "phone-chunks", made.pixels, "--pipeline", *text)
    said = read_pipeline(folder)["denoiser"]
    names = [f"denoiser.chunks/chunk{place}.mlpackage" for place in range(2)]
    assert [each["package"] for each in said["chunks"]] == names
    told = json.loads((folder.parent / "told.json").read_text())["parts"]["denoiser"]
    assert told["packages"] == [f"phone/{name}" for name in names]
    assert "2 packages that run one after the other" in (folder / "README.md").read_text()
    networks, of = networks_of(made, made.pixels, tuned=True), Bundle.load(made.pixels).runnable()
    whole = export_program(of.module, of.inputs, of.part_of, of.names)
    networks |= {f"chunk{i}": part.program.module() for i, part in enumerate(split(whole, 2))}
    monkeypatch.setitem(sys.modules, "coremltools", stand_in(folder, networks))
    frames = loaded(folder).video(folder, read_pipeline(folder), PROMPT, 3)
    wanted = sampled(made, made.pixels, tuned=True, seed=3)
    assert np.abs(frames.astype(int) - wanted.astype(int)).max() <= 1
    code, printed, _ = call("show", str(folder))
    assert code == 0
    assert '"denoiser.chunks"' in printed


def test_a_leap_is_guided_here_and_on_a_phone(
    made: Given, of_pixels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a training package other than ours may ask for."""
    shutil.copytree(made.pixels, tmp_path / "guided")
    asked = {"kind": "leap", "times": [1, 0.5], "guidance": 3}
    tune(tmp_path / "guided", sampler=asked)
    networks, calls = networks_of(made, made.pixels, tuned=True), []
    networks["denoiser"].register_forward_hook(lambda *_: calls.append(1))
    monkeypatch.setitem(sys.modules, "coremltools", stand_in(of_pixels, networks))
    pipeline = read_pipeline(of_pixels) | {"sampler": asked}
    frames = loaded(of_pixels).video(of_pixels, pipeline, PROMPT, 3)
    wanted = sampled(made, str(tmp_path / "guided"), tuned=True, seed=3)
    assert np.abs(frames.astype(int) - wanted.astype(int)).max() <= 1
    alone = sampled(made, made.pixels, tuned=True, seed=3)
    assert np.abs(frames.astype(int) - alone.astype(int)).mean() > 1
    sampler = sampler_of(Bundle.load(tmp_path / "guided"), tuned=True, steps=None, guidance=None)
    assert len(calls) == sampler.calls == 4


def test_run_says_in_a_line_what_it_cannot_do(
    of_pixels: Path, made: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    networks = networks_of(made, made.pixels, tuned=True)
    monkeypatch.setitem(sys.modules, "coremltools", stand_in(of_pixels, networks))

    def refused(run: Any, prompt: str) -> str:
        words = ["run.py", "--prompt", prompt, "--out", str(tmp_path / "clip.mp4")]
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as stop:
            run.main()
        assert stop.value.code == 2
        assert not [path for path in tmp_path.iterdir() if path.is_file()]
        return capsys.readouterr().err.splitlines()[-1]

    run = loaded(of_pixels)
    Path(tmp_path / "clip.mp4").mkdir()
    assert refused(run, "one").startswith("run.py: --out ")
    Path(tmp_path / "clip.mp4").rmdir()
    assert refused(run, "half \ud800") == (
        "run.py: the prompt: is no Unicode text: surrogates not allowed"
    )
    with monkeypatch.context() as broken:
        broken.setattr(run, "OPTIONS", {"crf": "18", "preset": "none such"})
        said = refused(run, "one")
    assert "clip.mp4: FFmpeg makes no video of it" in said
    with torch.no_grad():
        next(iter(networks["denoiser"].parameters())).fill_(math.nan)
    assert refused(run, "one").startswith("run.py: denoiser.mlpackage: makes numbers that are not")
    shutil.copytree(of_pixels, folder := tmp_path / "newer")
    (folder / "tokenizer/tokenizer.json").write_text('{"version": "9.0"}')
    pipeline = json.loads((folder / "pipeline.json").read_text())
    (folder / "pipeline.json").write_text(json.dumps(sealed({**pipeline, "files": hashes(folder)})))
    said = refused(loaded(folder), "one")
    assert said.startswith("run.py: tokenizer/tokenizer.json: this version of tokenizers does not")


@pytest.mark.parametrize("name", LIGHT)
def test_what_is_not_installed_is_said_before_anything_runs(
    name: str, of_pixels: Path, tmp_path: Path
) -> None:
    """An old coremltools beside a new numpy raises an AttributeError."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / f"{name}.py").write_text("raise AttributeError('np.thing\\nis gone')")
    fine = "" if name == "coremltools" else "import sys; sys.modules['coremltools'] = sys\n"
    code = f"{fine}import runpy; runpy.run_path({str(of_pixels / 'run.py')!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, "--prompt", "one", "--out", "clip.mp4"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "old")},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"run.py: {name}: ")
    assert "np.thing is gone; pip install --upgrade coremltools" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_prompts_become_the_same_ids(of_latents: Path, made: Given) -> None:
    ours = open_text_encoder(made.folder / "text").tokenizer
    theirs = loaded(of_latents).Words(of_latents, read_pipeline(of_latents)["tokenizer"])

    @given(st.text(max_size=60))
    def same(text: str) -> None:
        assert ours.ids([text]).tolist() == theirs.ids(text).tolist()
        assert ours.is_cut(text) == theirs.is_cut(text)

    same()
    for text in (
        "",
        "don't 42!?",
        "cafe\u0301 \u65e5\u672c \U0001f600",
        "<|endoftext|> the",
        "x" * 99,
    ):
        assert ours.ids([text]).tolist() == theirs.ids(text).tolist()


def test_run_needs_nothing_of_ours(of_latents: Path, tmp_path: Path) -> None:
    tree = ast.parse((of_latents / "run.py").read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    assert names - set(sys.stdlib_module_names) == set(LIGHT)
    if sys.platform == "darwin":
        pytest.skip("Core ML runs here")
    # Elsewhere the real coremltools says that it cannot, and so do we, in a line.
    done = subprocess.run(
        [sys.executable, of_latents / "run.py", "--prompt", "one", "--out", "clip.mp4"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("run.py: text_encoder.mlpackage: Core ML does not run it")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


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
