"""Stage two: adversarial fine-tuning to a few steps, without guidance.

SF-V (Zhang et al. 2024, arXiv:2406.04324) and LADD (Sauer et al. 2024, arXiv:2403.12015): the
generator sees data mixed with noise at one of the sampler's times, guesses the clip, and is judged
by heads on a frozen down path that sees real and made clips noised again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adversarial_finetune.data import Clips
from adversarial_finetune.discriminator import Heads, fooled, gradient_penalty, hinge
from adversarial_finetune.flow import guess, logit_normal_times, mix
from adversarial_finetune.learner import Learner

R1_EVERY = 4  # steps, each counting as many (Karras et al. 2020, arXiv:1912.04958)


@dataclass(frozen=True)
class Terms:
    """How much each term counts."""

    adversarial: float = 1.0
    reconstruction: float = 0.5
    r1: float = 1e-4
    noise_mean: float = -2.0  # of the logit-normal times at which clips are judged


@dataclass(frozen=True)
class StageTwo:
    """One step of the discriminator and one of the generator, on the same clips.

    Args:
        features: the frozen down path of stage one: (clip, time, context) to stages.
        times: of the sampler's network calls.
        heads_alone_steps: in the beginning, in which the generator stays as it is: heads that know
            nothing yet would lead it astray.
    """

    generator: Learner
    heads: Learner
    features: nn.Module
    data: Clips
    clips_per_step: int
    times: Sequence[float]
    terms: Terms
    heads_alone_steps: int = 0

    @property
    def learners(self) -> dict[str, Learner]:
        """Whose state a checkpoint holds."""
        return {"generator": self.generator, "heads": self.heads}

    def step(
        self, number: int, share_of_rate: float, generator: torch.Generator
    ) -> dict[str, float]:
        """One step; the losses come back."""
        index = torch.randint(len(self.data), (self.clips_per_step,), generator=generator)
        x, context = self.data.at(index)
        time = torch.tensor(self.times)[
            torch.randint(len(self.times), (len(x),), generator=generator)
        ]
        judged = logit_normal_times(len(x), generator, self.terms.noise_mean)
        noises = (torch.randn(x.shape, generator=generator) for _ in range(3))
        where = next(iter(self.generator.trained.values())).device
        x, context, time, judged, noise, over_real, over_made = (
            each.to(where) for each in (x, context, time, judged, *noises)
        )
        alone = number < self.heads_alone_steps
        with torch.set_grad_enabled(not alone):
            made = guess(self.generator.module, mix(x, noise, time), time, context)
            made_features = self.features(mix(made, over_made, judged), judged, context)
        with torch.no_grad():
            real_features = self.features(mix(x, over_real, judged), judged, context)
        told = self._tell_apart(
            real_features, made_features, judged, context, number, share_of_rate
        )
        if alone:
            return told
        loss = self.terms.adversarial * fooled(self.heads.module(made_features, judged, context))
        recovered = _pseudo_huber(made, x)
        loss = loss + self.terms.reconstruction * recovered
        value = self.generator.learn(loss, number, share_of_rate)
        return {**told, "generator": value, "reconstruction": float(recovered.detach())}

    def _tell_apart(
        self,
        real: Sequence[Tensor],
        made: Sequence[Tensor],
        judged: Tensor,
        context: Tensor,
        number: int,
        share_of_rate: float,
    ) -> dict[str, float]:
        assert isinstance(self.heads.module, Heads)
        real = [each.detach().requires_grad_(number % R1_EVERY == 0) for each in real]
        made = [each.detach() for each in made]
        says_real = self.heads.module(real, judged, context)
        loss = hinge(says_real, self.heads.module(made, judged, context))
        told = {"discriminator": float(loss.detach())}
        if self.terms.r1 and number % R1_EVERY == 0:
            penalty = gradient_penalty(says_real, real)
            loss = loss + R1_EVERY * self.terms.r1 * penalty
            told["r1"] = float(penalty.detach())
        self.heads.learn(loss, number, share_of_rate)
        return told


def _pseudo_huber(made: Tensor, real: Tensor) -> Tensor:
    """Song and Dhariwal 2023 (arXiv:2310.14189): sqrt(d^2 + c^2) - c, a mean over clips.

    d is the distance of two clips, and c grows with how many numbers they hold; in units of c.
    """
    size = math.sqrt(made[0].numel())
    c = 0.03 * size
    distance = (made - real).flatten(1).square().sum(1)
    loss: Tensor = (torch.sqrt(distance + c * c) - c).mean() / size
    return loss
