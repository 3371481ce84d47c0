"""Shape (hyperparameters) of an image U-Net of our own, and the slots that follow from it."""

from dataclasses import asdict, dataclass

from search_spaces.files.document import Json
from search_spaces.files.errors import InputError
from search_spaces.unet.slots import Slot, is_size, slot_at

SIZES = ("in_channels", "frames", "height", "width", "context_tokens", "context_channels")


@dataclass(frozen=True)
class UNetShape:
    """Hyperparameters of the image U-Net; the slots follow from them.

    Resolution halves from one entry of `channels` to the next. A clip is (batch, in_channels,
    frames, height, width), its context (batch, context_tokens, context_channels).
    """

    in_channels: int
    channels: tuple[int, ...]
    frames: int
    height: int
    width: int
    context_tokens: int
    context_channels: int

    def __post_init__(self) -> None:
        if not self.channels or not all(is_size(channels) for channels in self.channels):
            raise InputError(f"a U-Net needs channels, one or more a stage; found {self.channels}")
        for name in SIZES:
            if not is_size(getattr(self, name)):
                found = getattr(self, name)
                raise InputError(f"a U-Net's {name} must be a whole number from 1; found {found!r}")
        parts = 2 ** (len(self.channels) - 1)
        if self.height % parts or self.width % parts:
            raise InputError(
                f"{len(self.channels)} resolutions need height and width that divide by {parts}; "
                f"found {self.height} x {self.width}"
            )

    def slots(self) -> tuple[Slot, ...]:
        """List the slots: one after each block, down the stages, the middle, and up again."""
        last = len(self.channels) - 1
        down = [slot_at(self, "down", stage) for stage in range(last)]
        up = [slot_at(self, "up", stage) for stage in reversed(range(last))]
        return (*down, slot_at(self, "mid", last), *up)

    def to_json(self) -> Json:
        """As it stands in a space's document."""
        return asdict(self)
