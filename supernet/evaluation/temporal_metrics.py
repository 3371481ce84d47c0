"""Temporal metrics: motion and flicker of generated clips, relative to the data's own.

A loss says little of how a clip looks as it plays. These figures do, without any network of their
own: how much changes from frame to frame, and how much of that is undone at once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from search_spaces import InputError
from search_spaces.shipped.loading import named_or_imported
from supernet.data.clips import ClipSource
from supernet.flow_matching import Denoiser, generate, step_times

STEPS = 8
CHUNK = 8

# (generated_BCTHW, real_BCTHW) -> one number a clip (B,), or one of them all ().
Metric = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Measured:
    """A metric's figure, with one standard error where it says a number a clip."""

    value: float
    error: float | None = None


def motion(x_BCTHW: Tensor) -> Tensor:
    """Motion: the mean absolute difference between neighbouring frames of each clip (B,).

    What VBench (Huang and others 2024, arXiv:2311.17982, "temporal flickering") takes from 1; in
    units of the pixels, black -1 and white 1. No optical flow: a pan and a flicker both count.
    """
    return x_BCTHW.diff(dim=2).abs().flatten(1).mean(1)


def flicker(x_BCTHW: Tensor) -> Tensor:
    """Flicker: how much of the change between frames the next undoes, each clip (B,), from 0 to 1.

    A quarter of the mean squared second difference in time over the mean squared first one: 0
    where pixels change evenly, 1 where every other frame is the same, 3/4 for noise (the same
    idea as von Neumann's ratio, 1941). 0 for a clip that stands still.
    """
    first = x_BCTHW.diff(dim=2).square().flatten(1).mean(1)
    second = x_BCTHW.diff(n=2, dim=2).square().flatten(1).mean(1)
    return torch.where(first > 0, second / (4 * first).clamp_min(1e-12), 0).clamp(0, 1)


def ratio_of_means(over_B: Tensor, under_B: Tensor) -> Measured:
    """Ratio estimate mean(over) / mean(under), and its standard error (Cochran 1977, 2.11)."""
    mean = float(under_B.mean())
    if mean <= 0:
        return Measured(math.nan, math.nan)
    ratio = float(over_B.mean()) / mean
    residual = over_B - ratio * under_B
    return Measured(ratio, float(residual.std()) / mean / math.sqrt(len(over_B)))


def relative_to_data(
    figure: Callable[[Tensor], Tensor], generated_BCTHW: Tensor, real_BCTHW: Tensor
) -> Measured:
    """Relate a figure of generated clips to the data's own: 1 is as in the data."""
    return ratio_of_means(figure(generated_BCTHW), figure(real_BCTHW))


BUILT_IN = {
    "motion": partial(relative_to_data, motion),
    "flicker": partial(relative_to_data, flicker),
}
FEWEST_FRAMES = {"motion": 2, "flicker": 3}


def load_metric(name: str) -> Metric:
    """Load a metric of a user's own, as package.module:name; InputError for any other."""
    return named_or_imported(name, {}, "metric")


@dataclass(frozen=True)
class Playback:
    """Generate clips by every network from the same noise and contexts, and measure them."""

    source: ClipSource
    clips: int = 32
    seed: int = 0
    steps: int = STEPS

    def measure(self, denoiser: Denoiser, metrics: dict[str, Metric]) -> dict[str, Measured]:
        """Measure motion and flicker relative to the data's, then the metrics of a user's own.

        Raises:
            InputError: a metric returned anything but a number a clip or one of all.
        """
        real = self.source.clips(self.clips, self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(real.x_BCTHW.shape, generator=generator)
        both = (torch.split(noise, CHUNK), torch.split(real.context_BLC, CHUNK))
        with torch.inference_mode():
            generated = torch.cat(
                [
                    generate(denoiser, *part, step_times(self.steps))
                    for part in zip(*both, strict=True)
                ]
            )
            frames = generated.shape[2]
            found = {
                name: measure(generated, real.x_BCTHW)
                for name, measure in BUILT_IN.items()
                if frames >= FEWEST_FRAMES[name]
            }
            for name, metric in metrics.items():
                found[name] = _asked(name, metric, generated, real.x_BCTHW)
        return found

    def try_out(self, metrics: dict[str, Metric]) -> None:
        """Try metrics on the data itself, so that one that fails does so before a long run."""
        real = self.source.clips(self.clips, self.seed).x_BCTHW
        for name, metric in metrics.items():
            _asked(name, metric, real, real)


def _asked(name: str, metric: Metric, generated_BCTHW: Tensor, real_BCTHW: Tensor) -> Measured:
    try:
        value = metric(generated_BCTHW, real_BCTHW)
    except Exception as error:  # whatever somebody's function raises
        raise InputError(f"metric {name!r}: {type(error).__name__}: {error}") from error
    return _checked(name, value, len(generated_BCTHW))


def _checked(name: str, value: object, clips: int) -> Measured:
    if isinstance(value, (int, float)):
        return Measured(float(value))
    if isinstance(value, Tensor) and value.numel() == 1:
        return Measured(float(value))
    if not isinstance(value, Tensor) or value.shape != (clips,):
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"metric {name!r}: returned {found}; wanted one number a clip, a tensor of shape "
            f"({clips},), or a single number"
        )
    return Measured(float(value.mean()), float(value.double().std()) / math.sqrt(clips))
