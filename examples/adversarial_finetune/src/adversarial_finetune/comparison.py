"""The samplers beside each other: before and after tuning, many network calls and few."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from adversarial_finetune.bundle import Bundle, Weights
from adversarial_finetune.classifier import Classifier
from adversarial_finetune.data import Clips
from adversarial_finetune.evaluation import Figures, judge, make
from adversarial_finetune.flow import follow, leap

GUIDED_STEPS, GUIDANCE = 25, 1.5
REAL = "data"
TIMED_CLIPS = 8
OnClips = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sampler:
    """A way from noise to clips."""

    name: str
    calls: int  # of the network, for a clip
    tuned: bool  # of stage two's weights
    make: Callable[[Tensor, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Compared:
    """What one sampler's clips are like, and what they take."""

    name: str
    calls: int
    figures: Figures
    ms_per_clip: float
    x_NCTHW: Tensor

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "sampler": self.name,
            "calls": self.calls,
            **asdict(self.figures),
            "ms_per_clip": self.ms_per_clip,
        }


def samplers(
    bundle: Bundle, untuned: Weights, tuned: Weights, times: list[float], device: str = "cpu"
) -> list[Sampler]:
    """The many guided steps of the untuned network, its few ones, and those of the tuned one."""
    before, after = bundle.denoiser(untuned, device), bundle.denoiser(tuned, device)
    few = len(times)

    def euler(module: nn.Module, steps: int, guidance: float) -> Sampler:
        guided = guidance != 1.0
        words = f"{steps} step{'s' if steps > 1 else ''}, {'guided' if guided else 'untuned'}"
        calls = steps * (2 if guided else 1)

        def run(noise: Tensor, context: Tensor, _: torch.Generator) -> Tensor:
            return follow(module, noise.to(device), context.to(device), steps, guidance)

        return Sampler(words, calls, False, run)

    def leaps(noise: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        return leap(after, noise.to(device), context.to(device), times, generator)

    def one(noise: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        return leap(after, noise.to(device), context.to(device), times[:1], generator)

    return [
        euler(before, GUIDED_STEPS, GUIDANCE),
        euler(before, few, GUIDANCE),
        euler(before, few, 1.0),
        euler(before, 1, 1.0),
        Sampler(f"{few} steps, tuned", few, True, leaps),
        Sampler("1 step, tuned", 1, True, one),
    ]


def compare(
    asked: list[Sampler],
    classifier: Classifier,
    real: Clips,
    seed: int,
    on_clips: OnClips = lambda *_: None,
) -> list[Compared]:
    """Clips of each sampler for the same contexts from the same noise, judged and timed."""
    found = []
    for sampler in asked:
        advance = partial(_advance, on_clips, sampler.name, len(real))
        advance(0)
        x_NCTHW = make(sampler.make, real, seed, advance)
        found.append(
            Compared(
                sampler.name,
                sampler.calls,
                judge(classifier, x_NCTHW, real),
                _ms_per_clip(sampler, real),
                x_NCTHW,
            )
        )
    return found


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


def printed(compared: list[Compared]) -> str:
    """A table for people; flicker and motion are shares of the data's own."""
    columns = (("calls", 7), ("Frechet", 10), ("accuracy", 10), ("flicker", 9), ("motion", 8))
    titles = "".join(f"{name:>{width}}" for name, width in columns)
    lines = [f"{'sampler':<20}{titles}{'ms a clip':>11}"]
    for each in compared:
        figures = each.figures
        accuracy = "-" if figures.accuracy is None else f"{figures.accuracy:.3f}"
        lines.append(
            f"{each.name:<20}{each.calls:>7}{figures.frechet:>10.2f}{accuracy:>10}"
            f"{figures.flicker:>9.2f}{figures.motion:>8.2f}{each.ms_per_clip:>11.1f}"
        )
    return "\n".join(lines)
