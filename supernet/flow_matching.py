"""Flow matching: straight paths between data (time 0) and noise (time 1).

Lipman et al. 2023 (arXiv:2210.02747) and Esser et al. 2024 (arXiv:2403.03206), whose logit-normal
times are used here.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# (x_BCTHW, time_B, context_BLC) -> velocity_BCTHW
Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]


def logit_normal_times(count: int, generator: torch.Generator) -> Tensor:
    """Times in (0, 1), dense in the middle: sigmoid of a standard normal."""
    return torch.sigmoid(torch.randn(count, generator=generator))


def spread_times(first: int, count: int, shift: float) -> Tensor:
    """The same distribution, numbers `first` on of a sequence whose every beginning is stratified.

    The van der Corput sequence, moved by `shift` round the unit interval (Cranley and Patterson
    1976) so that no time is special: of any 2**k in a row, each 2**-k of the probability has one.
    """
    number = torch.arange(first, first + count)
    mirrored = torch.zeros(count, dtype=torch.float64)
    for place in range((first + count).bit_length()):
        mirrored += (number >> place & 1) * 0.5 ** (place + 1)
    return torch.sigmoid(torch.special.ndtri((mirrored + shift) % 1.0)).float()


def mix(x_BCTHW: Tensor, noise_BCTHW: Tensor, time_B: Tensor) -> Tensor:
    """What a network is shown: the point of each straight path at its time."""
    time = time_B.view(-1, *[1] * (x_BCTHW.dim() - 1))
    return (1 - time) * x_BCTHW + time * noise_BCTHW


def velocity_loss(
    denoiser: Denoiser, x_BCTHW: Tensor, noise_BCTHW: Tensor, time_B: Tensor, context_BLC: Tensor
) -> Tensor:
    """Mean squared error of the predicted velocity, one number a clip (B,)."""
    predicted = denoiser(mix(x_BCTHW, noise_BCTHW, time_B), time_B, context_BLC)
    return (predicted - (noise_BCTHW - x_BCTHW)).square().flatten(1).mean(1)


def drop_context(
    context_BLC: Tensor, share: float, generator: torch.Generator, empty_LC: Tensor | None = None
) -> Tensor:
    """Empty the context of a share of the clips, so that guidance has an unconditional network.

    Without `empty_LC`, a context that says nothing is zeros.
    """
    kept = torch.rand(context_BLC.shape[0], generator=generator) >= share
    empty = context_BLC.new_zeros(()) if empty_LC is None else empty_LC
    return torch.where(kept.to(context_BLC.device)[:, None, None], context_BLC, empty)


def step_times(steps: int) -> list[float]:
    """Evenly spaced times of a sampler's network calls, from noise: 1, 3/4, 1/2, 1/4 for four."""
    return torch.linspace(1.0, 0.0, steps + 1).tolist()[:-1]


@torch.no_grad()
def leap(
    denoiser: Denoiser,
    noise_BCTHW: Tensor,
    context_BLC: Tensor,
    times: Sequence[float],
    draw: Callable[[], Tensor],
    guidance: float = 1.0,
    empty_LC: Tensor | None = None,
) -> Tensor:
    """Clips by guesses of the end, each noised again to the next time.

    What an adversarially tuned network is trained for (Sauer et al. 2023, arXiv:2311.17042), most
    of them without guidance. `draw` makes the noise that they are noised with; the rest is as in
    `generate`.
    """
    velocity = _guided(denoiser, context_BLC, guidance, empty_LC)
    x = noise_BCTHW
    for time, after in itertools.pairwise([*times, 0.0]):
        x = x - time * velocity(x, time)
        if after:
            x = mix(x, draw().to(x), torch.full((len(x),), after, dtype=x.dtype, device=x.device))
    return x


@torch.no_grad()
def generate(
    denoiser: Denoiser,
    noise_BCTHW: Tensor,
    context_BLC: Tensor,
    times: Sequence[float],
    guidance: float = 1.0,
    empty_LC: Tensor | None = None,
) -> Tensor:
    """Clips from noise by Euler steps; guidance over 1 pushes away from the context-free answer.

    Args:
        denoiser: the network.
        noise_BCTHW: where the paths begin.
        context_BLC: what is asked for.
        times: of the steps, from noise (`step_times`).
        guidance: other than 1 calls the network twice a step.
        empty_LC: the context that says nothing; zeros without it.
    """
    velocity = _guided(denoiser, context_BLC, guidance, empty_LC)
    x = noise_BCTHW
    for time, after in itertools.pairwise([*times, 0.0]):
        x = x + (after - time) * velocity(x, time)
    return x


def _guided(
    denoiser: Denoiser, context_BLC: Tensor, guidance: float, empty_LC: Tensor | None
) -> Callable[[Tensor, float], Tensor]:
    """The velocity at a point and a time, by classifier-free guidance (arXiv:2207.12598)."""
    free_BLC = torch.zeros_like(context_BLC)
    if empty_LC is not None:
        free_BLC = free_BLC + empty_LC

    def velocity(x: Tensor, time: float) -> Tensor:
        time_B = torch.full((len(x),), time, dtype=x.dtype, device=x.device)
        asked = denoiser(x, time_B, context_BLC)
        if guidance == 1.0:
            return asked
        free = denoiser(x, time_B, free_BLC)
        return free + guidance * (asked - free)

    return velocity
