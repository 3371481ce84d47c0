"""What a player shows is what is counted, split and read, whatever a file's packets say.

What a player shows of each kind was looked up with ffmpeg 5.1.
"""

import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import mp4_boxes
import numpy as np
import pytest
import torch
from av.stream import Disposition
from films import numbers, plain, write_video

from search_spaces import InputError, UNetShape
from supernet import checkpoint
from supernet.autoencoders.autoencoder import ImageAutoencoder
from supernet.data.encoding import Encoding
from supernet.data.latents import LatentFolder
from supernet.data.video_files import BrokenVideoError, open_video
from supernet.data.video_folder import SkippedVideoWarning, VideoFolder
from supernet.data.video_frames import Pixels, read_frames

GREY = UNetShape(1, (8,), 4, 16, 24, 2, 10)
PIXELS = Pixels(16, 24, 1)
GROUPS = {"g": "25", "bf": "2", "sc_threshold": "0"}  # key frames a second apart, reordered frames
OPEN = {"x264-params": "keyint=25:min-keyint=25:open-gop=1:bframes=3:scenecut=0:repeat-headers=1"}


@pytest.fixture(autouse=True)
def _warnings_fail() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkippedVideoWarning)
        yield


def read(path: Path, first: int, stop: int) -> list[int]:
    pictures = read_frames(open_video(path), first, stop, None, PIXELS)
    return numbers(torch.from_numpy(pictures).permute(3, 0, 1, 2)[None] / 127.5 - 1)[0].tolist()


def shown(path: Path) -> list[int]:
    """The numbers of all frames, which is what any stretch of them gives."""
    count = open_video(path).frames
    whole = read(path, 0, count)
    parts = [read(path, first, min(count, first + 7)) for first in range(0, count, 7)]
    assert [number for part in parts for number in part] == whole
    return whole


def span(first: int, stop: int) -> list[int]:
    return list(range(first, stop))


def remuxed(
    source: Path, path: Path, keep: Callable[[int, "av.Packet"], bool], shift: int = 0
) -> Path:
    """A film's packets in another file, as they are: cut without decoding."""
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        film = given.streams.video[0]
        stream = made.add_stream_from_template(film)
        for number, packet in enumerate(given.demux(film)):
            if packet.dts is not None and keep(number, packet):
                packet.pts = None if packet.pts is None else packet.pts - shift
                packet.dts -= shift
                packet.stream = stream
                made.mux(packet)
    return path


@pytest.mark.parametrize(
    ("edits", "wanted"),
    [
        ([(60, 40)], span(60, 100)),  # a start between key frames: `ffmpeg -ss 2.4 -c copy`
        ([(0, 33)], span(0, 33)),  # an end
        ([(10, 20), (70, 15)], [*span(10, 30), *span(70, 85)]),  # a piece taken out
        ([(30, 20), (30, 20)], [*span(30, 50), *span(30, 50)]),  # twice
        ([(80, 15), (5, 15)], [*span(80, 95), *span(5, 20)]),  # in another order
        ([(-1, 50), (20, 30)], span(20, 50)),  # two seconds of nothing first
    ],
)
def test_edit_lists(tmp_path: Path, edits: list[tuple[float, float]], wanted: list[int]) -> None:
    path = write_video(tmp_path / "a.mp4", 100, options=GROUPS)
    mp4_boxes.edit(path, edits)
    assert shown(path) == wanted
    video = open_video(path)
    assert video.frames_at(5) == pytest.approx(len(wanted) / 5, abs=1)
    split = [VideoFolder(tmp_path, GREY, name).clips(40, 0) for name in ("train", "validation")]
    seen = [set(numbers(clips.x_BCTHW).flatten().tolist()) for clips in split]
    assert seen[0] <= set(wanted[: round(0.7 * len(wanted))])
    assert seen[1] <= set(wanted[round(0.7 * len(wanted)) : round(0.85 * len(wanted))])


