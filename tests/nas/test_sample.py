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
from nas.cli.export_pipeline import wished
from nas.sampling.files import try_out
from nas.sampling.grid import grid_frames
from nas.sampling.making import opened_asker
from nas.sampling.noise import drawn
from nas.sampling.prompts import Digits
from nas.sampling.sampler import Sampler, sampler_of
from search_spaces import InputError
from supernet.flow_matching import generate, step_times
from temporal_bundle.testing import write_tuning

pytestmark = pytest.mark.slow
Call = Callable[..., tuple[int, str, str]]
PROMPT = "a three and a FIVE, moving"


@pytest.fixture(scope="module")
def bundle(finished_run: Path) -> Path:
    return finished_run / "bundle"


@pytest.fixture
def told(bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the bundle that says something else of what its clips were made with."""

    def write(made_with: object, **study: object) -> Path:
        copy = tmp_path / "told"
        shutil.copytree(bundle, copy, dirs_exist_ok=True)
        manifest = json.loads((bundle / "bundle.json").read_text())
        manifest["study"] |= {"made_with": made_with, **study}
        (copy / "bundle.json").write_text(json.dumps(manifest))
        return copy

    return write


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
    (tmp_path / "prompts.txt").write_text("seven\r\n\r\n0 and\u2028 9\r\n", encoding="utf-8-sig")
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


@pytest.mark.parametrize("number", ["1e999", "NaN", "1e30"])
def test_a_tuning_without_a_usable_number_is_refused_wherever_it_is_opened(
    number: str, bundle: Path, call: Call, tmp_path: Path
) -> None:
    tuned = tmp_path / "tuned"
    shutil.copytree(bundle, tuned)
    write_tuning(tuned)
    file = tuned / "finetuned.json"
    file.write_text(file.read_text().replace('"guidance": 1.0', f'"guidance": {number}'))
    for command, *words in (
        ("sample", "--prompt", "1", "--out", "made.gif"),
        ("export", "--to", "coreml", "--out", "made.mlpackage"),
        ("export", "--pipeline", "--text-encoder", "text", "--out", "made"),
    ):
        code, printed, err = call(command, str(tuned), *words)
        assert (code, printed, err.count("\n")) == (2, "", 1), err
        assert "finetuned.json: " in err
        assert number in err or "1e+30 is greater than the maximum of 100" in err
        assert not list(tmp_path.glob("made*"))


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


def test_a_film_plays_as_fast_as_those_that_were_learned_from(
    told: Callable[..., Path], call: Call, tmp_path: Path
) -> None:
    asked = ("--prompt", "1", "--steps", "1", "--out", "clip.mp4")
    digits = {"asked_by": "digits"}
    for made_with, more, fps in (
        ({**digits, "fps": 12.5}, (), 12.5),
        ({**digits, "fps": 12.5}, ("--fps", "3"), 3),
        (digits, (), 8),
    ):
        code, _, err = call("sample", str(told(made_with)), *asked, *more)
        assert code == 0, err
        with av.open(tmp_path / "clip.mp4") as shown:
            assert shown.streams.video[0].average_rate == fps
    opened = nas.Bundle.load(told({"asked_by": "captions", "fps": 12.5}))
    asked_for = {"steps": None, "guidance": None, "space": None, "vae": None}
    for given, fps in ((None, 12.5), (3, 3)):
        wishes = wished(
            opened, {"which": "searched"}, text_encoder=tmp_path, fps=given, **asked_for
        )
        assert wishes.fps == fps, "of a pipeline, too"


def test_what_learned_without_captions_is_asked_for_nothing(
    told: Callable[..., Path], call: Call, tmp_path: Path
) -> None:
    silent = str(told({"asked_by": "nothing"}))
    asked = ("sample", silent, "--steps", "2", "--out", "clip.gif", "--json")
    code, out, err = call(*asked, "--prompt", "")
    assert code == 0, err
    assert json.loads(out)["calls"] == 2, "nothing to be guided to"
    (tmp_path / "clip.gif").unlink()
    code, out, err = call(*asked, "--prompt", "a cat")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "prompt 'a cat': the network learned without captions" in err
    assert 'give --prompt ""' in err
    code, out, err = call("export", silent, "--pipeline", "--out", "phone")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "learned without captions, so no pipeline leads from a prompt to it" in err
    assert not [path for path in tmp_path.iterdir() if path.name != "told"]


def test_who_was_asked_by_what_is_written_down(bundle: Path, told: Callable[..., Path]) -> None:
    """An older manifest names the data alone, which may be a folder of that name."""
    assert nas.Bundle.load(bundle).made_with == {"asked_by": "digits"}
    settings = json.loads((bundle / "bundle.json").read_text())["study"]["settings"]
    assert settings["plan"]["data"] == "digits"
    assert isinstance(opened_asker(nas.Bundle.load(told({})), None), Digits)
    for made_with in ({"asked_by": "captions"}, {"asked_by": "digits"}):
        found = nas.Bundle.load(told(made_with))
        if made_with["asked_by"] == "digits":
            found.manifest["network"]["inputs"]["context_BLC"] = [None, 12, 16]
        with pytest.raises(InputError, match="give the text encoder that its clips were encoded"):
            opened_asker(found, None)


def test_latents_are_never_shown_as_pixels(told: Callable[..., Path], call: Call) -> None:
    """A network of one channel, which a manifest without an autoencoder says is grey."""
    latents = told({"asked_by": "digits", "autoencoder": {"scaling": 1.0, "shift": 0.0}})
    code, out, err = call("sample", str(latents), "--prompt", "1", "--out", "clip.gif")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "its network makes latents of 1 channels; give what decodes them, as --vae" in err


@pytest.mark.parametrize(
    "made_with", ["text", {"fps": "fast"}, {"asked_by": 3}, {"text_encoder": {"empty": [1]}}]
)
def test_a_manifest_that_somebody_changed_is_refused_in_a_line(
    made_with: object, told: Callable[..., Path], call: Call
) -> None:
    code, out, err = call("sample", str(told(made_with)), "--prompt", "1", "--out", "a.gif")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "told/bundle.json: " in err
    assert "made_with" in err


def test_a_grid_that_no_film_holds_is_refused_before_it_is_made(tmp_path: Path) -> None:
    words = ["one", "two"]
    try_out(tmp_path / "clip.mp4", (16, 16), words, 8)
    with pytest.raises(InputError, match="FFmpeg makes no video of 18008 x 286 pixels"):
        try_out(tmp_path / "clip.mp4", (256, 9000), words, 8)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_opened(call: Call) -> None:
    if not Path("/sys").is_dir():
        pytest.skip("no folder here that nobody may write to")
    code, out, err = call("sample", "nowhere", "--prompt", "1", "--out", "/sys/clips/clip.mp4")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "--out /sys/clips/clip.mp4: cannot be written: " in err


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
        (("--prompt", "1", "--guidance", "1e30"), "1e+30: expected a number from -100 to 100"),
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
