"""Drawing moving digits: textured grounds, bouncing paths, images at places between pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor

GROUND, CONTRAST = 0.3, 0.16  # mean and standard deviation of the texture, black 0 to white 1
PANNING = 0.3  # share of the clips


def textures(
    count: int, frames: int, sides: tuple[int, int], fastest: float, generator: torch.Generator
) -> Tensor:
    """Textures (B, T, H, W) in [0, 1] that stand still or pan, wrapping round."""
    height, width = sides
    fine = torch.randn(count, 1, height, width, generator=generator)
    coarse = torch.randn(count, 1, -(-height // 3), -(-width // 3), generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    texture = (GROUND + CONTRAST * (0.6 * fine + 0.8 * smooth)[:, 0]).clamp(0, 1)
    pans = torch.rand(count, generator=generator) < PANNING
    angle = torch.rand(count, generator=generator) * 2 * torch.pi
    speed = fastest * torch.rand(count, generator=generator) * pans
    step = torch.stack([angle.sin(), angle.cos()], dim=-1) * speed[:, None]
    shift = step[:, None] * torch.arange(frames)[:, None]  # (B, T, 2) pixels
    # A shift by parts of a pixel that loses no detail: a turn of each frequency's phase.
    waves_y, waves_x = torch.fft.fftfreq(height), torch.fft.rfftfreq(width)
    turns = shift[..., 0, None, None] * waves_y[:, None] + shift[..., 1, None, None] * waves_x
    spectrum = torch.fft.rfft2(texture)[:, None] * torch.exp(-2j * torch.pi * turns)
    moved: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    return moved.clamp(0, 1)


def bounce(position: Tensor, room: Tensor) -> Tensor:
    """Reflect a straight path at 0 and at `room`."""
    folded = torch.remainder(position, 2 * room)
    return room - (folded - room).abs()


def draw(images: Tensor, place: Tensor, height: int, width: int) -> Tensor:
    """Images (B, 2, S, S) at sub-pixel places (B, 2, T, 2) on a canvas: (B, 2, T, H, W)."""
    batch, digits, frames = place.shape[:3]
    size = images.shape[-1]
    count = batch * digits * frames
    rows = torch.arange(height)[None, :] - place.reshape(count, 2)[:, :1]  # pixels of the digit
    columns = torch.arange(width)[None, :] - place.reshape(count, 2)[:, 1:]
    grid_y = ((rows + 0.5) / size * 2 - 1)[:, :, None].expand(count, height, width)
    grid_x = ((columns + 0.5) / size * 2 - 1)[:, None, :].expand(count, height, width)
    source = images[:, :, None].expand(-1, -1, frames, -1, -1).reshape(count, 1, size, size)
    drawn = F.grid_sample(source, torch.stack([grid_x, grid_y], dim=-1), align_corners=False)
    return drawn.reshape(batch, digits, frames, height, width)


def over(canvas_BTHW: Tensor, digit_BTHW: Tensor) -> Tensor:
    """A drawn digit in front of what stands there: it hides the ground more than it adds light."""
    return canvas_BTHW * (1 - (2 * digit_BTHW).clamp(0, 1)) + digit_BTHW
