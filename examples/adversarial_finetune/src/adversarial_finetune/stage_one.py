"""Stage one: the inherited weights learn on by flow matching, on clips and on single frames."""

from dataclasses import dataclass

import torch
from torch import Tensor

from adversarial_finetune.data import Clips
from adversarial_finetune.flow import logit_normal_times, mix
from adversarial_finetune.learner import Learner, Stateful
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
    data: Clips
    clips_per_step: int
    image_share: float

    @property
    def parts(self) -> dict[str, Stateful]:
        """Whose state a checkpoint holds."""
        return {"generator": self.generator}

    def step(
        self, number: int, share_of_rate: float, generator: torch.Generator
    ) -> dict[str, float]:
        """One step; the loss comes back."""
        images = float(torch.rand((), generator=generator)) < self.image_share
        index = torch.randint(len(self.data), (self.clips_per_step,), generator=generator)
        x, context = self.data.at(index)
        if images:
            context = context.repeat_interleave(x.shape[2], 0)
            x = x.transpose(1, 2).flatten(0, 1)[:MOST_CLIPS, :, None]
            context = context[:MOST_CLIPS]
        noise = torch.randn(x.shape, generator=generator)
        time = logit_normal_times(len(x), generator)
        kept = torch.rand(len(x), generator=generator) >= CONTEXT_DROPPED
        context = torch.where(kept[:, None, None], context, self.data.nothing)
        where = next(iter(self.generator.trained.values())).device
        x, noise, time, context = (each.to(where) for each in (x, noise, time, context))
        loss = self._loss(x, noise, time, context)
        return {"loss": self.generator.learn(loss, number, share_of_rate)}

    def _loss(self, x: Tensor, noise: Tensor, time: Tensor, context: Tensor) -> Tensor:
        velocity = self.generator.module(mix(x, noise, time), time, context)
        loss: Tensor = (velocity - (noise - x)).square().mean()
        return loss
