"""`nas sample` as a person uses it: a prompt, a bundle that a search left, a film to look at."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest
import torch
from PIL import Image
from runs import NAS

import nas
from examples.tiny_text_encoder import write_pipeline
from nas.sampling.grid import grid_frames
from nas.sampling.noise import drawn
from nas.sampling.prompts import Digits
from nas.sampling.sampler import Sampler, sampler_of
from supernet.flow_matching import generate, step_times
from temporal_bundle.testing import write_tuning

pytestmark = pytest.mark.slow
Call = Callable[..., tuple[int, str, str]]
PROMPT = "a three and a FIVE, moving"


@pytest.fixture(scope="module")
def bundle(finished_run: Path) -> Path:
    return finished_run / "bundle"


def film(path: Path) -> list[torch.Tensor]:
    with av.open(path) as container:
        return [
            torch.from_numpy(frame.to_ndarray(format="rgb24")).float() / 127.5 - 1
            for frame in container.decode(video=0)
        ]


def test_a_prompt_becomes_a_film(bundle: Path, tmp_path: Path) -> None:
    """From a cold start, as typed; what is seen is what the network made."""
    words = [*NAS, "sample", str(bundle), "--prompt", PROMPT, "--out", "clip.mp4", "--json"]
    done = subprocess.run(
        [*words, "--steps", "3", "--guidance", "2"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["sampler"]["guidance"] == 2
    assert told["calls"] == 6
    assert set(told["seconds"]) == {"text", "open the network", "network", "decoder"}
    frames = film(tmp_path / "clip.mp4")
    opened = nas.Bundle.load(bundle)
    channels, count, height, width = opened.opened.clip_shape
    assert len(frames) == told["frames"] == count
    assert frames[0].shape == (*told["pixels"], 3)
    assert min(told["pixels"]) >= 256, "large enough to look at"
    context = torch.zeros(1, 2, 10)
    context[0, 0, 3] = context[0, 1, 5] = 1
    noise = drawn(0, (1, channels, count, height, width))()
    made = generate(opened.denoiser(), noise, context, step_times(3), 2.0)[0, 0].clamp(-1, 1)
    for shown, own in zip(frames, made, strict=True):
        large = torch.nn.functional.interpolate(own[None, None], shown.shape[:2], mode="bicubic")
        assert (shown.mean(-1) - large[0, 0].clamp(-1, 1)).abs().mean() < 0.1


def test_several_prompts_are_a_grid_that_the_seed_alone_decides(
    bundle: Path, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("seven\r\n\r\n0 and  9\r\n", encoding="utf-8-sig")
    asked = ["--prompt", "4", "--prompt-file", "prompts.txt", "--steps", "2", "--frames", "5"]
    for name, seed in (("a.gif", "3"), ("b.gif", "3"), ("c.gif", "4")):
        code, _, err = call("sample", str(bundle), *asked, "--seed", seed, "--out", name)
        assert code == 0, err
    assert "a.gif: 3 x 5 frames" in call("sample", str(bundle), *asked, "--out", "a.gif")[1]
    with Image.open(tmp_path / "b.gif") as picture:
        assert picture.n_frames == 5
        assert min(picture.size) > 500, "two rows of two, and what was asked for below"
    content = [(tmp_path / name).read_bytes() for name in ("b.gif", "c.gif")]
    assert content[0] != content[1]
    code, _, err = call("sample", str(bundle), *asked, "--seed", "3", "--out", "a.gif")
    assert code == 0, err
    assert (tmp_path / "a.gif").read_bytes() == content[0]


def test_captions_are_shown_in_their_own_letters() -> None:
    def picture(words: str) -> bytes:
        return grid_frames(torch.zeros(1, 1, 1, 8, 8), [words], 1, 64)[0].tobytes()

    shown = {letter: picture(letter) for letter in ("", "?", "e", "\u00e9", "\u0434", "\u03b1")}
    assert len(set(shown.values())) == len(shown)
    assert picture("e\u0301") == shown["\u00e9"]
    assert picture("\u65e5") == shown["?"], "no font of ours has it"


def test_tuned_weights_are_sampled_by_their_own_steps(
    bundle: Path, call: Call, tmp_path: Path
) -> None:
    tuned = tmp_path / "tuned"
    shutil.copytree(bundle, tuned)
    write_tuning(tuned)
    said = json.loads((tuned / "finetuned.json").read_text())["sampler"]
    code, out, err = call("sample", str(tuned), "--prompt", "1", "--out", "t.gif", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["sampler"] == said
    assert told["calls"] == len(said["times"])
    assert told["weights"].startswith("tuned")
    code, out, err = call("sample", str(tuned), "--prompt", "1", "--steps", "4", "--out", "u.gif")
    assert (code, out) == (2, "")
    assert "leave --steps and --guidance out, or take --weights searched" in err
    again = ["--weights", "searched", "--steps", "4", "--guidance", "1", "--out", "s.gif", "--json"]
    code, out, err = call("sample", str(tuned), "--prompt", "1", *again)
    assert code == 0, err
    assert json.loads(out)["calls"] == 4


def test_a_leap_takes_each_guess_and_noises_it_again(bundle: Path) -> None:
    opened = nas.Bundle.load(bundle)
    sampler = sampler_of(opened, tuned=False, steps=None, guidance=None)
    assert sampler.calls == 50, "25 guided steps, as previews are made"
    leaping, shape, seen = Sampler("leap", (1.0, 0.25)), (1, 1, 2, 3, 3), []

    def at_once(x: torch.Tensor, time: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x / time[:, None, None, None, None]  # whatever is shown, the data is zeros

    made = leaping.clips(at_once, context := torch.zeros(1, 2, 10), context[0], drawn(7, shape))
    first, second = (draw() for draw in [drawn(7, shape)] * 2)
    assert torch.equal(seen[0], first)
    assert torch.equal(seen[1], second * 0.25), "noise that is drawn anew"
    assert not made.any()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say what to make: --prompt"),
        (("--prompt", "a cat"), "names 0 digits; this network was trained to show one or two"),
        (("--prompt", "1 2 3"), "names 3 digits"),
        (("--prompt", "1", "--frames", "99"), "--frames 99: the network of"),
        (("--prompt", "1", "--out", "a.avi"), "give a name that ends in .mp4 or .gif"),
        (("--prompt", "1", "--text-encoder", "nowhere"), "nowhere"),
        (("--prompt", "1", "--vae", "nowhere"), "nowhere"),
        (("--prompt", "1", "--guidance", "nan"), "--guidance nan: expected a number"),
        (("--prompt", "caf\udce9"), "is no Unicode text"),
        (("--prompt-file", "nowhere.txt"), "nowhere.txt: is no file of prompts"),
        (("--prompt", "1", "--weights", "tuned"), "holds no tuned weights"),
    ],
)
def test_bad_input_is_one_line(
    words: tuple[str, ...], says: str, bundle: Path, call: Call, tmp_path: Path
) -> None:
    code, out, err = call("sample", str(bundle), "--out", "a.gif", *words)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert says in err
    assert not list(tmp_path.glob("a.*"))


def test_a_text_encoder_of_other_tokens_is_refused(
    bundle: Path, call: Call, tmp_path: Path
) -> None:
    pytest.importorskip("tokenizers", reason="the extra `text` is not installed")
    write_pipeline(tmp_path / "text")
    asked = ["--prompt", "1", "--text-encoder", "text", "--out", "a.gif"]
    code, out, err = call("sample", str(bundle), *asked)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "makes 12 tokens of 16 channels, and the bundle's network takes 2 of 10" in err


def test_digits_are_named_by_numerals_and_by_words() -> None:
    both = Digits().contexts(["3 and nine", "Nine", ""])
    assert both.argmax(-1).tolist()[0] == [3, 9]
    assert both.sum(dim=(1, 2)).tolist() == [2, 1, 0]
