"""Stage two: adversarial fine-tuning to a few steps, without guidance.

SF-V (Zhang et al. 2024, arXiv:2406.04324) and LADD (Sauer et al. 2024, arXiv:2403.12015): the
generator sees clips mixed with noise at one of the sampler's times, guesses the clip, and is judged
by heads on a frozen down path that sees real and made clips noised again. Half of the clips that it
sees are data, which it has to recover; the others are guesses of its own, as when it samples, where
the guided network of stage one says what to recover.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from adversarial_finetune import parallel
from adversarial_finetune.checkpoint import Stateful
from adversarial_finetune.discriminator import fooled, gradient_penalty, hinge
from adversarial_finetune.draws import Draws
from adversarial_finetune.errors import InputError
from adversarial_finetune.execution import Network
from adversarial_finetune.flow import guess, guided, logit_normal_times, mix
from adversarial_finetune.learner import Learner
from adversarial_finetune.parallel import Batch
from adversarial_finetune.rollout import Rollout
from adversarial_finetune.stream import Stream

R1_EVERY = 4  # steps, each counting as many (Karras et al. 2020, arXiv:1912.04958)


@dataclass(frozen=True)
class Terms:
    """How much each term counts."""

    # By 1 it outweighs the reconstruction, and clips of some layouts flicker (README, Figures).
    adversarial: float = 0.1
    reconstruction: float = 1.0
    guidance: float = 1.2  # of the network of stage one, where it says what to recover
    r1: float = 1e-4
    noise_mean: float = -2.0  # of the logit-normal times at which clips are judged

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not math.isfinite(value) or (value < 0 and name != "noise_mean"):
                raise InputError(
                    f"{name}: give a number{'' if name == 'noise_mean' else ' from 0'}"
                )


@dataclass(frozen=True)
class _Batch:
    """What a step works on, all of it where the networks are."""

    guesses: slice  # which of the rollout's come first
    x_BCTHW: Tensor  # data
    context_BLC: Tensor  # asked for in it
    noisy_BCTHW: Tensor  # what the generator is shown: guesses of its own first, then data
    time_B: Tensor
    asked_BLC: Tensor  # of the generator
    judged_B: Tensor  # the times at which clips are judged
    over_real_BCTHW: Tensor  # noise, for that
    over_made_BCTHW: Tensor

    @property
    def own(self) -> int:
        """How many clips are guesses of the generator's own."""
        return int(self.guesses.stop - self.guesses.start)


