"""A network out of a bundle, ready to run: with its inputs, and what its parts are called."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

IMAGE = "image"  # the part of what belongs to no slot of a video network
WHOLE = "network"  # the part of all else


@dataclass(frozen=True)
class Runnable:
    """A network with example inputs.

    Args:
        module: with the weights that count.
        inputs: in the order of its arguments.
        names: of the inputs.
        part_of: the part that a module belongs to, of its path in the network.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    names: tuple[str, ...]
    part_of: Callable[[str], str]


def part_of_video(path: str) -> str:
    """The part that a module of a VideoUNet belongs to: its slot, or a block of the image U-Net."""
    where, *inside = path.split(".")
    if where == "temporal" and inside:
        return inside[0]
    if where == "backbone" and inside:
        return "_".join([IMAGE, inside[0], *(name for name in inside[1:2] if name.isdigit())])
    return IMAGE


def part_of_any(path: str) -> str:  # noqa: ARG001
    """All of a network whose parts a program does not tell apart."""
    return WHOLE
