"""Training batches: clips with noise and flow times, and the flow-matching target."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from supernet.data.clips import ClipSource, empty_context, single_frames
from supernet.flow_matching import drop_context, logit_normal_times, mix
from supernet.training.minibatches import squared_error
from supernet.training.temporal_paths import path_loss, predict
from supernet.training.training import Randomness

__all__ = ["Batch", "draw_batch", "path_loss", "predict", "squared_error"]
CONTEXT_DROPPED = 0.1


@dataclass(frozen=True)
class Batch:
    """Clips with their noise and flow times: B clips of T frames."""

    x_BCTHW: Tensor
    noise_BCTHW: Tensor
    time_B: Tensor
    context_BLC: Tensor

    @cached_property
    def noisy(self) -> Tensor:
        """The network's input: noisy clips, shaped as the clips."""
        return mix(self.x_BCTHW, self.noise_BCTHW, self.time_B)

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """What a denoiser is given; the velocity is its target."""
        return self.noisy, self.time_B, self.context_BLC

    @property
    def target(self) -> Tensor:
        """The velocity, by the name that recipes know."""
        return self.velocity

    @property
    def velocity(self) -> Tensor:
        """The training target, shaped as the clips."""
        return self.noise_BCTHW - self.x_BCTHW

    def to(self, where: torch.device) -> "Batch":
        """Move the batch to another device."""
        parts = (self.x_BCTHW, self.noise_BCTHW, self.time_B, self.context_BLC)
        return Batch(*(part.to(where) for part in parts))


def draw_batch(
    data: ClipSource,
    clips: int,
    randomness: Randomness,
    *,
    images: bool = False,
    wanted: Sequence[int] | None = None,
) -> Batch:
    """Draw the batch of a step: fresh clips, noise, logit-normal times, context dropped at random.

    Every clip has a seed of its own, so that workers who split a batch draw no clip twice and
    together see what one process would have seen.

    Args:
        data: where clips come from.
        clips: how many the whole batch has.
        randomness: of the step.
        images: clips of one frame, as many as clips have frames: as many pixels, and nothing that
            moves.
        wanted: which clips of the batch are drawn here; None for all.
    """
    wanted = range(clips) if wanted is None else wanted
    seeds = [randomness.clip_seed(index) for index in wanted]
    drawn = [single_frames(data, seed) if images else data.clips(1, seed) for seed in seeds]
    x_BCTHW = torch.cat([clip.x_BCTHW for clip in drawn])
    context_BLC = torch.cat([clip.context_BLC for clip in drawn])
    each = len(x_BCTHW) // len(seeds)
    # Drawn for the whole batch: what a clip gets must not depend on who else is drawn here.
    rows = [index * each + frame for index in wanted for frame in range(each)]
    generator, total = randomness.torch(), clips * each
    noise_BCTHW = torch.randn((total, *x_BCTHW.shape[1:]), generator=generator)[rows]
    time_B = logit_normal_times(total, generator)[rows]
    kept_B11 = drop_context(torch.ones(total, 1, 1), CONTEXT_DROPPED, generator)[rows] > 0
    asked_BLC = torch.where(kept_B11, context_BLC, empty_context(data, context_BLC))
    return Batch(x_BCTHW, noise_BCTHW, time_B, asked_BLC)
