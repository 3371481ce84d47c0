"""`nas encode` with captions as a person uses it: killed, shared by workers, trained on."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from processes import kill_when, killed_once
from runs import SMALL
from safetensors.torch import load_file, save_file
from test_clip_files import read

from adversarial_finetune.data import ClipFiles, find_clips
from nas.bundle import Bundle
from nas.temporal.preview import preview_gif
from nas.training.encoding_workers import spread_over
from search_spaces import UNetShape
from supernet import checkpoint
from supernet.autoencoders.autoencoder import ImageAutoencoder
from supernet.autoencoders.fingerprint import encoded_picture
from supernet.autoencoders.opening import open_autoencoder
from supernet.data.encoding import CaptionWarning
from supernet.data.latents import LatentFolder
from supernet.data.provenance import made_with
from supernet.evaluation.sampling import Samples

sys.path.append(str(Path(__file__).parents[1] / "supernet"))

from films import write_video

from examples.phone_video.captions import long_films, prompts_of
from examples.phone_video.films import write_films
from examples.tiny_text_encoder import CONFIG, write_pipeline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::supernet.data.encoding.CaptionWarning"),
]
Call = Callable[..., tuple[int, str, str]]
NAS = [sys.executable, "-c", "from nas.cli import main; main()"]
SPACE = """
from search_spaces import CONV1D, NONE, UNetShape, temporal_space

SPACE = temporal_space("latent", UNetShape(4, (8, 8), 4, 4, 4, 12, 16), (NONE, CONV1D))
"""
SHAPE = UNetShape(4, (8, 8), 4, 4, 4, 12, 16)
FILMS = 12
ENCODE = [
    "encode", "films", "--autoencoder", "ae.safetensors", "--size", "4x4",
    "--text-encoder", "text", "--shard-mb", "0.002",
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Films of a shade each, of which the last has no caption, and what encodes them."""
    pytest.importorskip("tokenizers")
    (tmp_path / "films").mkdir()
    rows = ["file_name,text"]
    for number in range(FILMS):
        write_video(
            tmp_path / "films" / f"{number:02}.mkv", 12,
            lambda n, shade=number * 20: np.full((32, 32, 3), (shade, n * 8, 0), np.uint8),
        )  # fmt: skip
        if number < FILMS - 1:
            rows.append(f"{number:02}.mkv,the {number // 2} one")
    (tmp_path / "films" / "metadata.csv").write_text("\n".join(rows))
    torch.manual_seed(0)
    weights = ImageAutoencoder().state_dict()
    checkpoint.write(tmp_path / "ae.safetensors", weights, {"holds": "autoencoder"})
    write_pipeline(tmp_path / "text")
    (tmp_path / "of_captions.py").write_text(SPACE)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.long
@pytest.mark.usefixtures("place")
def test_from_captions_to_a_training_package(call: Call) -> None:
    with pytest.warns(CaptionWarning, match=r"1 films have no caption; .*: films/11\.mkv"):
        code, out, words = call(*ENCODE, "--out", "latents", "--json")
    assert code == 0, words
    assert json.loads(out) == {
        "latents": "latents", "channels": 4, "height": 4, "width": 4, "videos": FILMS,
        "frames": 12 * FILMS, "captions": 6,
    }  # fmt: skip
    space = ["--space", "of_captions:SPACE", "--data", "latents"]
    code, _, words = call(
        "train", *space, "--clips", "2", "--image-steps", "2", "--video-steps", "2",
        "--out", "supernet.safetensors",
    )  # fmt: skip
    assert code == 0, words
    few = ["--train", "40", "--validation", "2", "--test", "2"]
    assert call("clips", *space, *few, "--out", "clips")[0] == 0
    index, _, rows, contexts = read(Path("clips/train"))
    asks_nothing = load_file(Path("clips/train") / index["empty_context"]["file"])["empty_context"]
    data = LatentFolder(Path("latents"), SHAPE, "train")
    empty = data.empty_context()
    assert empty is not None
    assert torch.equal(asks_nothing.float(), empty)
    said = [data.caption(context) for context in contexts[rows].float()]
    assert {*said} <= {"", *(f"the {number} one" for number in range(6))}
    assert len({*said}) > 3
    write_pipeline(Path("other"), replace(CONFIG, num_hidden_layers=1))
    assert call(*ENCODE, "--text-encoder", "other", "--out", "again")[0] == 0
    again = LatentFolder(Path("again"), SHAPE, "train")
    tuned_on = ClipFiles(find_clips(Path("clips"), "train", Path("again")))
    asked = tuned_on.contexts_at(torch.arange(40))
    assert not torch.equal(asked, contexts[rows].float())
    assert [again.caption(context) for context in asked] == said
    assert torch.equal(tuned_on.nothing, torch.as_tensor(again.empty_context()))
    assert tuned_on.layout.made_with["text_encoder"] == made_with(again, SHAPE)["text_encoder"]