def test_latents_of_a_cut_film_are_of_what_is_shown(tmp_path: Path) -> None:
    """No hidden frame is encoded, and the first that is shown does not stand for those."""
    path = tmp_path / "films" / "a.mp4"
    path.parent.mkdir()
    write_video(path, 100, options=GROUPS)
    mp4_boxes.edit(path, [(60, 40)])
    torch.manual_seed(0)
    weights = ImageAutoencoder().state_dict()
    checkpoint.write(tmp_path / "ae.safetensors", weights, {"holds": "autoencoder"})
    for fps, frames in ((None, 40), (5.0, 8)):
        out = tmp_path / f"latents {fps}"
        index = Encoding(path.parent, tmp_path / "ae.safetensors", 2, 4, fps).run(out)
        assert [film["frames"] for film in index["files"]] == [frames]
        shape = UNetShape(4, (8,), 4, 2, 4, 1, 4)
        (film,) = LatentFolder(out, shape, "train").films
        latents = film.slice(0, frames)
        assert len({tuple(latent.flatten().tolist()) for latent in latents}) == frames


@pytest.mark.parametrize("suffix", [".avi", ".mpg", ".ts", ".mkv", ".h264", ".flv", ".mov"])
def test_reordered_frames_in_any_container(tmp_path: Path, suffix: str) -> None:
    """AVI and raw streams tell when a frame is decoded, not when it is shown."""
    codec = {".avi": "libx264"}.get(suffix)
    write_video(tmp_path / f"a{suffix}", 90, options=GROUPS, codec=codec)
    assert shown(tmp_path / f"a{suffix}") == span(0, 90)


def test_pauses_of_an_avi(tmp_path: Path) -> None:
    """It holds an empty chunk for each tick at which nothing new is shown."""
    times = [4 * n if n < 20 else 40 + 4 * n for n in range(40)]
    write_video(tmp_path / "a.avi", 40, times=times)
    assert shown(tmp_path / "a.avi") == span(0, 40)
    assert open_video(tmp_path / "a.avi").stop_s == pytest.approx(2, abs=0.1)


def test_recordings_that_begin_between_key_frames(tmp_path: Path) -> None:
    """A broadcast is joined anywhere; what cannot be decoded is not counted."""
    whole = write_video(tmp_path / "whole.ts", 100, options=OPEN)
    data = whole.read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(data[:376] + data[188 * 30 :])  # the tables, then from some packet on
    found = shown(path)
    assert found[-1] == 99
    assert found == span(found[0], 100)
    assert found[0] in {25, 50}, "a key frame"


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_cuts_at_a_key_frame_of_an_open_group(tmp_path: Path, suffix: str) -> None:
    """The frames that are decoded after it and shown before it need what was cut off."""
    whole = write_video(tmp_path / "whole.ts", 100, options=OPEN)
    with av.open(str(whole)) as container:
        packets = list(container.demux(video=0))
    begin = next(n for n, packet in enumerate(packets) if n and packet.is_keyframe)
    path = remuxed(whole, tmp_path / f"cut{suffix}", lambda number, _: number >= begin)
    assert shown(path) == span(25, 100)


