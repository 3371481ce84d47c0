"""Generated clips as a GIF that anyone can open."""

import io

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from supernet.data.clips import captions, pictures
from supernet.evaluation.sampling import Samples

COLUMNS, ROWS, TALLEST = 4, 2, 176
GAP, CAPTION, TEXT = 8, 30, 18
FRAME_MS, LAST_MS = 160, 600
SHADES = 64  # of grey, or colours: enough to see, and half the bytes
PAPER, INK = (255, 255, 255), (34, 34, 34)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def preview_gif(x_BCTHW: Tensor, samples: Samples) -> bytes:
    """A few of what a network generated, looping; what was asked for stands below.

    The first row has the first clips of those that were asked for the least: they are read at once.
    """
    asked_B = (samples.real.context_BLC != samples.empty).any(-1).sum(1)
    first = asked_B.argsort(stable=True)[:COLUMNS].tolist()
    rest = [index for index in range(len(asked_B)) if index not in first]
    shown = [*first, *rest][: COLUMNS * ROWS]
    clips = pictures(samples.source, x_BCTHW[shown])
    words = captions(samples.source, samples.real.context_BLC[shown])
    frames = [_grid(clips[:, :, t], words) for t in range(clips.shape[2])]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=[FRAME_MS] * (len(frames) - 1) + [LAST_MS],
        loop=0,
    )
    return buffer.getvalue()


def _grid(images_BCHW: Tensor, words: list[str]) -> Image.Image:
    scale = TALLEST / images_BCHW.shape[2]
    height, width = (max(1, round(side * scale)) for side in images_BCHW.shape[2:])
    below = CAPTION if any(words) else 0
    size = (COLUMNS * (width + GAP) - GAP, ROWS * (height + below + GAP) - GAP)
    grid = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(TEXT)
    # What is neither grey nor RGB, as latents without a decoder, is shown by its first channel.
    shown_BCHW = images_BCHW if images_BCHW.shape[1] == 3 else images_BCHW[:, :1]
    colours_BHWC = shown_BCHW.movedim(1, -1).expand(-1, -1, -1, 3)
    pixels = ((colours_BHWC.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    for index, caption in enumerate(words):
        left = index % COLUMNS * (width + GAP)
        top = index // COLUMNS * (height + below + GAP)
        picture = Image.fromarray(np.ascontiguousarray(pixels[index]))
        grid.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (left, top))
        asked = _fitting(f"asked: {caption}", width, font) if caption else ""
        draw.text((left + width / 2, top + height + 3), asked, INK, font, anchor="ma")
    return grid.quantize(SHADES, dither=Image.Dither.NONE)


def _fitting(text: str, width: int, font: Font) -> str:
    """As much of a text as stands below a picture."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}\u2026") > width:
        text = text[:-1]
    return f"{text.rstrip()}\u2026"
