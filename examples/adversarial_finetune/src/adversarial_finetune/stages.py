"""Both stages, put together from a bundle, clips and settings."""

from dataclasses import dataclass
from typing import Protocol

import torch

from adversarial_finetune.checkpoint import Stateful
from adversarial_finetune.data import ClipFiles
from adversarial_finetune.discriminator import Heads
from adversarial_finetune.execution import Execution
from adversarial_finetune.learner import Learner
from adversarial_finetune.parallel import Batch
from adversarial_finetune.pooling import Pooling
from adversarial_finetune.settings import STAGES, Settings, Stage
from adversarial_finetune.stage_one import StageOne
from adversarial_finetune.stage_two import StageTwo
from adversarial_finetune.stream import Stream, seed_of
from temporal_bundle import Bundle, Weights

GENERATOR_BETAS = (0.0, 0.99)  # without momentum: it chases heads that move
HEADS_BETAS = (0.5, 0.99)


class StageTraining(Protocol):
    """What both stages are to a run."""

    @property
    def generator(self) -> Learner:
        """The network that learns."""
        ...

    @property
    def parts(self) -> dict[str, Stateful]:
        """Whose state a checkpoint holds."""
        ...

    def step(self, number: int, share_of_rate: float, seed: int) -> dict[str, float]:
        """One step; the losses come back. DivergedError before anything changed."""
        ...


@dataclass(frozen=True)
class Stages:
    """What a run trains.

    Args:
        bundle: that is tuned.
        data: what is trained on.
        settings: of the training.
        execution: how networks compute.
    """

    bundle: Bundle
    data: ClipFiles
    settings: Settings
    execution: Execution

    def begin(self, stage: Stage, weights: Weights) -> StageTraining:
        """A stage before its first step, with the weights that the one before it left."""
        torch.manual_seed(self.settings.seed)  # fresh heads
        return self._one(weights) if stage == "one" else self._two(weights)

    def _one(self, weights: Weights) -> StageOne:
        settings = self.settings
        generator = self.bundle.denoiser(weights, self.execution.device)
        learner = Learner(
            generator,
            settings.stage_one_rate,
            settings.stage_one_ema,
            muon=True,
            network=self.execution.network(generator),
        )
        return StageOne(learner, self._stream("one"), self._batch, settings.image_share)

    def _two(self, weights: Weights) -> StageTwo:
        settings, execution, bundle = self.settings, self.execution, self.bundle
        heads = Heads(
            bundle.feature_channels, Pooling.of(self.data), settings.head_width, settings.heads
        ).to(execution.device)
        generator = bundle.denoiser(weights, execution.device)
        teacher = bundle.denoiser(weights, execution.device).requires_grad_(False)
        return StageTwo(
            Learner(
                generator,
                settings.generator_rate,
                settings.stage_two_ema,
                betas=GENERATOR_BETAS,
                network=execution.network(generator),
            ),
            Learner(heads, settings.heads_rate, settings.stage_two_ema, betas=HEADS_BETAS),
            execution.network(bundle.features(weights, execution.device)),
            execution.network(teacher, learns=False),
            self._stream("two"),
            self._batch,
            settings.times,
            settings.terms,
            min(settings.heads_alone_steps, settings.stage_two_steps // 10),
        )

    @property
    def _batch(self) -> Batch:
        return Batch(self.settings.clips_per_step, self.execution.accumulate)

    def _stream(self, stage: Stage) -> Stream:
        seed = seed_of(self.settings.seed, STAGES.index(stage))
        return Stream(self.data, seed, self.settings.buffer_mb)
