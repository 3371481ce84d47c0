"""Elastic sizes (kernel, width, heads, window): read from settings, sliced from larger weights."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from search_spaces import InputError, Slot
from supernet.operators.base import Settings

M = TypeVar("M", bound=nn.Module)
HEAD_CHANNELS = 16  # where a space says nothing about heads
KERNEL = 3  # frames, where a space says nothing about the kernel
WINDOW = 6  # pixels on a side of a space-time window, at most, where a space says nothing of it


def inner_channels(slot: Slot, settings: Settings) -> int:
    """Elastic width: channels inside a block, the share `width` of the slot's, all where unset."""
    share = float(settings.get("width", 1))
    inner = round(slot.channels * share)
    if not 1 <= inner <= slot.channels:
        raise InputError(
            f"slot {slot.name!r}: width {share:g} leaves {inner} of {slot.channels} channels; "
            "choose a share above 0 and up to 1"
        )
    return inner


def kernel_frames(settings: Settings) -> int:
    """Elastic kernel: frames that a convolution sees, the setting `kernel`, an odd number."""
    kernel = int(settings.get("kernel", KERNEL))
    if kernel < 1 or kernel % 2 == 0:
        raise InputError(f"a kernel of {kernel} frames has no middle; choose an odd number")
    return kernel


def head_count(slot: Slot, settings: Settings) -> int:
    """Elastic heads of an attention: the setting `heads`, which must divide the inner channels."""
    inner = inner_channels(slot, settings)
    heads = int(settings.get("heads", max(1, inner // HEAD_CHANNELS)))
    if heads < 1 or inner % heads:
        raise InputError(
            f"slot {slot.name!r}: {heads} heads do not divide {inner} channels; choose heads that "
            "do, or another width"
        )
    return heads


def window_sides(slot: Slot, settings: Settings) -> tuple[int, int]:
    """Elastic window: height and width in pixels of the windows that tile a slot's images.

    The setting `window` is a share of the image's sides, 1 for one window that is the image.
    """
    if "window" not in settings:
        return _side(slot, slot.height, WINDOW), _side(slot, slot.width, WINDOW)
    share = float(settings["window"])
    if not 0 < share <= 1:
        raise InputError(
            f"slot {slot.name!r}: a window of {share:g} of the image; choose a share above 0 and "
            "up to 1"
        )
    height, width = (max(2, round(size * share)) for size in (slot.height, slot.width))
    return _side(slot, slot.height, height), _side(slot, slot.width, width)


def _side(slot: Slot, size: int, most: int) -> int:
    """The largest side of at most `most` pixels that tiles `size`."""
    side = max(side for side in range(1, most + 1) if size % side == 0)
    if side == 1 < size:
        raise InputError(
            f"slot {slot.name!r}: {size} pixels have no divisor from 2 to {most}, so windows "
            "cannot tile them; choose a size with small factors, or another window"
        )
    return side


def leading(weight: Tensor, count: int, dim: int = 0) -> Tensor:
    """Slice the first `count` entries along a dimension."""
    return weight if weight.shape[dim] == count else weight.narrow(dim, 0, count)


def leading_of_each(weight: Tensor, parts: int, count: int) -> Tensor:
    """Slice the first `count` rows of each of `parts` equal parts that stand one after another."""
    if weight.shape[0] == parts * count:
        return weight
    return torch.unflatten(weight, 0, (parts, -1)).narrow(1, 0, count).flatten(0, 1)


def central(weight: Tensor, frames: int, dim: int = 2) -> Tensor:
    """Slice the centre of a temporal kernel."""
    spare = weight.shape[dim] - frames
    return weight.narrow(dim, spare // 2, frames) if spare else weight


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm of eight groups, or as many as divide the channels."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def zero_initialised(module: M) -> M:
    """Zero-initialise a module, so that its block starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
