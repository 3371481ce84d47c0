"""The whole pipeline for a phone: exported, read back, and run against stand-ins for Core ML."""

import ast
import io
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from conftest import Call
from hypothesis import given
from hypothesis import strategies as st
from phones import (
    PROMPT,
    Given,
    Made,
    exported,
    frames_of,
    loaded,
    networks_of,
    sampled,
    stand_in,
    tune,
)
from PIL import Image

from examples.tiny_text_encoder import CONFIG
from latency.coreml.chunks import split
from latency.coreml.convert import export_program
from latency.coreml.package import open_package
from nas.bundle import Bundle
from nas.phone.calls import calls_in_words, priced
from nas.phone.manifest import hashes, read_pipeline, sealed
from nas.phone.parts import stretch
from nas.sampling import files
from nas.sampling.sampler import sampler_of
from supernet.text.opening import open_text_encoder

pytest.importorskip("tokenizers")
pytest_plugins = ["phones"]
pytestmark = pytest.mark.long
LIGHT = ("coremltools", "numpy", "tokenizers", "av")


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
    cut = run.enlarged(run.video(folder, pipeline, " ".join([PROMPT] * 5), 3))
    assert cut.shape[1] == 256, "large enough to look at"
    heights = [run.enlarged(np.zeros((1, height, 8, 3))).shape[1] for height in (24, 160, 300)]
    assert heights == [264, 320, 300]
    pictures = [Image.fromarray(frame) for frame in cut]
    wanted = frames_of(io.BytesIO(files._mp4_bytes(pictures, pipeline["video"]["fps"])))
    off = np.abs(frames_of(out).astype(int) - wanted.astype(int))
    assert off.mean() < 0.05, "the film that nas sample writes of them, but for what lies between"
    with av.open(out) as film:
        assert film.streams.video[0].average_rate == pipeline["video"]["fps"]


def test_a_tiny_decoder_goes_along(
    made: Given, monkeypatch: pytest.MonkeyPatch, call: Call, tmp_path: Path
) -> None:
    """TAESD's, of 2 pixels a latent: what phones have in place of a large VAE."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vae, sides, blocks = tmp_path / "taesd", (8, 8), (1, 1)
    diffusers.AutoencoderTiny(
        encoder_block_out_channels=sides, decoder_block_out_channels=sides,
        num_encoder_blocks=blocks, num_decoder_blocks=blocks,
    ).save_pretrained(vae)  # fmt: skip
    asked = ["--text-encoder", str(made.folder / "text"), "--vae", str(vae)]
    steps = ["--steps", "2", "--guidance", "3"]
    code, _, said = call("export", made.latents, "--pipeline", *asked, *steps, "--out", "phone")
    assert code == 0, said
    folder = Path("phone")
    networks = networks_of(made, made.latents, tuned=False, vae=vae)
    monkeypatch.setitem(sys.modules, "coremltools", stand_in(folder, networks))
    pipeline = read_pipeline(folder)
    assert pipeline["video"] | {"fps": 0} == {"frames": 5, "height": 16, "width": 16, "fps": 0}
    frames = loaded(folder).video(folder, pipeline, PROMPT, 3)
    wanted = sampled(made, made.latents, tuned=False, seed=3, vae=vae)
    assert np.abs(frames.astype(int) - wanted.astype(int)).max() <= 1


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
