"""The elastic sizes of a block: read out of its settings, cut out of larger weights."""

import math
from typing import TypeVar

from torch import Tensor, nn

from search_spaces import InputError, Slot
from supernet.operators.base import Settings

M = TypeVar("M", bound=nn.Module)
HEAD_CHANNELS = 16  # where a space says nothing about heads
KERNEL = 3  # frames, where a space says nothing about the kernel


def inner_channels(slot: Slot, settings: Settings) -> int:
    """Channels inside a block: the share `width` of the slot's, all where it is not set."""
    share = float(settings.get("width", 1))
    inner = round(slot.channels * share)
    if not 1 <= inner <= slot.channels:
        raise InputError(
            f"slot {slot.name!r}: width {share:g} leaves {inner} of {slot.channels} channels; "
            "choose a share above 0 and up to 1"
        )
    return inner


def kernel_frames(settings: Settings) -> int:
    """Frames that a convolution sees: the setting `kernel`, an odd number."""
    kernel = int(settings.get("kernel", KERNEL))
    if kernel < 1 or kernel % 2 == 0:
        raise InputError(f"a kernel of {kernel} frames has no middle; choose an odd number")
    return kernel


def head_count(slot: Slot, settings: Settings) -> int:
    """Heads of an attention: the setting `heads`, which must divide the inner channels."""
    inner = inner_channels(slot, settings)
    heads = int(settings.get("heads", max(1, inner // HEAD_CHANNELS)))
    if heads < 1 or inner % heads:
        raise InputError(
            f"slot {slot.name!r}: {heads} heads do not divide {inner} channels; choose heads that "
            "do, or another width"
        )
    return heads


def first(weight: Tensor, count: int, dim: int = 0) -> Tensor:
    """The first `count` entries along a dimension."""
    return weight if weight.shape[dim] == count else weight.narrow(dim, 0, count)


def middle(weight: Tensor, frames: int, dim: int = 2) -> Tensor:
    """The middle of a temporal kernel."""
    spare = weight.shape[dim] - frames
    return weight.narrow(dim, spare // 2, frames) if spare else weight


def group_norm(channels: int) -> nn.GroupNorm:
    """Eight groups, or as many as divide the channels."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def zeroed(module: M) -> M:
    """The module with all its parameters zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
