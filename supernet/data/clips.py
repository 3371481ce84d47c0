"""Clips, and where they come from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Clips:
    """Clips (B, C, T, H, W), and the context tokens of each, (B, L, channels).

    Pixels lie in [-1, 1]; latents have about unit variance.
    """

    x_BCTHW: Tensor
    context_BLC: Tensor


class ClipSource(Protocol):
    """Whatever yields clips: drawn digits, a folder of videos, data of a user's own."""

    def clips(self, count: int, seed: int) -> Clips:
        """`count` clips that depend on the seed alone."""
        ...


def pictures(source: ClipSource, x_BCTHW: Tensor) -> Tensor:
    """Clips as people look at them, in [-1, 1].

    A source of latents has a method `decode(x_BCTHW) -> Tensor` beside `clips`; pixels stay as
    they are.
    """
    decode: Callable[[Tensor], Tensor] | None = getattr(source, "decode", None)
    return x_BCTHW if decode is None else decode(x_BCTHW)
