"""Films kept as small pictures, for networks of pixels: what `nas encode --pixels` does."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from films import plain, write_video

from search_spaces import InputError, UNetShape
from supernet.autoencoders.autoencoder import ImageAutoencoder
from supernet.autoencoders.pixel_space import CHANNELS, Colours, PixelSpace
from supernet.checkpoint import write
from supernet.data.captions import CaptionWarning
from supernet.data.clips import autoencoder_of, pictures
from supernet.data.encoding import Encoding
from supernet.data.latents import LatentFolder
from supernet.data.loading import load_clips
from supernet.data.provenance import made_with
from supernet.data.video_folder import VideoFolder


def shape_of(colours: Colours) -> UNetShape:
    return UNetShape(CHANNELS[colours], (8,), 4, 16, 16, 2, 10)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    (tmp_path / "films").mkdir()
    write_video(tmp_path / "films" / "a.mp4", 40, plain)  # 48 x 64
    return tmp_path / "films"


@pytest.mark.parametrize("colours", CHANNELS)
def test_pixels_are_those_of_the_videos(films: Path, colours: Colours) -> None:
    """Of validation and test, which see the middle as it is kept, frame for frame."""
    out, shape = films.with_name("clips"), shape_of(colours)
    Encoding(films, PixelSpace(colours), 16, 16).run(out)
    kept, seen = (load_clips(str(each), shape, "validation") for each in (out, films))
    assert isinstance(kept, LatentFolder)
    assert isinstance(seen, VideoFolder)
    x_BCTHW = kept.clips(40, 0).x_BCTHW
    frames, wanted = (x.transpose(1, 2).flatten(2).flatten(0, 1)
                      for x in (x_BCTHW, seen.clips(40, 0).x_BCTHW))  # fmt: skip
    assert torch.cdist(frames, wanted).amin(1).max() < 0.02, "a float16 beside a float32"
    assert torch.equal(pictures(kept, x_BCTHW), x_BCTHW)
    assert autoencoder_of(kept) is None
    assert made_with(kept, shape) == made_with(seen, shape)
    assert sorted(path.suffix for path in out.iterdir()) == [".json", ".safetensors"]


def test_what_is_there_is_known_again(films: Path) -> None:
    out = films.with_name("clips")
    index = Encoding(films, PixelSpace("grey"), 16, 16).run(out)
    assert Encoding(films, PixelSpace("grey"), 16, 16).run(out) == index
    coder = films.with_name("ae.safetensors")
    write(coder, ImageAutoencoder().state_dict(), {"holds": "autoencoder"})
    said = {
        PixelSpace("rgb"): "with pixels grey, not rgb;",
        coder: "with another autoencoder;",
    }
    for other, words in said.items():
        with pytest.raises(InputError, match=f"was made {words} choose another"):
            Encoding(films, other, 16, 16).run(out)
    assert json.loads((out / "latents.json").read_text()) == index


def test_a_network_of_other_colours_is_refused(films: Path) -> None:
    out = films.with_name("clips")
    Encoding(films, PixelSpace("grey"), 16, 16).run(out)
    said = r"pixels of 1 x 16 x 16 .* takes 3 x 16 x 16; encode again with `pixels=rgb`, or take"
    with pytest.raises(InputError, match=said):
        load_clips(str(out), shape_of("rgb"), "train")
    with pytest.raises(InputError, match="encode again with an autoencoder of 4 channels, or take"):
        load_clips(str(out), UNetShape(4, (8,), 4, 16, 16, 2, 10), "train")
    with pytest.raises(InputError, match="pixels are grey or rgb; found 'blue'"):
        PixelSpace("blue")  # type: ignore[arg-type]


def test_captions_of_videos_themselves_are_hinted_at(films: Path) -> None:
    (films / "a.txt").write_text("a thing that moves")
    says = r"films: has captions, .* with `pixels=rgb` and `text_encoder=` .* 2 tokens of 10\)"
    with pytest.warns(CaptionWarning, match=says):
        load_clips(str(films), shape_of("rgb"), "train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_clips(str(films), shape_of("rgb"), "test")
