"""The interface of a text encoder: what turns captions into the context of a video network.

Shapes: N texts, L tokens each, C channels (the encoder's width).
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class TextEncoder(Protocol):
    """Makes token states of texts; of frozen weights."""

    @property
    def tokens(self) -> int:
        """How many states a text has, however long it is."""
        ...

    @property
    def width(self) -> int:
        """Channels of a state."""
        ...

    def encode(self, texts: Sequence[str]) -> Tensor:
        """States (N, L, C) in float32 on the CPU; the empty text is one, too."""
        ...

    def is_cut(self, text: str) -> bool:
        """Whether a text has more tokens than are encoded: what is beyond them is not seen."""
        ...

    def to(self, device: torch.device) -> object:
        """Move the weights."""
        ...
