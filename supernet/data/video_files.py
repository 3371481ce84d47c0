"""One video file through PyAV: its facts, and any stretch of it as small pictures.

FFmpeg sits below, so what it reads is read here: MP4, WebM, Matroska, AVI, GIF and more. Times are
the file's own, so a variable frame rate needs no care; quarter turns and oblong pixels are undone.
"""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

Pictures = NDArray[np.uint8]  # (frames, height, width, channels)
HEAD_BYTES = 1 << 16
WIDEST = 3  # times as long as the clip's side: a strip of film is cut to this before it is kept
# Names of demuxers. Play lists (hls, concat) are not among them: they open other files and pages.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,mpeg,mpegts,mpegvideo,h264,hevc,asf,flv,"
    "ogg,yuv4mpegpipe,ivf,mjpeg"
)


class BrokenVideoError(Exception):
    """Why a file, or a stretch of it, cannot be used; a few words without the path."""


@dataclass(frozen=True)
class Video:
    """What is known of a readable file before any of it is used."""

    path: Path
    digest: str  # of its size and first bytes: copies share it, whatever they are called
    start_s: tuple[float, ...]  # when each frame is shown, in order
    stop_s: float  # when the last one ends
    timed: bool  # False: the file holds no times, and frames can only be counted
    pixel_ratio: float  # width to height of one pixel

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.start_s)

    def frames_at(self, fps: float | None, first: int = 0, stop: int | None = None) -> int:
        """How many are shown between two frames, at the ticks of a clock or as filmed."""
        stop = self.frames if stop is None else stop
        if fps is None or first >= stop:
            return stop - first
        seconds = self.end_s(stop) - self.start_s[first]
        return max(0, math.ceil(seconds * fps - 1e-3))

    def end_s(self, frame: int) -> float:
        """When the frames before `frame` end."""
        return self.start_s[frame] if frame < len(self.start_s) else self.stop_s


@dataclass(frozen=True)
class Pixels:
    """What a clip's frames look like: height, width, and 1 channel (grey) or 3 (RGB)."""

    height: int
    width: int
    channels: int


def open_video(path: Path) -> Video:
    """The facts of a file: every packet is read, the first frame alone is decoded.

    Raises:
        BrokenVideoError: no video, or nothing of it can be decoded.
    """
    found = path.stat()
    opened = _facts((path, found.st_size, found.st_mtime_ns))
    if isinstance(opened, str):
        raise BrokenVideoError(opened)
    return opened


@lru_cache(maxsize=100_000)  # the three splits of a folder ask for the same files
def _facts(file: tuple[Path, int, int]) -> Video | str:
    """The facts of a file as it was at a time, or why it has none."""
    import av

    path, size, _ = file
    if not size:
        return "is empty"
    try:
        with path.open("rb") as bytes_:
            digest = hashlib.sha256(str(size).encode() + bytes_.read(HEAD_BYTES)).hexdigest()
        with _opened(path) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or stream.guessed_rate or 25)
            ratio = float(stream.sample_aspect_ratio or 1)
            base = float(stream.time_base or 0)
            stamps = [(p.pts, p.duration) for p in container.demux(stream) if p.size]
        with _opened(path) as container:
            first = next(container.decode(video=0), None)
    except (av.FFmpegError, OSError, ValueError) as error:
        return f"cannot be read as video: {_reason(error)}"
    if first is None:
        return "holds no frame that can be decoded"
    times = sorted((pts, duration or 0) for pts, duration in stamps if pts is not None)
    if len(times) < len(stamps) or first.time is None or not base:
        counted = tuple(number / rate for number in range(len(stamps)))
        return Video(path, digest, counted, len(stamps) / rate, False, ratio)
    last = times[-1][0] * base + (times[-1][1] * base or 1 / rate)
    return Video(path, digest, tuple(pts * base for pts, _ in times), last, True, ratio)


def read_frames(video: Video, first: int, stop: int, fps: float | None, pixels: Pixels) -> Pictures:
    """Frames `first` to `stop` just covering the wanted size, (frames, height, width, channels).

    With `fps`, what is shown at each tick of that clock instead of every frame.

    Raises:
        BrokenVideoError: something in that stretch cannot be decoded.
    """
    return np.stack(list(stream_frames(video, first, stop, fps, pixels)))


