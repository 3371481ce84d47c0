"""What a temporal block is, and how one is built.

Shapes, here and in the files beside: N = B*T images of a batch of clips, T frames, C channels,
H and W pixels, L context tokens. Every block keeps its input's shape and starts as the identity:
its last projection is zero, so a fresh supernet equals its image backbone. Nothing exceeds rank 5,
which Core ML refuses, and no dimension 65,536, which the Neural Engine does.
"""

import importlib
from collections.abc import Mapping

from torch import Tensor, nn

from search_spaces import REPEATS, Block, InputError, Option, Slot

Settings = Mapping[str, Option]


class TemporalOperator(nn.Module):
    """A temporal block of one slot.

    A supernet builds it once at its largest settings and passes the settings of a path to
    `forward`; a plain network builds it at its own settings and passes none.
    """

    def __init__(self, slot: Slot, settings: Settings) -> None:
        super().__init__()
        self.slot = slot
        self.settings = dict(settings)

    def forward(
        self, x_NCHW: Tensor, frames: int, context_BLC: Tensor, settings: Settings | None = None
    ) -> Tensor:
        """The block's output, shaped as its input; `settings` None means as built."""
        raise NotImplementedError

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """The parameters of which smaller settings use a part, by name, each cut to that part.

        An elastic block overrides this alone: what it returns is computed with in `forward`, and
        is what an extracted block inherits.
        """
        raise NotImplementedError(f"{type(self).__name__} has no elastic settings")

    def weights(self, settings: Settings | None) -> dict[str, Tensor]:
        """All parameters by name, as the block at `settings` has them."""
        own: dict[str, Tensor] = dict(self.named_parameters())
        if settings is None or dict(settings) == self.settings:
            return own  # no slice of everything: Core ML knows no alias
        return own | self.cuts(settings)

    def state_for(self, settings: Settings) -> dict[str, Tensor]:
        """The state that a block built at `settings` inherits from this one."""
        return dict(self.state_dict()) | {n: w.detach() for n, w in self.weights(settings).items()}


def build(block: Block, slot: Slot) -> TemporalOperator | None:
    """The module of a block in a slot; None for the operator that leaves the slot as it is.

    The setting `repeats` is no business of the operator: it stands so often, one after another.

    Raises:
        InputError: the declared module does not exist or is no TemporalOperator.
    """
    if not block.operator.module:
        return None
    module_name, _, class_name = block.operator.module.partition(":")
    try:
        operator_class = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        name = block.operator.name
        raise InputError(f"operator {name!r}: {block.operator.module}: {error}") from None
    if not (isinstance(operator_class, type) and issubclass(operator_class, TemporalOperator)):
        raise InputError(f"operator {block.operator.name!r}: {class_name} is no TemporalOperator")
    settings = dict(block.settings)
    if REPEATS.name not in settings:
        return operator_class(slot, settings)
    from supernet.operators.repeated import Repeated  # which is a TemporalOperator itself

    return Repeated(slot, settings, operator_class)
