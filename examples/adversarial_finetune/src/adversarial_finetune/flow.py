"""Flow matching: straight paths between data (time 0) and noise (time 1), and two samplers.

Lipman et al. 2023 (arXiv:2210.02747); logit-normal times: Esser et al. 2024 (arXiv:2403.03206).
Tensors carry their axes in the name: B clips, C channels, T frames, H rows, W columns, L tokens.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# (x_BCTHW, time_B, context_BLC) -> velocity_BCTHW
Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]


def logit_normal_times(normal_B: Tensor, mean: float = 0.0) -> Tensor:
    """Times in (0, 1): sigmoid of a normal with this mean and deviation 1."""
    return torch.sigmoid(mean + normal_B)


def mix(x_BCTHW: Tensor, noise_BCTHW: Tensor, time_B: Tensor) -> Tensor:
    """The point of each straight path at its time."""
    time = time_B.view(-1, *[1] * (x_BCTHW.dim() - 1))
    return (1 - time) * x_BCTHW + time * noise_BCTHW


def guess(denoiser: Denoiser, x_BCTHW: Tensor, time_B: Tensor, context_BLC: Tensor) -> Tensor:
    """The clip at the end of the path, as the network sees it from a point on the way."""
    time = time_B.view(-1, *[1] * (x_BCTHW.dim() - 1))
    return x_BCTHW - time * denoiser(x_BCTHW, time_B, context_BLC)


def guided(denoiser: Denoiser, guidance: float, empty_LC: Tensor | None = None) -> Denoiser:
    """A denoiser whose answer is pushed away from the one to an empty context, by two calls.

    Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598); 1 is the denoiser itself.
    Without `empty_LC`, an empty context is zeros.
    """
    if guidance == 1.0:
        return denoiser

    def answer(x_BCTHW: Tensor, time_B: Tensor, context_BLC: Tensor) -> Tensor:
        empty_BLC = torch.zeros_like(context_BLC)
        if empty_LC is not None:
            empty_BLC = empty_BLC + empty_LC.to(context_BLC)
        free = denoiser(x_BCTHW, time_B, empty_BLC)
        return free + guidance * (denoiser(x_BCTHW, time_B, context_BLC) - free)

    return answer


def step_times(steps: int) -> list[float]:
    """Evenly spaced times of a sampler's network calls, from noise: 1, 3/4, 1/2, 1/4 for four."""
    return [1 - step / steps for step in range(steps)]


@torch.no_grad()
def follow(
    denoiser: Denoiser,
    noise_BCTHW: Tensor,
    context_BLC: Tensor,
    steps: int,
    guidance: float = 1.0,
    empty_LC: Tensor | None = None,
) -> Tensor:
    """Clips by Euler steps along the flow; guidance other than 1 calls the network twice a step."""
    velocity = guided(denoiser, guidance, empty_LC)
    x = noise_BCTHW
    for time, after in itertools.pairwise([*step_times(steps), 0.0]):
        time_B = torch.full((len(x),), time, device=x.device)
        x = x + (after - time) * velocity(x, time_B, context_BLC)
    return x


@torch.no_grad()
def leap(
    denoiser: Denoiser,
    noise_BCTHW: Tensor,
    context_BLC: Tensor,
    times: Sequence[float],
    generator: torch.Generator,
) -> Tensor:
    """Clips by guesses of the end, each noised again to the next time: one call a step.

    What an adversarially tuned network is trained for (Sauer et al. 2023, arXiv:2311.17042): at
    every step it sees clips that look like data, mixed with fresh noise.
    """
    x = noise_BCTHW
    for time, after in itertools.pairwise([*times, 0.0]):
        time_B = torch.full((len(x),), time, device=x.device)
        x = guess(denoiser, x, time_B, context_BLC)
        if after:
            fresh = torch.randn(x.shape, generator=generator).to(x)
            x = mix(x, fresh, torch.full((len(x),), after, device=x.device))
    return x
