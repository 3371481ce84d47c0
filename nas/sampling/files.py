"""Clips as one file: a grid of them, as MP4 or GIF."""

import io
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from av.error import FFmpegError
from PIL import Image
from torch import Tensor

from nas.bundle import Bundle
from nas.sampling.grid import gif_bytes, grid_frames
from search_spaces import InputError
from search_spaces.files.document import write_atomically
from temporal_bundle.made_with import FPS

LEAST_PX = 256  # of a clip's height in the file: small ones are enlarged
SHORTEST_MS = 20  # of a frame: what shows a GIF shows no faster
MP4, GIF = ".mp4", ".gif"
CODEC, OPTIONS = "libx264", {"crf": "18"}
USUAL_FPS = 8
OTHER_CODEC = "mpeg4"  # where FFmpeg was built without the usual one


def frames_per_s(bundle: Bundle) -> float:
    """Of the clips that a network learned from, where that is known."""
    return float(bundle.made_with.get(FPS, USUAL_FPS))


def check_suffix(path: Path) -> None:
    """Check that a file can be written; InputError where its name ends otherwise."""
    if path.suffix.lower() not in {MP4, GIF}:
        raise InputError(f"`out={path}`: give a name that ends in {MP4} or {GIF}")


def try_out(path: Path, sides: tuple[int, int], words: list[str], fps: float) -> None:
    """Encode a grey frame of so many clips of these sides, before minutes are spent on making them.

    Raises:
        InputError: as `write_clips`.
    """
    check_suffix(path)
    _encoded(path, _frames(torch.zeros(len(words), 1, 1, *sides), words), fps)


def write_clips(path: Path, x_BCTHW: Tensor, words: list[str], fps: float) -> tuple[int, int]:
    """Write clips side by side, several with what was asked for below; the file's width and height.

    Raises:
        InputError: a name of another kind of file, or pictures that no MP4 holds.
    """
    check_suffix(path)
    frames = _frames(x_BCTHW, words)
    write_atomically(path, _encoded(path, frames, fps))
    return frames[0].size


def _frames(x_BCTHW: Tensor, words: list[str]) -> list[Image.Image]:
    """About as many clips below each other as beside each other."""
    several = len(x_BCTHW) > 1
    columns = math.ceil(math.sqrt(len(x_BCTHW)))
    tallest = max(LEAST_PX, x_BCTHW.shape[3])
    return grid_frames(x_BCTHW, words if several else [""], columns, tallest)


def _encoded(path: Path, frames: list[Image.Image], fps: float) -> bytes:
    if path.suffix.lower() == GIF:
        frame_ms = max(SHORTEST_MS, round(1000 / fps))
        return gif_bytes(frames, frame_ms, frame_ms)
    try:
        return _mp4_bytes(frames, fps)
    except FFmpegError as error:
        width, height = frames[0].size
        raise InputError(
            f"{path}: FFmpeg makes no video of {width} x {height} pixels ({error}); give fewer "
            "prompts, or a name that ends in .gif"
        ) from None


def _mp4_bytes(frames: list[Image.Image], fps: float) -> bytes:
    """H.264 in 4:2:0, which plays everywhere; sides are cut to even numbers of pixels."""
    import av

    width, height = (side // 2 * 2 for side in frames[0].size)
    buffer = io.BytesIO()
    codec = CODEC if CODEC in av.codecs_available else OTHER_CODEC
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(
            codec, rate=Fraction(fps).limit_denominator(1000), options=OPTIONS
        )
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for each in frames:
            pixels = np.asarray(each.convert("RGB"))[:height, :width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
