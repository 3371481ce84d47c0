"""Clips, and where they come from."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Clips:
    """Clips in [-1, 1], (B, C, T, H, W), and the context tokens of each, (B, L, channels)."""

    x_BCTHW: Tensor
    context_BLC: Tensor


class ClipSource(Protocol):
    """Whatever yields clips: drawn digits, a folder of videos, data of a user's own."""

    def clips(self, count: int, seed: int) -> Clips:
        """`count` clips that depend on the seed alone."""
        ...
