"""Generated clips as a GIF that anyone can open."""

import io

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from supernet.data.clips import ClipSource, pictures
from supernet.data.digits import MovingDigits
from supernet.flow_matching import Denoiser, generate

COLUMNS, ROWS, TALLEST, CAPTION = 4, 2, 120, 14
GUIDANCE = 1.5
STEPS = 32
FRAME_MS = 160


def preview_gif(denoiser: Denoiser, data: ClipSource, seed: int) -> bytes:
    """Clips from noise for the contexts of clips of `data`, looping; digits' labels below."""
    asked = data.clips(COLUMNS * ROWS, seed)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(asked.x_BCTHW.shape, generator=generator)
    guidance = GUIDANCE if asked.context_BLC.any() else 1.0  # nothing was asked for: none to follow
    with torch.inference_mode():
        clips = generate(denoiser, noise, asked.context_BLC, STEPS, guidance)
        clips = pictures(data, clips)
    captions = [""] * len(clips)
    if isinstance(data, MovingDigits):  # others' tokens say nothing to people
        captions = [_caption(context_LC) for context_LC in asked.context_BLC]
    frames = [_grid(clips[:, :, t], captions) for t in range(clips.shape[2])]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0
    )
    return buffer.getvalue()


def _caption(context_LC: Tensor) -> str:
    named = [str(int(token.argmax())) for token in context_LC if token.any()]
    return "asked: " + " and ".join(named)


def _grid(images_BCHW: Tensor, captions: list[str]) -> Image.Image:
    scale = TALLEST / images_BCHW.shape[2]
    scale = round(scale) or scale  # whole where it can be: pixels stay square
    height, width = (max(1, round(side * scale)) for side in images_BCHW.shape[2:])
    sampling = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    grid = Image.new("RGB", (COLUMNS * (width + 2), ROWS * (height + CAPTION + 2)), (60, 60, 60))
    draw = ImageDraw.Draw(grid)
    # What is neither grey nor RGB, as latents without a decoder, is shown by its first channel.
    shown_BCHW = images_BCHW if images_BCHW.shape[1] == 3 else images_BCHW[:, :1]
    colours_BHWC = shown_BCHW.movedim(1, -1).expand(-1, -1, -1, 3)
    pixels = ((colours_BHWC.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    for index, caption in enumerate(captions):
        left = index % COLUMNS * (width + 2)
        top = index // COLUMNS * (height + CAPTION + 2)
        picture = Image.fromarray(np.ascontiguousarray(pixels[index]))
        grid.paste(picture.resize((width, height), sampling), (left, top))
        draw.text((left + 2, top + height + 1), caption, fill=(220, 220, 220))
    return grid
