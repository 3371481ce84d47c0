"""Slots: the places in a U-Net where a temporal block may stand, whatever the U-Net's family."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Slot:
    """A place in the U-Net where a temporal block may stand; sizes as the block will see them."""

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
    """The slot of a stage; its height and width are halved from stage to stage and rounded up."""
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
