"""Stage one: the inherited weights learn on by flow matching, on clips and on single frames."""

from dataclasses import dataclass

import torch
from torch import Tensor

from adversarial_finetune.checkpoint import Stateful
from adversarial_finetune.draws import Draws
from adversarial_finetune.flow import logit_normal_times, mix
from adversarial_finetune.learner import Learner
from adversarial_finetune.parallel import Batch
from adversarial_finetune.stream import Stream, seed_of
from temporal_bundle.manifest import MOST_CLIPS

CONTEXT_DROPPED = 0.1  # so that guidance has an answer to an empty context


@dataclass(frozen=True)
class StageOne:
    """Flow matching with joint image and video batches.

    Args:
        batch: the clips of a step; of single frames there are as many as these clips have, or as a
            program takes.
        image_share: of the steps that see single frames.
    """

    generator: Learner
    stream: Stream
    batch: Batch
    image_share: float

    @property
    def parts(self) -> dict[str, Stateful]:
        """Whose state a checkpoint holds."""
        return {"generator": self.generator, "stream": self.stream}

    def step(self, number: int, share_of_rate: float, seed: int) -> dict[str, float]:
        """One step; the loss comes back."""
        clips, images = self.stream.take(self.batch.clips), self._sees_images(seed)
        pieces = self.batch.pieces
        for places in pieces:
            drawn = self._drawn(clips[list(places)], Draws(seed, places), images=images)
            self.generator.add(self._loss(*drawn), 1 / len(pieces))
        return {"loss": self.generator.learn(number, share_of_rate)}

    def _drawn(self, clip_B: Tensor, draws: Draws, *, images: bool) -> list[Tensor]:
        """Clips, noise, times and contexts."""
        x, context = self.stream.data.at(clip_B)
        # Frames become clips of one frame each.
        clips = x.transpose(1, 2).unsqueeze(3) if images else x.unsqueeze(1)
        in_each = clips.shape[1]
        x, context = clips.flatten(0, 1), context.repeat_interleave(in_each, 0)
        noise = draws.normal(*clips.shape[1:]).flatten(0, 1)
        time = logit_normal_times(draws.normal(in_each).flatten())
        kept = draws.uniform(in_each).flatten() >= CONTEXT_DROPPED
        context = torch.where(kept[:, None, None], context, self.stream.data.nothing)
        where = next(iter(self.generator.trained.values())).device
        return [each[:MOST_CLIPS].to(where) for each in (x, noise, time, context)]

    def _sees_images(self, seed: int) -> bool:
        generator = torch.Generator().manual_seed(seed_of(seed))
        return float(torch.rand((), generator=generator)) < self.image_share

    def _loss(self, x: Tensor, noise: Tensor, time: Tensor, context: Tensor) -> Tensor:
        velocity = self.generator(mix(x, noise, time), time, context)
        loss: Tensor = (velocity - (noise - x)).square().mean()
        return loss
