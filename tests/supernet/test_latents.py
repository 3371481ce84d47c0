"""Folders of latents: made from real files, opened, split as their videos, damaged."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from films import plain, write_video

from search_spaces import InputError, UNetShape
from search_spaces.files.document import dumps
from supernet import checkpoint
from supernet.autoencoders.autoencoder import ImageAutoencoder, load_autoencoder
from supernet.checkpoint import file_sha256
from supernet.data import encoding
from supernet.data.clips import pictures
from supernet.data.encoding import Encoding, unfinished_path
from supernet.data.latents import LatentFolder
from supernet.data.loading import load_clips
from supernet.data.splits import Split
from supernet.data.video_folder import SkippedVideoWarning, VideoFolder
from temporal_bundle.closeness import check_close

LATENT = UNetShape(4, (8,), 4, 2, 3, 2, 10)
RGB = UNetShape(3, (8,), 4, 16, 24, 2, 10)
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def _warnings_fail() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkippedVideoWarning)
        yield


@pytest.fixture
def autoencoder(tmp_path: Path) -> Path:
    """One that was never trained: its latents differ where frames differ."""
    torch.manual_seed(0)
    path = tmp_path / "ae.safetensors"
    checkpoint.write(path, ImageAutoencoder().state_dict(), {"holds": "autoencoder"})
    return path


def shaded(folder: Path, count: int, frames: int = 30) -> Path:
    """Films whose frames all have a colour of their own."""
    folder.mkdir()
    for number in range(count):
        shade = number * 25
        write_video(
            folder / f"{number}.mkv", frames,
            lambda n, shade=shade: np.full((16, 24, 3), (shade, n * 8, 0), np.uint8),
        )  # fmt: skip
    return folder


@pytest.fixture
def latents(tmp_path: Path, autoencoder: Path) -> Path:
    out = tmp_path / "latents"
    Encoding(shaded(tmp_path / "films", 2), autoencoder, 2, 3).run(out)
    return out


@pytest.mark.parametrize(("films", "frames"), [(2, 30), (9, 8)])
def test_splits_are_those_of_the_videos(
    tmp_path: Path, autoencoder: Path, films: int, frames: int
) -> None:
    videos, out = shaded(tmp_path / "films", films, frames), tmp_path / "latents"
    told: list[int] = []
    Encoding(videos, autoencoder, 2, 3).run(out, lambda *_: nullcontext(told.append))
    assert told[-1] == films * frames
    assert told == sorted(told)
    coder = load_autoencoder(autoencoder)
    for split in SPLITS:
        x_BCTHW = VideoFolder(videos, RGB, split).clips(300, 0).x_BCTHW
        shown = coder.encode(x_BCTHW.transpose(1, 2).flatten(0, 1))
        shown = shown.unflatten(0, (300, 4)).transpose(1, 2).flatten(1)
        found = LatentFolder(out, LATENT, split).clips(300, 0).x_BCTHW.flatten(1)
        apart = torch.cdist(found, shown)
        assert apart.amin(1).max() < 0.02, "every clip is one of the split's"
        assert apart.amin(0).max() < 0.02, "and every one of those may come"


def test_clips_depend_on_the_seed_alone(latents: Path) -> None:
    data = load_clips(str(latents), LATENT, "train")
    assert isinstance(data, LatentFolder)
    clips = data.clips(12, 5)
    assert clips.x_BCTHW.shape == (12, 4, 4, 2, 3)
    assert clips.context_BLC.shape == (12, 2, 10)
    assert not clips.context_BLC.any()
    again = LatentFolder(latents, LATENT, "train")
    assert torch.equal(again.clips(20, 5).x_BCTHW[:12], clips.x_BCTHW), "a longer draw"
    assert not torch.equal(again.clips(12, 6).x_BCTHW, clips.x_BCTHW)


@pytest.mark.kernels
def test_clips_are_shown_as_the_autoencoder_decodes_them(latents: Path, autoencoder: Path) -> None:
    data = LatentFolder(latents, LATENT, "train")
    x_BCTHW = data.clips(2, 0).x_BCTHW
    shown = pictures(data, x_BCTHW)
    assert shown.shape == (2, 3, 4, 16, 24)
    single = load_autoencoder(autoencoder).decode(x_BCTHW[1, :, 2][None])
    check_close(shown[1, :, 2], single[0])
    films = VideoFolder(latents.parent / "films", RGB, "train")
    pixels = films.clips(1, 0).x_BCTHW
    assert pictures(films, pixels) is pixels


@pytest.mark.slow
def test_a_vae_of_diffusers_leaves_its_name(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4), norm_num_groups=2, latent_channels=4,
    )  # fmt: skip
    vae.save_pretrained(tmp_path / "sd-vae")
    out = tmp_path / "latents"
    index = Encoding(shaded(tmp_path / "films", 1), tmp_path / "sd-vae", 2, 3).run(out)
    assert index["autoencoder"]["name"] == "sd-vae"
    assert index["autoencoder"]["file"] is None
    assert str(tmp_path) not in (out / "latents.json").read_text()
    data = LatentFolder(out, LATENT, "train")
    x_BCTHW = data.clips(1, 0).x_BCTHW
    assert pictures(data, x_BCTHW) is x_BCTHW


def test_a_clock_of_ones_own(tmp_path: Path, autoencoder: Path) -> None:
    (tmp_path / "films").mkdir()
    write_video(tmp_path / "films" / "a.mp4", 40)  # 25 frames a second
    for fps, frames in ((5.0, 8), (50.0, 80)):
        index = Encoding(tmp_path / "films", autoencoder, 6, 8, fps).run(tmp_path / f"{fps}")
        assert [(f["frames"], f["fps"]) for f in index["files"]] == [(frames, fps)]


def test_what_was_encoded_is_not_encoded_again(tmp_path: Path, autoencoder: Path) -> None:
    videos, out = shaded(tmp_path / "films", 3), tmp_path / "latents"
    whole = Encoding(videos, autoencoder, 2, 3).run(tmp_path / "whole")

    def stop(done: int) -> None:
        if done > 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Encoding(videos, autoencoder, 2, 3).run(out, lambda *_: nullcontext(stop))
    assert not out.exists()
    unfinished = unfinished_path(out)
    first = {p.name: p.stat().st_mtime_ns for p in unfinished.glob("*.safetensors")}
    assert len(first) == 1
    (tmp_path / "file.unfinished").write_text("of somebody's own")
    with pytest.raises(InputError, match=r"file\.unfinished: is no folder, .*; move it away"):
        Encoding(videos, autoencoder, 2, 3).run(tmp_path / "file")
    with pytest.raises(InputError, match="was begun with height 2, not 3; go on"):
        Encoding(videos, autoencoder, 3, 3).run(out)
    assert Encoding(videos, autoencoder, 2, 3).run(out) == whole
    for name, written_ns in first.items():
        assert (out / name).stat().st_mtime_ns == written_ns
    assert {p.name for p in out.iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}
    assert not unfinished.exists()
    assert Encoding(videos, autoencoder, 2, 3).run(out) == whole, "nothing is left to do"
    with pytest.raises(InputError, match="was made with fps none, not 10; choose"):
        Encoding(videos, autoencoder, 2, 3, fps=10).run(out)


def test_of_many_films_frames_are_not_counted_before(
    tmp_path: Path, autoencoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "COUNTED", 2)
    work, told = Encoding(shaded(tmp_path / "films", 3, 4), autoencoder, 2, 3), list[int]()
    work.run(tmp_path / "latents", lambda *_: nullcontext(told.append))
    assert told == [1, 2, 3]


def test_films_that_came_later_are_not_passed_over(tmp_path: Path, autoencoder: Path) -> None:
    videos, out = shaded(tmp_path / "films", 2, 4), tmp_path / "latents"
    whole = Encoding(videos, autoencoder, 2, 3).run(out)
    (videos / "broken.mkv").write_text("no film")
    assert Encoding(videos, autoencoder, 2, 3).run(out) == whole
    write_video(videos / "new.mkv", 4)
    with pytest.raises(InputError, match=r"has 1 films or .* lacks, the first: new\.mkv; choose"):
        Encoding(videos, autoencoder, 2, 3).run(out)
    for name in ("0.mkv", "new.mkv"):
        (videos / name).unlink()
    with pytest.raises(InputError, match="is of videos or captions that .* no longer has"):
        Encoding(videos, autoencoder, 2, 3).run(out)


def test_broken_videos_are_told_of_and_skipped(tmp_path: Path, autoencoder: Path) -> None:
    videos, out = shaded(tmp_path / "films", 1), tmp_path / "latents"
    (videos / "text.mp4").write_text("not a video\n" * 500)
    noise = np.random.default_rng(0).integers(0, 60, (400, 48, 64, 3), np.uint8)
    path = write_video(videos / "half.mkv", 400, lambda n: noise[n] + np.uint8(n // 2))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(3000) + whole[len(whole) // 2 + 3000 :])
    with pytest.warns(SkippedVideoWarning) as warned:
        index = Encoding(videos, autoencoder, 2, 3).run(out)
    lines = sorted(str(warning.message).removeprefix(f"{videos}/") for warning in warned)
    assert lines[1].startswith("text.mp4: cannot be read as video")
    assert lines[0].startswith("half.mkv: from ")
    frames = {film["source"]: film["frames"] for film in index["files"]}
    assert frames["0.mkv"] == 30
    assert 100 < frames["half.mkv"] < 300, "up to the damage"
    LatentFolder(out, LATENT, "train").clips(20, 0)


def test_what_cannot_be_encoded_leaves_nothing(tmp_path: Path, autoencoder: Path) -> None:
    videos, out = tmp_path / "films", tmp_path / "latents"

    def refused(match: str, *size: int, coder: Path = autoencoder) -> None:
        with pytest.raises(InputError, match=match):
            Encoding(videos, coder, *(size or (2, 3))).run(out)
        assert {p.name for p in tmp_path.iterdir()} <= {"ae.safetensors", "films"}

    refused("no such folder of videos")
    videos.mkdir()
    refused("holds no videos")
    (videos / "a.mp4").write_text("text")
    refused(r"none of its 1 videos can be used; the first: .*a\.mp4: cannot be read as video")
    write_video(videos / "a.mp4", 10)
    refused("must be 1 to 1024 high and wide; found 0 x 3", 0, 3)
    refused("must be 1 to 1024 high and wide; found 2048 x 3", 2048, 3)
    refused("no such file", coder=tmp_path / "none.safetensors")
    refused("no VAE of diffusers", coder=videos)
    broken = {n: t.clone() for n, t in ImageAutoencoder().state_dict().items()}
    broken["encoder.8.weight"].fill_(1e30)
    checkpoint.write(autoencoder, broken, {"holds": "autoencoder"})
    refused("its latents are not finite")


def test_latents_of_another_shape_are_refused_with_both_numbers(latents: Path) -> None:
    def refused(match: str, *shape: int) -> None:
        with pytest.raises(InputError, match=match):
            LatentFolder(latents, UNetShape(shape[0], (8,), *shape[1:], 2, 10), "train")

    refused("latents of 4 x 2 x 3 .* takes 4 x 4 x 4; encode again with `size=4x4`", 4, 4, 4, 4)
    refused("takes 1 x 2 x 3; encode again with `pixels=grey`, or take a space of", 1, 4, 2, 3)
    refused("no film leaves 25 frames to the train split", 4, 25, 2, 3)
    films = latents.parent / "films"
    with pytest.raises(InputError, match=r"U-Net has 4; make latents first: nas encode .*2x3"):
        load_clips(str(films), LATENT, "train")


Damage = Callable[[Path], object]


def edited(**changes: object) -> Damage:
    def edit(folder: Path) -> None:
        index = json.loads((folder / "latents.json").read_text())
        (folder / "latents.json").write_text(dumps({**index, **changes}))

    return edit


def entry(**changes: object) -> Damage:
    def edit(folder: Path) -> None:
        index: dict[str, Any] = json.loads((folder / "latents.json").read_text())
        index["files"][0].update(changes)
        (folder / "latents.json").write_text(dumps(index))

    return edit


def flip(folder: Path) -> None:
    path = next(folder.glob("0.*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def change_the_autoencoder(folder: Path) -> None:
    path = folder / "autoencoder.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + bytes(4))


def cut(folder: Path) -> None:
    path = next(folder.glob("0.*.safetensors"))
    path.write_bytes(path.read_bytes()[:-4])


def text(folder: Path) -> None:
    path = next(folder.glob("0.*.safetensors"))
    path.write_text("text")
    entry(sha256=file_sha256(path))(folder)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (flip, "0.*safetensors: was changed since it was written; encode again"),
        (lambda f: next(f.glob("0.*")).unlink(), "no such file, though latents.json names it"),
        (cut, "0.*safetensors: holds no latents: "),
        (text, "holds no latents"),
        (change_the_autoencoder, "autoencoder.safetensors: was changed"),
        (entry(frames=29), "holds other latents than latents.json says"),
        (entry(file="../films/0.mkv"), "'../films/0.mkv' is no name of a file beside it"),
        (entry(file=None), "'None' is no name of a file"),
        (entry(video_digest=None), "holds other latents"),
        (edited(files=[]), "names no files"),
        (edited(files=["0"]), "is no name of a file"),
        (edited(height="tall"), "height must be a whole number from 1; found 'tall'"),
        (edited(version="2.0"), "version 2.0 is newer"),
        (edited(format="other"), "expected format 'temporal-nas/latents'"),
        (lambda f: (f / "latents.json").write_text("{"), "not valid JSON"),
    ],
)
def test_damage_is_one_line(latents: Path, damage: Damage, match: str) -> None:
    damage(latents)
    with pytest.raises(InputError, match=match) as refused:
        load_clips(str(latents), LATENT, "train").clips(20, 0)
    assert "\n" not in str(refused.value)


def test_a_file_is_hashed_when_it_is_first_drawn_from(latents: Path) -> None:
    """To hash all of a large data set would come before the first step of each process."""
    flip(latents)
    for split in SPLITS:
        data = LatentFolder(latents, LATENT, split)
        with pytest.raises(InputError, match=r"was changed since it was written; encode again"):
            data.clips(20, 0)


def test_frames_are_cut_as_clips_of_videos_are(tmp_path: Path, autoencoder: Path) -> None:
    """The middle of a wider picture, as validation and test see it."""
    (tmp_path / "films").mkdir()
    write_video(tmp_path / "films" / "a.mp4", 40, plain)  # 48 x 64
    Encoding(tmp_path / "films", autoencoder, 2, 2).run(tmp_path / "latents")
    found = LatentFolder(tmp_path / "latents", UNetShape(4, (8,), 4, 2, 2, 2, 10), "validation")
    shape = UNetShape(3, (8,), 4, 16, 16, 2, 10)
    x_BCTHW = VideoFolder(tmp_path / "films", shape, "validation").clips(40, 0).x_BCTHW
    shown = load_autoencoder(autoencoder).encode(x_BCTHW.transpose(1, 2).flatten(0, 1))
    frames = found.clips(40, 0).x_BCTHW.transpose(1, 2).flatten(0, 1)
    assert torch.cdist(frames.flatten(1), shown.flatten(1)).amin(1).max() < 0.02
