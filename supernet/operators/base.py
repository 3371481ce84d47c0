"""Operators: the base class of all temporal blocks, with elastic weights.

Shapes, here and in the files beside: N = B*T images of a batch of clips, T frames, C channels,
H and W pixels, L context tokens. Every block keeps its input's shape and starts as the identity:
its last projection is zero, so a fresh supernet equals its image backbone. Nothing exceeds rank 5,
which Core ML refuses, and no dimension 65,536, which the Neural Engine does.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from search_spaces import Option, Slot

Settings = Mapping[str, Option]


class TemporalOperator(nn.Module):
    """A temporal block of one slot, elastic: smaller settings use slices of its weights.

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
        """Transform the features, shape kept; `settings` None means as built."""
        raise NotImplementedError

    def cuts(self, settings: Settings) -> dict[str, Tensor]:
        """Slice the weights: the parameters of which smaller settings use a part, cut to it.

        An elastic block overrides this alone: what it returns is computed with in `forward`, and
        is what an extracted block inherits.
        """
        raise NotImplementedError(f"{type(self).__name__} has no elastic settings")

    def weights(self, settings: Settings | None) -> dict[str, Tensor]:
        """All parameters by name, sliced as the block at `settings` has them."""
        own: dict[str, Tensor] = dict(self.named_parameters())
        if settings is None or dict(settings) == self.settings:
            return own  # no slice of everything: Core ML knows no alias
        return own | self.cuts(settings)

    def state_for(self, settings: Settings) -> dict[str, Tensor]:
        """The state that a block built at `settings` inherits from this one."""
        return dict(self.state_dict()) | {n: w.detach() for n, w in self.weights(settings).items()}
