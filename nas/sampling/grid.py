"""Clips side by side, each with its caption below, frame by frame."""

import io
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GAP, CAPTION, TEXT = 8, 30, 16
SHADES = 64  # of grey, or colours: enough to see, and half the bytes
PAPER, INK = (255, 255, 255), (34, 34, 34)
UNKNOWN = "?"  # in place of a letter that the font lacks


def grid_frames(
    x_BCTHW: Tensor, words: Sequence[str], columns: int, tallest: int
) -> list[Image.Image]:
    """The frames of a grid of clips.

    Args:
        x_BCTHW: about in [-1, 1]. What is neither grey nor RGB, as latents without a decoder, is
            shown by its first channel.
        words: below each clip; empty for none. Letters that the font lacks are shown as "?".
        columns: of the grid, at most.
        tallest: a clip's height in the grid, in pixels.
    """
    columns = min(columns, len(x_BCTHW))
    return [_grid(x_BCTHW[:, :, t], words, columns, tallest) for t in range(x_BCTHW.shape[2])]


def gif_bytes(frames: Sequence[Image.Image], frame_ms: int, last_ms: int) -> bytes:
    """Frames as a GIF that loops."""
    frames = [each.quantize(SHADES, dither=Image.Dither.NONE) for each in frames]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=[frame_ms] * (len(frames) - 1) + [last_ms],
        loop=0,
    )
    return buffer.getvalue()


def _grid(images_BCHW: Tensor, words: Sequence[str], columns: int, tallest: int) -> Image.Image:
    scale = tallest / images_BCHW.shape[2]
    height, width = (max(1, round(side * scale)) for side in images_BCHW.shape[2:])
    below = CAPTION if any(words) else 0
    rows = -(-len(images_BCHW) // columns)
    size = (columns * (width + GAP) - GAP, rows * (height + below + GAP) - GAP)
    grid = Image.new("RGB", size, PAPER)
    draw, (font, _) = ImageDraw.Draw(grid), _font()
    shown_BCHW = images_BCHW if images_BCHW.shape[1] == 3 else images_BCHW[:, :1]
    colours_BHWC = shown_BCHW.movedim(1, -1).expand(-1, -1, -1, 3)
    pixels = ((colours_BHWC.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    for index, caption in enumerate(words):
        left = index % columns * (width + GAP)
        top = index // columns * (height + below + GAP)
        picture = Image.fromarray(np.ascontiguousarray(pixels[index]))
        grid.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (left, top))
        text = _fitting(_shown(caption), width, font)
        draw.text((left + width / 2, top + height + 3), text, INK, font, anchor="ma")
    return grid


@cache
def _font() -> tuple[ImageFont.FreeTypeFont, frozenset[int]]:
    """DejaVu Sans as matplotlib ships it, Latin, Greek, Cyrillic and more; and what it knows."""
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    file = str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    return ImageFont.truetype(file, TEXT), frozenset(FT2Font(file).get_charmap())


def _shown(text: str) -> str:
    """A text in letters that the font has; an accent that stands by itself joins its letter."""
    known = _font()[1]
    joined = unicodedata.normalize("NFC", text)
    return "".join(each if ord(each) in known else UNKNOWN for each in joined)


def _fitting(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """As much of a text as stands below a picture."""
    if len(text) <= width and font.getlength(text) <= width:
        return text
    text = text[:width]  # no letter is narrower than a pixel
    while text and font.getlength(f"{text}\u2026") > width:
        text = text[:-1]
    return f"{text.rstrip()}\u2026"
