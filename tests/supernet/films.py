"""Films that tell which frame each of their frames is, written by PyAV."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

CODECS = {
    ".mp4": ("libx264", "yuv420p"),
    ".mov": ("libx264", "yuv420p"),
    ".mkv": ("libx264", "yuv420p"),
    ".webm": ("libvpx", "yuv420p"),
    ".avi": ("mpeg4", "yuv420p"),
    ".mpg": ("mpeg1video", "yuv420p"),
    ".gif": ("gif", "rgb8"),
    ".ts": ("libx264", "yuv420p"),
    ".h264": ("libx264", "yuv420p"),
    ".flv": ("libx264", "yuv420p"),
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
    matrix: Sequence[int] | None = None,  # of turning and mirroring: right x, y, down x, y
    options: Mapping[str, str] | None = None,
    codec: str | None = None,
    pixel_ratio: Fraction | None = None,
) -> Path:
    usual, pixels = CODECS[path.suffix]
    rgb = paint(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec or usual, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = rgb.shape[0], rgb.shape[1], pixels
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
        stream.options = dict(options or {})
        if pixel_ratio is not None:
            stream.codec_context.sample_aspect_ratio = pixel_ratio
        if matrix is not None:
            right_x, right_y, down_x, down_y = (number << 16 for number in matrix)
            stream.set_display_matrix([right_x, right_y, 0, down_x, down_y, 0, 0, 0, 1 << 30])
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


def write_undecodable(path: Path, frames: int = 4) -> Path:
    """A container that is whole, whose packets are no frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuvj420p"
        for number in range(frames):
            packet = av.Packet(b"\x5a" * 64)
            packet.stream, packet.pts, packet.dts = stream, number * 40, number * 40
            packet.time_base = Fraction(1, 1000)
            container.mux(packet)
    return path
