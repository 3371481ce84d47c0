"""The samplers beside each other: before and after tuning, many network calls and few."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from adversarial_finetune.data import Clips
from adversarial_finetune.evaluation import Figures, Judge, make
from adversarial_finetune.flow import follow, leap
from temporal_bundle import Bundle, Weights

GUIDED_STEPS, GUIDANCE = 25, 1.5
REAL = "data"
UNSEEN = (
    "other clips of it"  # real ones, judged as if they were made: what a perfect sampler would get
)
TIMED_CLIPS, SHOWN_CLIPS = 8, 4
OnClips = Callable[[str, int, int], None]
Make = Callable[[Tensor, Tensor, torch.Generator], Tensor]  # noise, context -> clips


@dataclass(frozen=True)
class Sampler:
    """A way from noise to clips."""

    name: str
    calls: int  # of the network, for a clip
    tuned: bool  # of stage two's weights
    make: Make


@dataclass(frozen=True)
class Compared:
    """What one sampler's clips are like, and what they take."""

    name: str
    calls: int
    figures: Figures
    ms_per_clip: float
    shown_NCTHW: Tensor  # the first few of its clips

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "sampler": self.name,
            "calls": self.calls,
            **asdict(self.figures),
            "ms_per_clip": self.ms_per_clip,
        }


def leaping(module: nn.Module, times: Sequence[float], device: str = "cpu") -> Make:
    """The tuned network's way, where the network is on a device."""

    def run(noise: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        return leap(module, noise.to(device), context.to(device), times, generator)

    return run


def samplers(
    bundle: Bundle,
    untuned: Weights,
    tuned: Weights,
    times: list[float],
    nothing_LC: Tensor,
    device: str = "cpu",
) -> list[Sampler]:
    """The many guided steps of the untuned network, its few ones, and those of the tuned one.

    Guidance leads away from `nothing_LC`, the context that asks for nothing.
    """
    before, after = bundle.denoiser(untuned, device), bundle.denoiser(tuned, device)
    few = len(times)

    def euler(steps: int, guidance: float) -> Sampler:
        guided = guidance != 1.0

        def run(noise: Tensor, context: Tensor, _: torch.Generator) -> Tensor:
            noise, context = noise.to(device), context.to(device)
            return follow(before, noise, context, steps, guidance, nothing_LC)

        calls = steps * (2 if guided else 1)
        return Sampler(f"{_steps(steps)}, {'guided' if guided else 'untuned'}", calls, False, run)

    def tuned_leaps(times: Sequence[float]) -> Sampler:
        steps = len(times)
        return Sampler(f"{_steps(steps)}, tuned", steps, True, leaping(after, times, device))

    found = [
        euler(GUIDED_STEPS, GUIDANCE),
        euler(few, GUIDANCE),
        euler(few, 1.0),
        euler(1, 1.0),
        tuned_leaps(times),
        tuned_leaps(times[:1]),
    ]
    return list({each.name: each for each in found}.values())  # the few may be one, or the many


def compare(
    asked: list[Sampler],
    judge: Judge,
    real: Clips,
    seed: int,
    on_clips: OnClips = lambda *_: None,
) -> list[Compared]:
    """Clips of each sampler for the same contexts from the same noise, judged and timed."""
    found = []
    for sampler in asked:
        advance = partial(_advance, on_clips, sampler.name, len(real))
        encoded = partial(_advance, on_clips, f"{sampler.name}, encoded", len(real))
        advance(0)
        x_NCTHW = make(sampler.make, real, seed, advance, judge.at_once)
        found.append(
            Compared(
                sampler.name,
                sampler.calls,
                judge.figures(x_NCTHW, real, encoded),
                _ms_per_clip(sampler, real),
                x_NCTHW[:SHOWN_CLIPS].clone(),
            )
        )
    return found


def unseen(judge: Judge, others: Clips) -> Compared:
    """Real clips in the place of made ones."""
    x_NCTHW = others.x_NCTHW.float()
    return Compared(UNSEEN, 0, judge.figures(x_NCTHW, others), 0.0, x_NCTHW[:SHOWN_CLIPS])


def _steps(count: int) -> str:
    return f"{count} step{'s' if count > 1 else ''}"


def _advance(on_clips: OnClips, name: str, total: int, done: int) -> None:
    on_clips(name, done, total)


def _ms_per_clip(sampler: Sampler, real: Clips, rounds: int = 3) -> float:
    """The median over a few rounds of a few clips."""
    few = real.first(TIMED_CLIPS)
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        make(sampler.make, few, 0)
        taken.append((time.perf_counter() - begun) * 1e3 / len(few))
    return sorted(taken)[rounds // 2]
