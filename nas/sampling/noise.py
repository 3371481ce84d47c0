"""Gaussian noise by numpy's default generator: a phone draws the same without torch."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Draw = Callable[[], Tensor]  # another noise each time


def drawn(seed: int, shape: Sequence[int], device: str = "cpu") -> Draw:
    """Noise of a shape, again and again; a seed always gives the same ones in their order."""
    generator = np.random.default_rng(seed)

    def draw() -> Tensor:
        noise = generator.standard_normal(tuple(shape), dtype=np.float32)
        return torch.from_numpy(noise).to(device)

    return draw