def stream_frames(
    video: Video, first: int, stop: int, fps: float | None, pixels: Pixels
) -> Iterator[Pictures]:
    """As `read_frames`, each frame (height, width, channels) as soon as it is decoded."""
    import av

    start_s, stop_s = video.start_s[first], video.end_s(stop)
    try:
        with _opened(video.path) as container:
            timed = _between(_decoded(container, video, start_s), start_s, stop_s)
            shown = _at_ticks(timed, start_s, stop_s, fps) if fps else (f for _, f in timed)
            size: tuple[int, ...] | None = None
            for frame in shown:
                picture = _picture(frame, video.pixel_ratio, pixels)
                if size not in {None, picture.shape}:
                    raise BrokenVideoError("changes its size")
                size = picture.shape
                yield picture
    except (av.FFmpegError, OSError, ValueError) as error:
        raise BrokenVideoError(f"cannot be decoded: {_reason(error)}") from error
    if size is None:
        raise BrokenVideoError("holds no frame that can be decoded")


@contextmanager
def _opened(path: Path) -> Iterator["InputContainer"]:
    import av

    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    with av.open(f"file:{path}", options=options) as container:
        if not container.streams.video:
            raise ValueError("no video stream")
        # Decoding on several threads mends damage differently from run to run.
        container.streams.video[0].thread_type = "NONE"
        yield container


def _decoded(
    container: "InputContainer", video: Video, from_s: float
) -> Iterator[tuple[float, "VideoFrame"]]:
    """Frames with their times from a key frame at or before `from_s` on."""
    stream = container.streams.video[0]
    if video.timed and from_s > video.start_s[0] and stream.time_base is not None:
        found = _after_seek(container, round(from_s / float(stream.time_base)))
        if found is not None and found[0][0] <= from_s + _SLACK_S:
            yield found[0]
            yield from found[1]
            return
        container.seek(0)  # GIFs and damaged indexes: from the start
    for number, frame in enumerate(container.decode(stream)):
        if video.timed and frame.time is not None:
            yield frame.time, frame
        elif number < len(video.start_s):
            yield video.start_s[number], frame


_SLACK_S = 1e-4  # times are fractions of a time base; sums of them are rounded


def _after_seek(
    container: "InputContainer", pts: int
) -> tuple[tuple[float, "VideoFrame"], Iterator[tuple[float, "VideoFrame"]]] | None:
    import av

    stream = container.streams.video[0]
    try:
        container.seek(pts, stream=stream)
        frames = ((f.time, f) for f in container.decode(stream) if f.time is not None)
        return next(frames), frames
    except (av.FFmpegError, StopIteration):
        return None


def _between(
    frames: Iterator[tuple[float, "VideoFrame"]], start_s: float, stop_s: float
) -> Iterator[tuple[float, "VideoFrame"]]:
    """Those shown from `start_s` on and before `stop_s`."""
    for time_s, frame in frames:
        if time_s >= stop_s - _SLACK_S:
            return
        if time_s >= start_s - _SLACK_S:
            if frame.is_corrupt:
                raise ValueError("damaged frames")
            yield time_s, frame


def _at_ticks(
    frames: Iterator[tuple[float, "VideoFrame"]], start_s: float, stop_s: float, fps: float
) -> Iterator["VideoFrame"]:
    """What is shown at `start_s`, 1 / fps later, and so on before `stop_s`."""
    held: VideoFrame | None = None
    tick = 0
    for time_s, frame in frames:
        while held is not None and start_s + tick / fps < time_s - _SLACK_S:
            yield held
            tick += 1
        held = frame
    while held is not None and start_s + tick / fps < stop_s - _SLACK_S:
        yield held
        tick += 1


def _picture(frame: "VideoFrame", pixel_ratio: float, pixels: Pixels) -> Pictures:
    """Upright, the smallest that covers the wanted size: (height, width, channels)."""
    turns = round(frame.rotation / 90) % 4  # counter-clockwise
    shown_width = frame.width * pixel_ratio
    wanted = (pixels.height, pixels.width) if turns % 2 == 0 else (pixels.width, pixels.height)
    scale = max(wanted[0] / frame.height, wanted[1] / shown_width)
    height = max(wanted[0], round(frame.height * scale))
    width = max(wanted[1], round(shown_width * scale))
    colours = "gray" if pixels.channels == 1 else "rgb24"
    small: Pictures = np.asarray(
        frame.reformat(width, height, colours, interpolation="AREA").to_ndarray(), np.uint8
    )
    picture = np.rot90(small.reshape(height, width, pixels.channels), turns)
    return _trimmed(picture, WIDEST * pixels.height, WIDEST * pixels.width)


def _trimmed(picture: Pictures, height: int, width: int) -> Pictures:
    """The middle, at most so large."""
    top = max(0, picture.shape[0] - height) // 2
    left = max(0, picture.shape[1] - width) // 2
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def _reason(error: Exception) -> str:
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(words).splitlines()[0]
