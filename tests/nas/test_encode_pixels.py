"""Networks of pixels that are asked by captions: from films to a sample, without an autoencoder."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from runs import SMALL

from nas.bundle import Bundle
from search_spaces import UNetShape
from supernet.data.latents import LatentFolder

sys.path.append(str(Path(__file__).parents[1] / "supernet"))

from films import write_video

from examples.tiny_text_encoder import write_pipeline

pytestmark = pytest.mark.filterwarnings("ignore::supernet.data.captions.CaptionWarning")
Call = Callable[..., tuple[int, str, str]]
SPACE = """
from search_spaces import CONV1D, NONE, UNetShape, temporal_space

SPACE = temporal_space("grey", UNetShape(1, (8, 8), 4, 8, 8, 12, 16), (NONE, CONV1D))
"""
ENCODE = ("encode", "films", "--pixels", "grey", "--size", "8x8")


@pytest.mark.long
def test_from_captioned_films_to_a_sample(films: Path, call: Call) -> None:
    pytest.importorskip("tokenizers")
    write_pipeline(films / "text")
    code, out, words = call(*ENCODE, "--text-encoder", "text", "--out", "clips", "--json")
    assert code == 0, words
    assert json.loads(out) == {
        "latents": "clips", "channels": 1, "height": 8, "width": 8, "videos": 8, "frames": 96,
        "captions": 2,
    }  # fmt: skip
    code, _, words = call(
        "search", "--space", "grey_space:SPACE", "--data", "clips", "--device", "iphone-13",
        "--latency-ms", "100%", "--image-steps", "2", "--video-steps", "2", *SMALL, "--out", "run",
    )  # fmt: skip
    assert code == 0, words
    known = Bundle.load("run/bundle").made_with
    assert known["asked_by"] == "captions"
    assert "autoencoder" not in known
    data = LatentFolder(Path("clips"), UNetShape(1, (8, 8), 4, 8, 8, 12, 16), "train")
    said = {data.caption(context) for context in data.clips(12, 0).context_BLC}
    assert said == {"the red one", "the one"}
    sample = ("sample", "run/bundle", "--prompt", "the red one", "--steps", "1", "--out")
    code, _, words = call(*sample, "made.gif", "--text-encoder", "text")
    assert code == 0, words
    assert Path("made.gif").exists()


def test_pictures_have_sizes_of_their_own(films: Path, call: Call) -> None:
    wishes = ("--pixels", "grey", "--size", "2000x2000", "--out", "clips")
    code, _, error = call("encode", "films", *wishes)
    assert (code, error) == (
        2, "nas: pictures must be 1 to 1024 high and wide; found 2000 x 2000\n"
    )  # fmt: skip
    assert not (films / "clips").exists()


@pytest.mark.long
def test_workers_make_what_one_process_makes(films: Path, call: Call) -> None:
    for workers in ("1", "2"):
        code, out, words = call(*ENCODE, "--workers", workers, "--out", f"by{workers}")
        assert code == 0, words
        assert out == f"pixels: by{workers}, 96 frames of 8 videos\n"
    one, two = ({file.name: file.read_bytes() for file in (films / each).iterdir()}
                for each in ("by1", "by2"))  # fmt: skip
    assert one == two


@pytest.mark.parametrize("both", [(), ("--pixels", "grey", "--autoencoder", "ae.safetensors")])
def test_latents_or_pixels(films: Path, call: Call, both: tuple[str, ...]) -> None:
    code, _, error = call("encode", "films", "--size", "8x8", "--out", "clips", *both)
    assert (code, error.count("\n")) == (2, 1)
    assert "give one of the two: --autoencoder FILE for latents, or --pixels grey" in error
    assert not (films / "clips").exists()


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder with films of a shade each and their captions, and a space of pixels."""
    (tmp_path / "films").mkdir()
    for number in range(8):
        shade = number * 30
        write_video(
            tmp_path / "films" / f"{number}.mkv", 12,
            lambda n, shade=shade: np.full((16, 16, 3), (shade, n * 8, 0), np.uint8),
        )  # fmt: skip
        text = "the red one" if number % 2 else "the one"
        (tmp_path / "films" / f"{number}.txt").write_text(text)
    (tmp_path / "grey_space.py").write_text(SPACE)
    return tmp_path
