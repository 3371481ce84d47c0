"""What a step draws at random, clip by clip.

Each clip of a batch has a generator of its own. So what is drawn for it does not depend on which
process works on it, or in how many pieces a batch is worked on.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from adversarial_finetune.stream import seed_of


class Draws:
    """The generators of some places of a batch.

    Args:
        seed: of the step.
        places: of the clips in the batch.
    """

    def __init__(self, seed: int, places: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed_of(seed, p)) for p in places]

    def normal(self, *shape: int) -> Tensor:
        """Normal numbers (B, *shape)."""
        return torch.stack([torch.randn(shape, generator=each) for each in self._generators])

    def uniform(self, *shape: int) -> Tensor:
        """Numbers from 0 to 1 (B, *shape)."""
        return torch.stack([torch.rand(shape, generator=each) for each in self._generators])

    def whole(self, below: int) -> Tensor:
        """Whole numbers from 0 (B,)."""
        drawn = [torch.randint(below, (), generator=each) for each in self._generators]
        return torch.stack(drawn)