@pytest.mark.long
def test_what_samples_must_be_what_encoded(place: Path, call: Call) -> None:
    """A run of latents with captions, sampled by its own text encoder and VAE, and by others."""
    diffusers = pytest.importorskip("diffusers")
    write_pipeline(place / "other", replace(CONFIG, num_hidden_layers=1))
    parts = {
        "block_out_channels": (32,), "down_block_types": ("DownEncoderBlock2D",),
        "up_block_types": ("UpDecoderBlock2D",), "layers_per_block": 1,
    }  # fmt: skip
    for name, scaling in (("vae", 0.18215), ("scaled", 0.13025), ("stranger", 0.18215)):
        vae = diffusers.AutoencoderKL(**parts, latent_channels=4, scaling_factor=scaling)
        vae.save_pretrained(place / name)
    encode = [*ENCODE, "--out", "latents"]
    encode[encode.index("ae.safetensors")] = "vae"
    assert call(*encode)[0] == 0
    code, _, words = call(
        "search", "--space", "of_captions:SPACE", "--data", "latents", "--device", "iphone-13",
        "--latency-ms", "100%", "--image-steps", "2", "--video-steps", "2", *SMALL, "--out", "run",
    )  # fmt: skip
    assert code == 0, words
    known = Bundle.load("run/bundle").made_with
    assert (known["asked_by"], known["fps"]) == ("captions", 25), "as filmed"
    few = ["--train", "2", "--validation", "2", "--test", "2", "--out", "clips"]
    assert call("clips", "--space", "of_captions:SPACE", "--data", "latents", *few)[0] == 0
    assert json.loads(Path("clips/test/index.json").read_text())["made_with"] == known
    sample = ("sample", "run/bundle", "--prompt", "the 1 one", "--steps", "1", "--out", "made.gif")
    shutil.copytree(place / "text", place / "half")
    file = place / "half" / "text_encoder" / "model.safetensors"
    save_file({name: each.bfloat16() for name, each in load_file(file).items()}, file)
    shutil.copytree(place / "text", place / "permuted")
    vocabulary = place / "permuted" / "tokenizer" / "vocab.json"
    ids = json.loads(vocabulary.read_text())
    vocabulary.write_text(json.dumps(ids | {"d": ids["o"], "o": ids["d"]}))
    refused = {
        ("other", "vae"): "another text encoder than the captions",
        ("permuted", "vae"): "another text encoder than the captions",
        ("text", "scaled"): "decodes latents of scaling 0.13025 and shift 0, and",
        ("text", "stranger"): "stranger: is another autoencoder, and the network's were encoded",
    }
    for (text, vae), says in refused.items():
        code, _, words = call(*sample, "--text-encoder", text, "--vae", vae)
        assert (code, words.count("\n")) == (2, 1), words
        assert says in words
        assert not (place / "made.gif").exists()
    distil(place / "vae", place / "tiny")
    for text, vae in (("half", "vae"), ("text", "tiny")):
        (place / "made.gif").unlink(missing_ok=True)
        code, _, words = call(*sample, "--text-encoder", text, "--vae", vae)
        assert code == 0, words


def distil(vae: Path, tiny: Path) -> None:
    """Write an AutoencoderTiny that shows what a VAE shows of one picture.

    A VAE with weights at random teaches no more; tests/supernet/test_autoencoder.py has a teacher.
    """
    import diffusers

    torch.manual_seed(0)
    teacher, student = open_autoencoder(vae), diffusers.AutoencoderTiny(
        encoder_block_out_channels=(16,), decoder_block_out_channels=(32,),
        num_encoder_blocks=(1,), num_decoder_blocks=(1,),
    )  # fmt: skip
    latents = torch.tensor(encoded_picture(teacher)).reshape(1, 4, 4, 4)
    optimizer = torch.optim.Adam(student.decoder.parameters(), 3e-3)
    for _ in range(300):
        loss = F.mse_loss(student.decoder(latents), teacher.decode(latents))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    student.save_pretrained(tiny)


@pytest.mark.long
def test_ten_kills_lose_nothing_and_double_nothing(place: Path, call: Call) -> None:
    assert call(*ENCODE, "--out", "whole")[0] == 0
    unfinished = place / "killed.unfinished"
    for number in range(10):
        more = ["--resume"] if number else []
        process = subprocess.Popen(
            [*NAS, *ENCODE, "--out", "killed", *more], cwd=place, stderr=subprocess.DEVNULL
        )
        kill_when(process, lambda n=number: len([*unfinished.glob("*.safetensors")]) > n)
        assert not (place / "killed").exists()
    code, _, words = call(*ENCODE, "--out", "killed", "--resume")
    assert code == 0, words
    assert contents(place / "killed") == contents(place / "whole")
    assert not unfinished.exists()


@pytest.mark.long
def test_workers_make_what_one_process_makes(place: Path, call: Call) -> None:
    assert call(*ENCODE, "--out", "one")[0] == 0
    (place / "films" / "broken.mp4").write_text("no video")
    with pytest.warns(UserWarning, match=r"broken\.mp4: cannot be read as video"):
        code, out, words = call(*ENCODE, "--workers", "2", "--out", "two", "--json")
    assert code == 0, words
    assert json.loads(out)["videos"] == FILMS
    assert contents(place / "two") == contents(place / "one")


