"""Sampling with classifier-free guidance, and how much of what was asked for is in the samples."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from supernet.data.clips import Clips, ClipSource, Recogniser, empty_context, recogniser_of
from supernet.evaluation.temporal_metrics import Measured
from supernet.flow_matching import Denoiser, generate, step_times

STEPS, GUIDANCE = 25, 4.0
CHUNK = 8


@dataclass(frozen=True)
class Samples:
    """What networks generate from the same noise for the contexts of the same clips.

    Args:
        source: of the clips whose contexts are asked for.
        clips: how many.
        seed: of clips and noise.
        steps: of the sampler (Euler).
        guidance: Ho and Salimans 2022, arXiv:2207.12598; 1 for none.
    """

    source: ClipSource
    clips: int = 64
    seed: int = 0
    steps: int = STEPS
    guidance: float = GUIDANCE

    @cached_property
    def real(self) -> Clips:
        """The clips whose contexts are asked for."""
        return self.source.clips(self.clips, self.seed)

    @property
    def empty(self) -> Tensor:
        """The context (L, channels) that asks for nothing."""
        return empty_context(self.source, self.real.context_BLC)

    @cached_property
    def _recogniser(self) -> Recogniser | None:
        return recogniser_of(self.source)

    @property
    def what(self) -> str | None:
        """What is asked for; None where nothing can find it in a clip."""
        return self._recogniser.what if self._recogniser else None

    @torch.inference_mode()
    def drawn(self, denoiser: Denoiser) -> Tensor:
        """The clips of a network (B, C, T, H, W)."""
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(self.real.x_BCTHW.shape, generator=generator)
        empty = self.empty
        # Where nothing was asked for there is nothing to be guided to.
        guidance = self.guidance if (self.real.context_BLC != empty).any() else 1.0
        both = zip(
            torch.split(noise, CHUNK), torch.split(self.real.context_BLC, CHUNK), strict=True
        )
        times = step_times(self.steps)
        return torch.cat([generate(denoiser, *part, times, guidance, empty) for part in both])

    def found(self, x_BCTHW: Tensor) -> Measured | None:
        """The mean share of what was asked for that clips show; None where nothing can tell."""
        if self._recogniser is None:
            return None
        found_B = self._recogniser.found(x_BCTHW, self.real.context_BLC)
        return Measured(float(found_B.mean()), float(found_B.std()) / math.sqrt(len(found_B)))