@dataclass
class StageTwo:
    """One step of the discriminator and one of the generator, on the same clips.

    Args:
        batch: the clips of a step; the first half of them are guesses of the generator's own.
        features: the frozen down path of stage one: (clip, time, context) to stages.
        teacher: the frozen network of stage one.
        times: of the sampler's network calls.
        heads_alone_steps: in the beginning, in which the generator stays as it is: heads that know
            nothing yet would lead it astray.
    """

    generator: Learner
    heads: Learner
    features: Network
    teacher: Network
    stream: Stream
    batch: Batch
    times: Sequence[float]
    terms: Terms
    heads_alone_steps: int = 0
    rollout: Rollout = field(init=False)

    def __post_init__(self) -> None:
        data = self.stream.data
        half = self.batch.clips // 2
        own = torch.tensor([p for places in self.batch.pieces for p in places if p < half])
        place_B = own.long()  # of none, too
        first = data.at(place_B % len(data))
        self.rollout = Rollout.begin(*first, len(self.times), place_B, half)

    @property
    def parts(self) -> dict[str, Stateful]:
        """Whose state a checkpoint holds."""
        return {
            "generator": self.generator,
            "heads": self.heads,
            "rollout": self.rollout,
            "stream": self.stream,
        }

    def step(self, number: int, share_of_rate: float, seed: int) -> dict[str, float]:
        """One step; the losses come back."""
        batches = self._draw(seed)
        share, alone = 1 / len(batches), number < self.heads_alone_steps
        # Of several pieces no graph is kept until the heads have learned from all of them.
        keeps = not alone and len(batches) == 1
        told, looks = dict[str, float](), []
        for batch in batches:
            made, seen = self._look(batch, learns=keeps)
            fresh = batch.context_BLC[: batch.own].cpu()
            self.rollout.move(made[: batch.own], fresh, len(self.times), batch.guesses)
            _add(told, self._tell_apart(batch, seen, number, share))
            looks.append((made, seen) if keeps else None)
        self.heads.learn(number, share_of_rate)
        if not alone:
            for batch, look in zip(batches, looks, strict=True):
                made, seen = look or self._look(batch, learns=True)
                _add(told, self._fool(batch, made, seen, share))
            told["generator"] = self.generator.learn(number, share_of_rate)
        return {name: parallel.mean(value) for name, value in told.items()}

    def _look(self, batch: _Batch, *, learns: bool) -> tuple[Tensor, Sequence[Tensor]]:
        """What the generator makes, and what the frozen down path sees in it."""
        judged, asked = batch.judged_B, batch.asked_BLC
        with torch.set_grad_enabled(learns):
            made = guess(self.generator, batch.noisy_BCTHW, batch.time_B, asked)
            noised = mix(made, batch.over_made_BCTHW, judged)
            return made, self.features(noised, judged, asked)

    def _fool(
        self, batch: _Batch, made: Tensor, seen: Sequence[Tensor], share: float
    ) -> dict[str, float]:
        says = self.heads(seen, batch.judged_B, batch.asked_BLC)
        recovered = pseudo_huber(made, self._wanted(batch))
        loss = self.terms.adversarial * fooled(says) + self.terms.reconstruction * recovered
        self.generator.add(loss, share)
        return {"reconstruction": share * float(recovered.detach())}

    def _draw(self, seed: int) -> list[_Batch]:
        """The pieces of a batch."""
        clips, first, found = self.stream.take(self.batch.clips), 0, []
        for places in self.batch.pieces:
            own = sum(place < self.rollout.places for place in places)
            piece = self._piece(clips[list(places)], Draws(seed, places), slice(first, first + own))
            found.append(piece)
            first += own
        return found

    def _piece(self, clip_B: Tensor, draws: Draws, guesses: slice) -> _Batch:
        x, context = self.stream.data.at(clip_B)
        own = guesses.stop - guesses.start
        call = draws.whole(len(self.times))[own:]
        time = torch.tensor(self.times)[torch.cat([self.rollout.call_B[guesses], call])]
        judged = logit_normal_times(draws.normal(), self.terms.noise_mean)
        noise, over_real, over_made = (draws.normal(*x.shape[1:]) for _ in range(3))
        noisy = mix(torch.cat([self.rollout.x_BCTHW[guesses], x[own:]]), noise, time)
        asked = torch.cat([self.rollout.context_BLC[guesses], context[own:]])
        where = next(iter(self.generator.trained.values())).device
        tensors = (x, context, noisy, time, asked, judged, over_real, over_made)
        return _Batch(guesses, *(each.to(where) for each in tensors))

    @torch.no_grad()
    def _wanted(self, batch: _Batch) -> Tensor:
        """What the guesses should recover: the teacher's for its own clips, else the data."""
        own = batch.own
        if not own:  # of a batch of one clip, that is data
            return batch.x_BCTHW
        noisy, time, asked = (
            each[:own] for each in (batch.noisy_BCTHW, batch.time_B, batch.asked_BLC)
        )
        teacher = guided(self.teacher, self.terms.guidance, self.stream.data.nothing)
        told = guess(teacher, noisy, time, asked)
        return torch.cat([told, batch.x_BCTHW[own:]])

    def _tell_apart(
        self,
        batch: _Batch,
        made: Sequence[Tensor],
        number: int,
        share: float,
    ) -> dict[str, float]:
        with torch.no_grad():
            noised = mix(batch.x_BCTHW, batch.over_real_BCTHW, batch.judged_B)
            real = self.features(noised, batch.judged_B, batch.context_BLC)
        punished = bool(self.terms.r1) and number % R1_EVERY == 0
        real = [each.detach().requires_grad_(punished) for each in real]
        made = [each.detach() for each in made]
        says_real = self.heads(real, batch.judged_B, batch.context_BLC)
        says_made = self.heads(made, batch.judged_B, batch.asked_BLC)
        loss = hinge(says_real, says_made)
        losses = {"discriminator": share * float(loss.detach())}
        if punished:
            penalty = gradient_penalty(says_real, real)
            loss = loss + R1_EVERY * self.terms.r1 * penalty
            losses["r1"] = share * float(penalty.detach())
        self.heads.add(loss, share)
        return losses


def _add(told: dict[str, float], more: Mapping[str, float]) -> None:
    for name, value in more.items():
        told[name] = told.get(name, 0.0) + value


def pseudo_huber(made_BCTHW: Tensor, wanted_BCTHW: Tensor) -> Tensor:
    """Song and Dhariwal 2023 (arXiv:2310.14189): sqrt(d^2 + c^2) - c, a mean over clips ().

    d is the distance of two clips, and c grows with how many numbers they hold; in units of c.
    """
    size = math.sqrt(made_BCTHW[0].numel())
    c = 0.03 * size
    distance = (made_BCTHW - wanted_BCTHW).flatten(1).square().sum(1)
    loss: Tensor = (torch.sqrt(distance + c * c) - c).mean() / size
    return loss