@pytest.mark.long
def test_what_a_lost_worker_did_is_done_again(tmp_path: Path) -> None:
    with spread_over(2) as spread:
        done = dict(spread(killed_once, [tmp_path / "a", tmp_path / "b"]))
        assert done == {0: "a", 1: "b"}
        with pytest.raises(OSError, match="No such file"):
            list(spread(Path.read_text, [tmp_path / "none"]))


@pytest.mark.long
def test_shards_from_the_command_line(place: Path, call: Call) -> None:
    pytest.importorskip("webdataset")
    assert call(*ENCODE, "--out", "plain")[0] == 0
    (place / "shards").mkdir()
    for first in range(0, FILMS, 4):
        with tarfile.open(place / "shards" / f"{first}.tar", "w") as tar:
            for number in range(first, min(first + 4, FILMS)):
                tar.add(place / "films" / f"{number:02}.mkv", f"{number:02}.mkv")
                if number < FILMS - 1:
                    text = json.dumps({"caption": f"the {number // 2} one"}).encode()
                    entry = tarfile.TarInfo(f"{number:02}.json")
                    entry.size = len(text)
                    tar.addfile(entry, io.BytesIO(text))
    for name, more in (("one", []), ("two", ["--workers", "2"])):
        arguments = [word.replace("films", "shards") for word in ENCODE]
        code, _, words = call(*arguments, "--out", name, *more)
        assert code == 0, words
    assert contents(place / "one") == contents(place / "two")
    captions = (place / "plain" / "captions.json").read_bytes()
    assert (place / "one" / "captions.json").read_bytes() == captions


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--text-encoder", "none"], "none: no text encoder (config.json is missing)"),
        (["--text-encoder", "films"], "films: no text encoder (config.json is missing)"),
        (["--uncaptioned", "drop"], "Invalid value for '--uncaptioned'"),
        (["--shard-mb", "0"], "Invalid value for '--shard-mb'"),
        (["--shard-mb", "inf"], "--shard-mb must be above 0 and finite; found inf"),
        (["--ray", "127.0.0.1:1"], "ray 127.0.0.1:1: no cluster there"),
    ],
)
def test_bad_wishes_leave_nothing(
    place: Path, call: Call, arguments: list[str], words: str
) -> None:
    before = sorted(place.rglob("*"))
    code, out, error = call(*ENCODE, "--out", "latents", *arguments)
    assert (code, out) == (2, "")
    assert words in error
    assert "Traceback" not in error
    assert sorted(place.rglob("*")) == before


def test_captions_without_a_text_encoder_are_hinted_at(place: Path, call: Call) -> None:
    plain = ENCODE[:6]
    code, _, error = call(*plain, "--uncaptioned", "skip", "--out", "latents")
    assert code == 2
    assert error.count("\n") == 1
    assert "--uncaptioned is about captions; name what encodes them: --text-encoder" in error
    assert not list(place.glob("latents*"))
    with pytest.warns(CaptionWarning, match="films: has captions, which are passed over"):
        code, _, error = call(*plain, "--out", "latents")
    assert code == 0, error


def test_bad_captions_leave_nothing(place: Path, call: Call) -> None:
    table = place / "films" / "metadata.csv"
    table.write_text(f"{table.read_text()}\n../ae.safetensors,x\n")
    before = sorted(place.rglob("*"))
    code, _, error = call(*ENCODE, "--out", "latents")
    assert code == 2
    assert error.count("\n") == 1
    assert "line 13: '../ae.safetensors' is no file below the folder of metadata.csv" in error
    assert sorted(place.rglob("*")) == before


def test_films_that_are_too_short_for_a_clip_are_not_asked_for(place: Path, call: Call) -> None:
    """In examples/phone_video, which shows what its network learned from."""
    write_video(place / "films" / "short.mkv", 3, lambda _: np.zeros((32, 32, 3), np.uint8))
    (place / "films" / "short.txt").write_text("the short one")
    assert call(*ENCODE, "--out", "latents")[0] == 0
    assert prompts_of(place / "latents", 3)[-1] == "the short one"
    assert prompts_of(place / "latents", 4) == [f"the {number} one" for number in range(6)]
    assert len(long_films(place / "latents", 4)) == FILMS
    write_films(place / "latents", place / "ae.safetensors", 4, place / "films.gif")
    with Image.open(place / "films.gif") as opened:
        assert opened.n_frames == 4  # type: ignore[attr-defined]
        assert opened.info["duration"] == 40, "25 a second, as they were filmed"


def test_previews_carry_their_captions(place: Path, call: Call) -> None:
    assert call(*ENCODE, "--out", "latents")[0] == 0
    data = LatentFolder(place / "latents", SHAPE, "train")
    samples = Samples(data, clips=8, steps=1)
    gif = preview_gif(samples.drawn(lambda x, *_: torch.zeros_like(x)), samples)
    with Image.open(io.BytesIO(gif)) as opened:
        grey = np.asarray(opened.convert("L"), np.int16)
    assert grey.shape[0] == 2 * (176 + 30 + 8) - 8, "with a line below each clip"
    assert (grey[176:206] < 128).any(), "that says what was asked for"
