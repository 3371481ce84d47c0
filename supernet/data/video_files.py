"""Probe a video file through PyAV (FFmpeg): which frames a player shows, and when.

What FFmpeg reads is read here: MP4, WebM, Matroska, AVI, GIF and more. Packets are no frames: an
edit list hides some that others are decoded from, what stands before the first key frame cannot be
decoded, and AVI and raw streams do not say when a frame is shown. Where packets tell, they are
only listed, which is quick; else the whole film is decoded once to know.
"""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.files import git_lfs

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

HEAD_BYTES = 1 << 16
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
    timed: bool  # False: packets do not tell a frame's time; frames are counted from the first
    key_stamps: frozenset[int]  # of frames from which decoding may begin, in units of the file
    pixel_ratio: float  # width to height of one pixel

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.start_s)

    @property
    def frames_per_s(self) -> float:
        """As filmed; 0 where the file tells no times."""
        seconds = self.stop_s - self.start_s[0]
        return round(self.frames / seconds, 6) if seconds > 0 else 0.0

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
class _Stamp:
    """When a packet or a frame is shown, in units of the file."""

    at: int | None
    lasts: int
    key: bool


def open_video(path: Path) -> Video:
    """The facts of a file, of which as much is decoded as is needed to know them.

    Raises:
        BrokenVideoError: no video, or nothing of it can be decoded.
    """
    found = path.stat()
    opened = _facts((path, found.st_size, found.st_mtime_ns))
    if isinstance(opened, str):
        raise BrokenVideoError(opened)
    return opened


def video_digest(path: Path) -> str:
    """The hash of a file's size and first bytes, which copies share; OSError for no file."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return hashlib.sha256(str(path.stat().st_size).encode() + head).hexdigest()


@lru_cache(maxsize=100_000)  # the three splits of a folder ask for the same files
def _facts(file: tuple[Path, int, int]) -> Video | str:
    """The facts of a file as it was at a time, or why it has none."""
    import av

    path, size, _ = file
    if not size:
        return "is empty"
    try:
        if git_lfs.is_pointer(path):
            return git_lfs.WORDS
        digest = video_digest(path)
        with opened(path) as (container, stream):
            packets = [
                _Stamp(packet.pts, packet.duration or 0, packet.is_keyframe)
                for packet in container.demux(stream)
                if packet.size and not packet.is_discard
            ]
            rate = float(stream.average_rate or stream.guessed_rate or 25)
            ratio = float(stream.sample_aspect_ratio or 1)
            base = float(stream.time_base or 0)
        stamps = _shown_packets(path, packets)
        timed = stamps is not None
        if stamps is None:
            stamps = _shown_frames(path, packets)
    except (av.FFmpegError, OSError, ValueError) as error:
        return f"cannot be read as video: {reason(error)}"
    if not stamps:
        return "holds no frame that can be decoded"
    times = [stamp.at for stamp in stamps if stamp.at is not None]
    if not base or times != sorted(set(times)) or len(times) < len(stamps):
        start_s = tuple(number / rate for number in range(len(stamps)))
        return Video(path, digest, start_s, len(stamps) / rate, False, frozenset(), ratio)
    stop_s = times[-1] * base + (stamps[-1].lasts * base or 1 / rate)
    keys = frozenset(stamp.at for stamp in stamps if stamp.at is not None and stamp.key)
    return Video(path, digest, tuple(at * base for at in times), stop_s, timed, keys, ratio)


def _shown_packets(path: Path, packets: list[_Stamp]) -> list[_Stamp] | None:
    """Those that a player shows, in order; None where packets do not tell."""
    with opened(path) as (container, stream):
        first = next(decoded(container, stream), None)
        reorders = stream.codec_context.has_b_frames
    if first is None:
        return []
    times = [packet.at for packet in packets]
    known = [at for at in times if at is not None]
    if first.pts not in known or len(set(known)) < len(times):
        return None
    if reorders and known == sorted(known):
        return None  # AVI: these are times of decoding
    shown = [p for p in packets if p.at is not None and p.at >= first.pts]
    return sorted(shown, key=lambda packet: packet.at or 0)


def _shown_frames(path: Path, packets: list[_Stamp]) -> list[_Stamp]:
    """All frames of a film, decoded; what is damaged is passed over, as by a player."""
    with opened(path) as (container, stream):
        frames = [
            _Stamp(frame.pts, frame.duration or 0, frame.key_frame)
            for frame in decoded(container, stream, strict=False)
        ]
    times = sorted(packet.at for packet in packets if packet.at is not None)
    if len(times) < len(packets) or len(times) != len(frames):
        return frames
    # AVI: one tick a frame, of which the decoder gives each some other.
    return [_Stamp(at, frame.lasts, frame.key) for at, frame in zip(times, frames, strict=True)]


@contextmanager
def opened(path: Path) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """A file and the stream in it that is the film, ready to decode.

    Raises:
        ValueError: it holds no film.
    """
    import av

    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    with av.open(f"file:{path}", options=options) as container:
        stream = _film(container)
        # Decoding on several threads mends damage differently from run to run.
        stream.thread_type = "NONE"
        yield container, stream


def _film(container: "InputContainer") -> "VideoStream":
    """The stream that a player chooses, which is no cover picture."""
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    films = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not films:
        only = "a picture, and no film" if container.streams.video else "no video stream"
        raise ValueError(only)
    readable = [stream for stream in films if stream.codec_context is not None]
    if not readable:
        raise ValueError("FFmpeg has no decoder for it; convert it to H.264")
    best = container.streams.best("video")
    chosen = [stream for stream in readable if best is not None and stream.index == best.index]
    return (chosen or sorted(readable, key=lambda s: -s.width * s.height))[0]


def decoded(
    container: "InputContainer", stream: "VideoStream", *, strict: bool = True
) -> Iterator["VideoFrame"]:
    """Frames as they are shown, from where the file stands.

    What cannot be decoded before the first of them is passed over, as by a player: a recording
    seldom begins with a key frame. After that it raises, if `strict`.
    """
    import av

    begun = False
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            if begun and strict:
                raise
            continue
        for frame in frames:
            if begun or not frame.is_corrupt:
                begun = True
                yield frame


def reason(error: Exception) -> str:
    """An error in a few words."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(words).splitlines()[0]
