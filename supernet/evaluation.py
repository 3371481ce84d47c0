"""Validation loss with common random numbers: all networks see the same clips, noise and times."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from search_spaces import AnyUNetShape
from supernet.digits import MovingDigits, Split
from supernet.flow_matching import Denoiser, stratified_times, velocity_loss

CHUNK = 8  # clips in one forward pass: few enough to stay in a core's cache


@dataclass(frozen=True)
class Validation:
    """A fixed exam: so many clips of a split, with their noise and stratified times."""

    shape: AnyUNetShape
    clips: int = 192
    split: Split = "validation"
    seed: int = 0

    @cached_property
    def _exam(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        drawn = MovingDigits(self.shape, self.split).clips(self.clips, self.seed)
        generator = torch.Generator().manual_seed(self.seed + 1)
        noise = torch.randn(drawn.x_BCTHW.shape, generator=generator)
        times = stratified_times(self.clips, generator)
        return drawn.x_BCTHW, noise, times, drawn.context_BLC

    @torch.inference_mode()
    def losses(self, denoiser: Denoiser) -> Tensor:
        """The loss of each clip, (clips,): differences between networks are paired."""
        parts = zip(*(torch.split(tensor, CHUNK) for tensor in self._exam), strict=True)
        return torch.cat([velocity_loss(denoiser, *part) for part in parts])
