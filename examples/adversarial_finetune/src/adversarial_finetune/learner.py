"""A network that learns: its optimizer, the moving average of its weights, and what it keeps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from adversarial_finetune import parallel
from adversarial_finetune.execution import Network
from adversarial_finetune.optimizer import Optimizer

WARMUP_STEPS, LAST_RATE = 50, 0.1


class DivergedError(Exception):
    """A loss or a gradient that is no number; the weights were left as they were."""


@dataclass
class Learner:
    """A network with its optimizer and a moving average of its weights."""

    module: nn.Module
    learning_rate: float
    ema: float
    betas: tuple[float, float] = (0.9, 0.99)
    gradient_norm: float = 1.0
    muon: bool = False
    network: Network | None = None  # the module, called in another way
    optimizer: Optimizer = field(init=False)
    averaged: dict[str, Tensor] = field(init=False)
    _losses: list[float] = field(default_factory=list)  # of the pieces of a step so far

    def __post_init__(self) -> None:
        self.optimizer = Optimizer(self.trained, self.betas, muon=self.muon)
        self.averaged = {name: p.detach().clone() for name, p in self.trained.items()}

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that learn."""
        return {n: p for n, p in self.module.named_parameters() if p.requires_grad}

    def __call__(self, *inputs: Any) -> Any:
        """The network's answers."""
        return (self.network or self.module)(*inputs)

    def add(self, loss: Tensor, share: float = 1.0) -> None:
        """Go back from the loss of a piece of the batch, which is a share of it."""
        if not self._losses:  # other networks' losses may have come through here
            self.optimizer.clear()
        self._losses.append(share * float(loss.detach()))
        (share * loss).backward()  # type: ignore[no-untyped-call]

    def learn(self, step: int, share_of_rate: float = 1.0) -> float:
        """One step down the losses of all pieces, with all processes; their mean comes back.

        Raises:
            DivergedError: before anything changed.
        """
        value = parallel.mean(sum(self._losses))
        self._losses.clear()
        if not math.isfinite(value):
            raise DivergedError(f"the loss is {value}")
        parallel.average([p.grad for p in self.trained.values() if p.grad is not None])
        norm = float(nn.utils.clip_grad_norm_(self.trained.values(), self.gradient_norm))
        if not math.isfinite(norm):
            raise DivergedError(f"the gradient's norm is {norm}")
        self.optimizer.step(self.learning_rate * share_of_rate)
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
        return found | {f"optimizer.{n}": t for n, t in self.optimizer.state().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`."""
        parts: dict[str, dict[str, Tensor]] = {"module": {}, "averaged": {}, "optimizer": {}}
        for name, tensor in state.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.module.load_state_dict(parts["module"])
        for name, tensor in parts["averaged"].items():
            self.averaged[name].copy_(tensor)
        self.optimizer.restore(parts["optimizer"])


def rate(step: int, steps: int) -> float:
    """The share of the learning rate at a step: a linear warm-up, then a cosine to a tenth."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    cosine = (1 + math.cos(math.pi * step / steps)) / 2
    return warm * (LAST_RATE + (1 - LAST_RATE) * cosine)