def test_fragmented_and_late_films(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", 60, options=GROUPS)
    late = remuxed(whole, tmp_path / "late.mkv", lambda *_: True, shift=-100_000)
    assert open_video(late).start_s[0] > 5
    assert shown(late) == span(0, 60)
    path = tmp_path / "parts.mp4"
    options = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(str(whole)) as given, av.open(str(path), "w", options=options) as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    assert shown(path) == span(0, 60)


def test_a_wrong_number_in_the_header_counts_nothing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", 30)
    data = bytearray(path.read_bytes())
    header = data.index(b"avih") + 8 + 16  # its number of frames
    data[header : header + 4] = (999).to_bytes(4, "little")
    path.write_bytes(data)
    assert shown(path) == span(0, 30)


def test_a_download_that_broke_off(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", 100, options=GROUPS).read_bytes()
    path = tmp_path / "a.mkv"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    found = shown(path)
    assert 40 < len(found) < 100
    assert found[:-3] == span(0, len(found) - 3), "the last may need others that are missing"
    path = write_video(tmp_path / "a.mp4", 100)  # its index stands at the end
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BrokenVideoError, match="cannot be read as video"):
        open_video(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_cover_picture_is_no_film(tmp_path: Path, suffix: str) -> None:
    path, codec = tmp_path / f"a{suffix}", {".mp4": "png", ".mkv": "mjpeg"}[suffix]
    with av.open(str(path), "w") as container:
        cover = container.add_stream(codec, rate=25)
        film = container.add_stream("libx264", rate=25)
        assert isinstance(cover, av.VideoStream)
        assert isinstance(film, av.VideoStream)
        cover.height, cover.width = 480, 640  # larger than the film
        cover.pix_fmt = {"png": "rgb24", "mjpeg": "yuvj420p"}[codec]
        film.height, film.width, film.pix_fmt = 48, 64, "yuv420p"
        cover.disposition = Disposition.attached_pic
        white = np.full((480, 640, 3), 255, np.uint8)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(white, format="rgb24")))
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(plain(number), format="rgb24")
            container.mux(film.encode(frame))
        container.mux(film.encode(None))
    if suffix == ".mp4":
        boxes = mp4_boxes.read_boxes(path.read_bytes())
        moov = mp4_boxes.child(boxes, b"moov")
        moov.sort(key=lambda box: [b"mvhd", b"udta", b"trak"].index(box[0]))
        path.write_bytes(mp4_boxes.written(boxes))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == codec, "it stands before the film"
    assert shown(path) == span(0, 30)
    video = open_video(path)
    assert (video.frames, round(video.stop_s - video.start_s[0], 2)) == (30, 1.2)


def test_a_song_with_a_cover_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("png", rate=25)
        assert isinstance(cover, av.VideoStream)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "rgb24"
        cover.disposition = Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(plain(1), format="rgb24")))
    with pytest.raises(BrokenVideoError, match="cannot be read as video: a picture, and no film"):
        open_video(path)


def test_a_codec_that_ffmpeg_does_not_know(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 10)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(BrokenVideoError, match="no decoder for it; convert it to H.264"):
        open_video(path)


@pytest.mark.parametrize("ratio", [Fraction(3, 2), Fraction(1, 2)])
def test_oblong_pixels_are_shown_as_long_as_they_are(tmp_path: Path, ratio: Fraction) -> None:
    path = write_video(tmp_path / "a.mp4", 4, pixel_ratio=ratio)
    pictures = read_frames(open_video(path), 0, 1, None, Pixels(24, 16, 1))
    assert pictures.shape[1:3] == (24, 32 * ratio)


def test_films_of_one_frame(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.gif", "a.webm", "a.avi", "a.h264"):
        assert shown(write_video(tmp_path / name, 1)) == [0]


def test_pointers_of_git_lfs_are_named(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n"
    (tmp_path / "a.mp4").write_text(pointer)
    words = r"a\.mp4: is a Git LFS pointer in place of the file itself; fetch it: git lfs pull"
    with pytest.raises(InputError, match=words):
        VideoFolder(tmp_path, GREY, "train")


def test_damage_at_the_beginning_is_passed_over_as_by_a_player(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 100, options=GROUPS)
    with av.open(str(path)) as container:
        first = next(container.demux(video=0))
        assert first.pos is not None
        begin, size = first.pos, first.size
    data = bytearray(path.read_bytes())
    place = data.index(bytes(first), begin)
    data[place + 4 : place + size] = bytes(size - 4)
    path.write_bytes(data)
    found = shown(path)
    assert found[-1] == 99
