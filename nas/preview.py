"""Generated clips as a GIF that anyone can open."""

import io

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from search_spaces import TemporalSpace
from supernet.digits import MovingDigits
from supernet.flow_matching import Denoiser, generate

COLUMNS, ROWS, SCALE, CAPTION = 4, 2, 5, 14
GUIDANCE = 1.5
STEPS = 32
FRAME_MS = 160


def preview_gif(denoiser: Denoiser, space: TemporalSpace, seed: int) -> bytes:
    """Clips from noise for the labels of test clips, with the labels below, looping."""
    asked = MovingDigits(space.unet, "test").clips(COLUMNS * ROWS, seed)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(asked.x_BCTHW.shape, generator=generator)
    with torch.inference_mode():
        clips = generate(denoiser, noise, asked.context_BLC, STEPS, GUIDANCE)
    captions = [_caption(context_LC) for context_LC in asked.context_BLC]
    frames = [_grid(clips[:, 0, t], captions) for t in range(clips.shape[2])]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0
    )
    return buffer.getvalue()


def _caption(context_LC: Tensor) -> str:
    named = [str(int(token.argmax())) for token in context_LC if token.any()]
    return "asked: " + " and ".join(named)


def _grid(images_BHW: Tensor, captions: list[str]) -> Image.Image:
    height, width = images_BHW.shape[1] * SCALE, images_BHW.shape[2] * SCALE
    grid = Image.new("L", (COLUMNS * (width + 2), ROWS * (height + CAPTION + 2)), 60)
    draw = ImageDraw.Draw(grid)
    pixels = ((images_BHW.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    for index, caption in enumerate(captions):
        left = index % COLUMNS * (width + 2)
        top = index // COLUMNS * (height + CAPTION + 2)
        picture = Image.fromarray(np.ascontiguousarray(pixels[index]))
        grid.paste(picture.resize((width, height), Image.Resampling.NEAREST), (left, top))
        draw.text((left + 2, top + height + 1), caption, fill=220)
    return grid
