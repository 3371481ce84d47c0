"""Slots: the insertion points in a U-Net where a temporal block may stand."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Slot:
    """An insertion point of a U-Net for a temporal block; sizes as the block will see them."""

    name: str
    stage: int  # 0 is the highest resolution
    position: str  # "down", "mid" or "up"
    channels: int
    height: int
    width: int
    frames: int
    context_channels: int = 0  # of the tokens that say what a clip shows; 0: there are none


class Stages(Protocol):
    """What any U-Net's shape says of its stages and clips."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage, the highest resolution first."""

    @property
    def height(self) -> int:
        """Of the clips."""

    @property
    def width(self) -> int:
        """Of the clips."""

    @property
    def frames(self) -> int:
        """Of the clips."""

    @property
    def context_channels(self) -> int:
        """Of the tokens that say what a clip shows."""


def is_size(value: object) -> bool:
    """Whether a value counts something: a whole number from 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def slot_at(shape: Stages, position: str, stage: int) -> Slot:
    """Make the slot of a stage; height and width halve from stage to stage, rounded up."""
    return Slot(
        name=position if position == "mid" else f"{position}{stage}",
        stage=stage,
        position=position,
        channels=shape.channels[stage],
        height=-(-shape.height // 2**stage),
        width=-(-shape.width // 2**stage),
        frames=shape.frames,
        context_channels=shape.context_channels,
    )
