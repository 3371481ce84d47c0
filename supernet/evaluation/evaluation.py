"""Validation loss with common random numbers: all networks see the same clips, noise and times.

What clips, noise and times do to a loss they do to all networks alike, so that paired differences
between networks are far more certain than the losses themselves. The sequence of clips has no end:
its first n are the same however many are asked for, and their times are stratified for every n.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from supernet.data.clips import Clips, ClipSource
from supernet.evaluation.estimates import Estimate, mean_over_times
from supernet.flow_matching import Denoiser, spread_times, velocity_loss

CHUNK_NUMBERS = 36_864  # 8 clips of 8 frames of 24 x 24: few enough to stay in a core's cache
LARGEST_CHUNK = 64
KEPT_BYTES = 256 * 2**20  # drawn clips that are kept for the next network; others are drawn again


@dataclass(frozen=True)
class Validation:
    """Evaluate networks on the same clips of a source; by default on the first `clips`.

    Args:
        source: yields the clips.
        clips: how many an evaluation takes.
        seed: of clips, noise and times.
        device: where the networks are.
    """

    source: ClipSource
    clips: int = 192
    seed: int = 0
    device: str = "cpu"
    _kept: dict[int, Clips] = field(default_factory=dict, init=False, repr=False, compare=False)

    @torch.inference_mode()
    def losses(self, denoiser: Denoiser, first: int = 0, stop: int | None = None) -> Tensor:
        """Compute the loss of each clip from `first` to `stop`, (clips,), in order."""
        parts = [
            velocity_loss(denoiser, *(tensor.to(self.device) for tensor in part)).cpu()
            for part in self._parts(first, self.clips if stop is None else stop)
        ]
        return torch.cat(parts) if parts else torch.zeros(0)

    def loss(self, denoiser: Denoiser) -> Estimate:
        """Estimate the mean loss with its standard error."""
        return self.estimate(self.losses(denoiser))

    def estimate(self, loss_B: Tensor) -> Estimate:
        """Estimate the mean of the first clips' losses, or of two networks' paired differences."""
        return mean_over_times(loss_B, self.times(0, len(loss_B)))

    def times(self, first: int, stop: int) -> Tensor:
        """The stratified time of each clip from `first` to `stop`."""
        return spread_times(first, stop - first, self._shift)

    @cached_property
    def _shift(self) -> float:
        return float(np.random.default_rng((self.seed, 0)).random())

    @cached_property
    def _chunk(self) -> int:
        """Clips in one forward pass, from the size of one."""
        numbers = self.source.clips(1, self.seed).x_BCTHW.numel()
        return max(1, min(LARGEST_CHUNK, CHUNK_NUMBERS // numbers))

    def _parts(self, first: int, stop: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Clips, noise, times and contexts, a forward pass at a time."""
        size = self._chunk
        for chunk in range(first // size, -(-stop // size)):
            begin = chunk * size
            inside = slice(max(first - begin, 0), min(stop - begin, size))
            clips = self._drawn(chunk)
            generator = torch.Generator().manual_seed(self._seed(chunk, 2))
            noise = torch.randn(clips.x_BCTHW.shape, generator=generator)
            times = self.times(begin, begin + size)
            parts = (clips.x_BCTHW, noise, times, clips.context_BLC)
            yield parts[0][inside], parts[1][inside], parts[2][inside], parts[3][inside]

    def _drawn(self, chunk: int) -> Clips:
        """Draw (memoized) whole chunks: fewer clips of a source need not be the first of more."""
        if chunk in self._kept:
            return self._kept[chunk]
        clips = self.source.clips(self._chunk, self._seed(chunk, 1))
        if (len(self._kept) + 1) * clips.x_BCTHW.nbytes <= KEPT_BYTES:
            self._kept[chunk] = clips
        return clips

    def _seed(self, chunk: int, what: int) -> int:
        return int(np.random.SeedSequence((self.seed, what, chunk)).generate_state(1)[0])
