"""Clips as pictures, where Pillow is installed (the extra `pictures`)."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adversarial_finetune.checkpoint import replacing

CELL, GAP, LABEL = 48, 3, 130
LARGE = 192  # a clip of a GIF, which moves and is looked at by itself
FRAME_MS = 160


def can_draw() -> bool:
    """Whether Pillow is installed."""
    return find_spec("PIL") is not None


def save_grid(path: Path, rows: Mapping[str, Tensor], clips: int = 4, frames: int = 4) -> None:
    """A PNG: a row for each name, and in it several frames of several clips.

    Args:
        path: to write.
        rows: clips (N, C, T, H, W) about in [-1, 1].
        clips: how many of each row.
        frames: how many of each clip, spread over its length.
    """
    from PIL import Image, ImageDraw

    width = LABEL + clips * (frames * (CELL + 1) + 2 * GAP)
    picture = Image.new("RGB", (width, len(rows) * (CELL + GAP) + GAP), (40, 40, 40))
    draw = ImageDraw.Draw(picture)
    for row, (name, x_NCTHW) in enumerate(rows.items()):
        top = GAP + row * (CELL + GAP)
        draw.text((GAP, top + CELL // 3), name, fill=(230, 230, 230))
        for clip, x_CTHW in enumerate(x_NCTHW[:clips]):
            shown = torch.linspace(0, x_CTHW.shape[1] - 1, frames).round().long()
            for frame, at in enumerate(shown.tolist()):
                left = LABEL + clip * (frames * (CELL + 1) + 2 * GAP) + frame * (CELL + 1)
                picture.paste(_image(x_CTHW[:, at]), (left, top))
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def save_gif(path: Path, x_NCTHW: Tensor, columns: int = 4) -> None:
    """A looping GIF of clips side by side."""
    from PIL import Image

    rows = -(-len(x_NCTHW) // columns)
    frames = []
    for at in range(x_NCTHW.shape[2]):
        sheet = Image.new("RGB", (columns * (LARGE + GAP), rows * (LARGE + GAP)), (40, 40, 40))
        for index, x_CTHW in enumerate(x_NCTHW):
            place = (index % columns * (LARGE + GAP), index // columns * (LARGE + GAP))
            sheet.paste(_image(x_CTHW[:, at], LARGE), place)
        frames.append(sheet)
    more = {"append_images": frames[1:], "duration": FRAME_MS, "loop": 0}
    with replacing(path) as temporary:
        frames[0].save(temporary, format="GIF", save_all=True, **more)


def _image(x_CHW: Tensor, side: int = CELL) -> Any:
    """So many pixels a side; what is neither grey nor RGB is shown by its first channel."""
    from PIL import Image

    channels = x_CHW if x_CHW.shape[0] == 3 else x_CHW[:1].expand(3, -1, -1)
    pixels = ((channels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    height, width = pixels.shape[1:]
    data = bytes(pixels.permute(1, 2, 0).flatten().tolist())
    image = Image.frombytes("RGB", (width, height), data)
    return image.resize((side, side), Image.Resampling.NEAREST)
