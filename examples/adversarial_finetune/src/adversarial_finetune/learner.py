"""A network that learns: its optimizer, the moving average of its weights, and what it keeps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

WARMUP_STEPS, LAST_RATE = 50, 0.1
STEP_COUNT = "step"  # AdamW's, one for each weight


class DivergedError(Exception):
    """A loss or a gradient that is no number; the weights were left as they were."""


class Stateful(Protocol):
    """What a checkpoint can hold."""

    def state(self) -> dict[str, Tensor]:
        """Everything that it takes to go on, by name."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`."""
        ...


@dataclass
class Learner:
    """AdamW with a moving average of the weights."""

    module: nn.Module
    learning_rate: float
    ema: float
    betas: tuple[float, float] = (0.9, 0.99)
    gradient_norm: float = 1.0
    optimizer: torch.optim.AdamW = field(init=False)
    averaged: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        # Fused: one pass over all weights, where a loop over hundreds of small ones would cost more
        # than it computes.
        self.optimizer = torch.optim.AdamW(
            self.trained.values(),
            lr=self.learning_rate,
            betas=self.betas,
            weight_decay=0.0,
            fused=True,
        )
        self.averaged = {name: p.detach().clone() for name, p in self.trained.items()}

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that learn."""
        return {n: p for n, p in self.module.named_parameters() if p.requires_grad}

    def learn(self, loss: Tensor, step: int, share_of_rate: float = 1.0) -> float:
        """One step down the loss.

        Raises:
            DivergedError: before anything changed.
        """
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(f"the loss is {value}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self.trained.values(), self.gradient_norm))
        if not math.isfinite(norm):
            raise DivergedError(f"the gradient's norm is {norm}")
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * share_of_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        # A young average would remember the start for long.
        kept = min(self.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            means = [self.averaged[name] for name in self.trained]
            torch._foreach_lerp_(means, list(self.trained.values()), 1 - kept)
        return value

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights, and what does not learn as it is."""
        return {**self.module.state_dict(), **self.averaged}

    def state(self) -> dict[str, Tensor]:
        """Everything that a checkpoint needs, by name."""
        found = {f"module.{n}": t for n, t in self.module.state_dict().items()}
        found |= {f"averaged.{n}": t for n, t in self.averaged.items()}
        for name, parameter in self.trained.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"optimizer.{name}:{key}"] = value
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`."""
        parts: dict[str, dict[str, Tensor]] = {"module": {}, "averaged": {}, "optimizer": {}}
        for name, tensor in state.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.module.load_state_dict(parts["module"])
        trained = self.trained
        for name, tensor in parts["averaged"].items():
            self.averaged[name].copy_(tensor)
        for entry, held in parts["optimizer"].items():
            name, _, key = entry.rpartition(":")
            parameter = trained[name]
            # Laid out as its parameter is: the fused step goes by memory.
            there = torch.empty_like(
                held if key == STEP_COUNT else parameter, device=parameter.device
            )
            self.optimizer.state.setdefault(parameter, {})[key] = there.copy_(held)


def rate(step: int, steps: int) -> float:
    """The share of the learning rate at a step: a linear warm-up, then a cosine to a tenth."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    cosine = (1 + math.cos(math.pi * step / steps)) / 2
    return warm * (LAST_RATE + (1 - LAST_RATE) * cosine)
