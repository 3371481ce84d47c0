"""Read any stretch of a video file as small pictures, upright and with square pixels.

Times are the file's own, so a variable frame rate needs no care; turned, mirrored and oblong
pictures are set right.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from supernet.data.video_files import BrokenVideoError, Video, decoded, opened, reason

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter

Pictures = NDArray[np.uint8]  # (frames, height, width, channels)
WIDEST = 3  # times as long as the clip's side: a strip of film is cut to this before it is kept
SEEK_BACK_S = (0.0, 2.0, 10.0)  # before a frame, where decoding cannot begin at its key frame
SLACK_S = 1e-4  # times are fractions of a time base; sums of them are rounded


@dataclass(frozen=True)
class Pixels:
    """What a clip's frames look like: height, width, and 1 channel (grey) or 3 (RGB)."""

    height: int
    width: int
    channels: int


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
    from av.video.reformatter import VideoReformatter

    start_s, stop_s = video.start_s[first], video.end_s(stop)
    size: tuple[int, ...] | None = None
    # One for all: one of each frame would begin anew, with a thread a core, which takes longer.
    reformatter = VideoReformatter()
    try:
        timed = _between(_timed(video, start_s), start_s, stop_s)
        shown = _at_ticks(timed, start_s, stop_s, fps) if fps else (frame for _, frame in timed)
        for frame in shown:
            picture = _picture(frame, reformatter, video.pixel_ratio, pixels)
            if size not in {None, picture.shape}:
                raise BrokenVideoError("changes its size")
            size = picture.shape
            yield picture
    except (av.FFmpegError, OSError, ValueError) as error:
        raise BrokenVideoError(f"cannot be decoded: {reason(error)}") from error
    if size is None:
        raise BrokenVideoError("holds no frame that can be decoded")


def _timed(video: Video, from_s: float) -> Iterator[tuple[float, "VideoFrame"]]:
    """Frames with their times, from a key frame at or before `from_s` or from the first on."""
    if video.timed and from_s > video.start_s[0]:
        with opened(video.path) as (container, stream):
            for back_s in SEEK_BACK_S:
                found = _after_seek(container, stream, video, from_s - back_s)
                if found is not None and found[0][0] <= from_s + SLACK_S:
                    yield from chain([found[0]], found[1])
                    return
    with opened(video.path) as (container, stream):
        for number, frame in enumerate(decoded(container, stream)):
            if video.timed and frame.time is not None:
                yield frame.time, frame
            elif number < video.frames:
                yield video.start_s[number], frame


def _after_seek(
    container: "InputContainer", stream: "VideoStream", video: Video, time_s: float
) -> tuple[tuple[float, "VideoFrame"], Iterator[tuple[float, "VideoFrame"]]] | None:
    """What is decoded from a key frame about there on; None where none is found.

    The first frame must be a key frame at its known time. Else it was decoded without those that
    it needs (frames that are shown before an open group's key frame), or times begin anew at the
    place (MPEG program streams).
    """
    import av

    try:
        container.seek(round(time_s / float(stream.time_base or 1)), stream=stream)
        frames = decoded(container, stream)
        first = next(frames)
    except (av.FFmpegError, StopIteration):
        return None
    if not first.key_frame or first.pts not in video.key_stamps or first.time is None:
        return None
    return (first.time, first), ((f.time, f) for f in frames if f.time is not None)


def _between(
    frames: Iterator[tuple[float, "VideoFrame"]], start_s: float, stop_s: float
) -> Iterator[tuple[float, "VideoFrame"]]:
    """Those shown from `start_s` on and before `stop_s`."""
    for time_s, frame in frames:
        if time_s >= stop_s - SLACK_S:
            return
        if time_s >= start_s - SLACK_S:
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
        while held is not None and start_s + tick / fps < time_s - SLACK_S:
            yield held
            tick += 1
        held = frame
    while held is not None and start_s + tick / fps < stop_s - SLACK_S:
        yield held
        tick += 1


def _picture(
    frame: "VideoFrame", reformatter: "VideoReformatter", pixel_ratio: float, pixels: Pixels
) -> Pictures:
    """Upright, the smallest that covers the wanted size: (height, width, channels)."""
    turns, mirrored = _turned(frame)
    shown_width = frame.width * pixel_ratio
    wanted = (pixels.height, pixels.width) if turns % 2 == 0 else (pixels.width, pixels.height)
    scale = max(wanted[0] / frame.height, wanted[1] / shown_width)
    height = max(wanted[0], round(frame.height * scale))
    width = max(wanted[1], round(shown_width * scale))
    colours = "gray" if pixels.channels == 1 else "rgb24"
    shrunk = reformatter.reformat(frame, width, height, colours, interpolation="AREA", threads=1)
    small: Pictures = np.asarray(shrunk.to_ndarray(), np.uint8)
    small = small.reshape(height, width, pixels.channels)
    picture = np.rot90(small[:, ::-1] if mirrored else small, turns)
    return _trimmed(picture, WIDEST * pixels.height, WIDEST * pixels.width)


def _turned(frame: "VideoFrame") -> tuple[int, bool]:
    """Quarter turns, counter-clockwise, that a player makes; and whether it mirrors before that."""
    held: Any = frame.side_data.get("DISPLAYMATRIX")
    if held is None:
        return 0, False
    right, down, _, right_of_down, down_of_down, *_ = np.frombuffer(bytes(held), np.int32).tolist()
    mirrored = right * down_of_down < down * right_of_down
    sign = -1 if mirrored else 1
    return round(-math.degrees(math.atan2(sign * down, sign * right)) / 90) % 4, mirrored


def _trimmed(picture: Pictures, height: int, width: int) -> Pictures:
    """The middle, at most so large."""
    top = max(0, picture.shape[0] - height) // 2
    left = max(0, picture.shape[1] - width) // 2
    return np.ascontiguousarray(picture[top : top + height, left : left + width])
