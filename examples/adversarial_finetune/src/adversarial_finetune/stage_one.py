"""Stage one: the inherited weights learn on by flow matching, on clips and on single frames."""

from dataclasses import dataclass

import torch
from torch import Tensor

from adversarial_finetune.draws import Draws
from adversarial_finetune.flow import logit_normal_times, mix
from adversarial_finetune.learner import Learner, Stateful
from adversarial_finetune.stream import Stream, seed_of
from temporal_bundle.manifest import MOST_CLIPS

CONTEXT_DROPPED = 0.1  # so that guidance has an answer to an empty context


@dataclass(frozen=True)
class StageOne:
    """Flow matching with joint image and video batches.

    Args:
        clips_per_step: of a batch; of single frames there are as many as these clips have, or as a
            program takes.
        image_share: of the steps that see single frames.
    """

    generator: Learner
    stream: Stream
    clips_per_step: int
    image_share: float

    @property
    def parts(self) -> dict[str, Stateful]:
        """Whose state a checkpoint holds."""
        return {"generator": self.generator, "stream": self.stream}

    def step(self, number: int, share_of_rate: float, seed: int) -> dict[str, float]:
        """One step; the loss comes back."""
        places = range(self.clips_per_step)
        draws, images = Draws(seed, places), self._sees_images(seed)
        x, context = self.stream.data.at(self.stream.take(len(places)))
        # Frames become clips of one frame each.
        clips = x.transpose(1, 2).unsqueeze(3) if images else x.unsqueeze(1)
        in_each = clips.shape[1]
        x, context = clips.flatten(0, 1), context.repeat_interleave(in_each, 0)
        noise = draws.normal(*clips.shape[1:]).flatten(0, 1)
        time = logit_normal_times(draws.normal(in_each).flatten())
        kept = draws.uniform(in_each).flatten() >= CONTEXT_DROPPED
        context = torch.where(kept[:, None, None], context, self.stream.data.nothing)
        x, noise, time, context = (each[:MOST_CLIPS] for each in (x, noise, time, context))
        where = next(iter(self.generator.trained.values())).device
        x, noise, time, context = (each.to(where) for each in (x, noise, time, context))
        loss = self._loss(x, noise, time, context)
        return {"loss": self.generator.learn(loss, number, share_of_rate)}

    def _sees_images(self, seed: int) -> bool:
        generator = torch.Generator().manual_seed(seed_of(seed))
        return float(torch.rand((), generator=generator)) < self.image_share

    def _loss(self, x: Tensor, noise: Tensor, time: Tensor, context: Tensor) -> Tensor:
        velocity = self.generator.module(mix(x, noise, time), time, context)
        loss: Tensor = (velocity - (noise - x)).square().mean()
        return loss
