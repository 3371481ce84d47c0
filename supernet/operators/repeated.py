"""Elastic depth: several blocks of one kind in one slot, one after another."""

from collections.abc import Callable

from torch import Tensor, nn

from search_spaces import Slot
from supernet.operators.base import Settings, TemporalOperator


class Repeated(TemporalOperator):
    """Repeat an operator as often as the setting `repeats` says; each has weights of its own.

    Fewer repeats are the first ones. Any operator can be repeated: it never sees the setting.
    """

    def __init__(
        self, slot: Slot, settings: Settings, one: Callable[[Slot, Settings], TemporalOperator]
    ) -> None:
        super().__init__(slot, settings)
        count, inner = split_repeats(settings)
        self.each = nn.ModuleList(one(slot, inner) for _ in range(count))

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """See TemporalOperator."""
        count, inner = split_repeats(self.settings if settings is None else settings)
        h = x_NCHW
        for block in self.each[:count]:
            h = block(h, frames, context_BLC, None if settings is None else inner)
        return h

    def state_for(self, settings: Settings) -> dict[str, Tensor]:
        """See TemporalOperator."""
        count, inner = split_repeats(settings)
        return {
            f"each.{index}.{name}": weight
            for index, block in enumerate(self.each[:count])
            for name, weight in block.state_for(inner).items()  # type: ignore[operator]
        }


def split_repeats(settings: Settings) -> tuple[int, dict[str, int | float | str]]:
    """Split the settings into how often a block stands, and the others."""
    inner = {name: value for name, value in settings.items() if name != "repeats"}
    return int(settings["repeats"]), inner
