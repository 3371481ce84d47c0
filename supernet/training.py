"""One training loop for image U-Nets and supernets: AdamW, EMA, checkpoints, exact resume.

All that a step draws at random (clips, noise, times, architectures) follows from (seed, step), so
an interrupted run that resumes sees what an uninterrupted one would have seen.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces import InputError
from supernet import checkpoint

# The loss of one step, from the step's own random state.
StepLoss = Callable[["Randomness"], Tensor]
OnStep = Callable[[int, float], None]


@dataclass(frozen=True)
class Randomness:
    """The random state of one step."""

    seed: int
    step: int

    @property
    def data_seed(self) -> int:
        """Seeds the step's clips."""
        return int(np.random.SeedSequence((self.seed, self.step, 0)).generate_state(1)[0])

    def torch(self) -> torch.Generator:
        """Noise, times and dropped contexts."""
        state = np.random.SeedSequence((self.seed, self.step, 1)).generate_state(1)[0]
        return torch.Generator().manual_seed(int(state))

    def numpy(self) -> np.random.Generator:
        """Architectures."""
        return np.random.default_rng((self.seed, self.step, 2))


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    weight_decay: float = 0.01
    ema: float = 0.995
    gradient_norm: float = 1.0
    checkpoint_every: int = 50

    def rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to a tenth."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        progress = step / max(1, self.steps)
        return self.learning_rate * warm * (0.1 + 0.45 * (1 + float(np.cos(np.pi * progress))))


@dataclass(frozen=True)
class _State:
    """What a training changes, beside the module's other buffers."""

    trained: dict[str, nn.Parameter]
    averaged: dict[str, Tensor]
    optimizer: torch.optim.Optimizer


@dataclass(frozen=True)
class Trainer:
    """Trains the parameters that require a gradient; leaves the averaged weights in the module."""

    module: nn.Module
    loss: StepLoss
    schedule: Schedule
    seed: int
    notes: dict[str, Any] = field(default_factory=dict)

    def run(self, path: Path | None = None, on_step: OnStep | None = None) -> None:
        """Train to the end of the schedule, from the checkpoint at `path` where there is one.

        Args:
            path: where the training state is kept; None keeps nothing.
            on_step: called after each step with the number of finished steps and the loss.

        Raises:
            InputError: the checkpoint belongs to another run.
            FloatingPointError: a loss is not finite; the last good checkpoint stays.
        """
        state = self._begin()
        first = self._resume(path, state) if path is not None and path.exists() else 0
        self.module.train()
        for step in range(first, self.schedule.steps):
            value = self._step(step, state)
            if on_step is not None:
                on_step(step + 1, value)
            due = (step + 1) % self.schedule.checkpoint_every == 0
            if path is not None and due and step + 1 < self.schedule.steps:
                self._save(path, step + 1, state)
        with torch.no_grad():
            for name, parameter in state.trained.items():
                parameter.copy_(state.averaged[name])
        self.module.eval()

    def _begin(self) -> _State:
        trained = {n: p for n, p in self.module.named_parameters() if p.requires_grad}
        averaged = {name: parameter.detach().clone() for name, parameter in trained.items()}
        decay = self.schedule.weight_decay
        return _State(trained, averaged, torch.optim.AdamW(trained.values(), weight_decay=decay))

    def _step(self, step: int, state: _State) -> float:
        for group in state.optimizer.param_groups:
            group["lr"] = self.schedule.rate(step)
        state.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(Randomness(self.seed, step))
        value = float(loss.detach())
        if not np.isfinite(value):
            raise FloatingPointError(f"loss is {value} at step {step + 1}; lower the learning rate")
        loss.backward()  # type: ignore[no-untyped-call]
        active = [p for p in state.trained.values() if p.grad is not None]
        nn.utils.clip_grad_norm_(active, self.schedule.gradient_norm)
        state.optimizer.step()
        # A young average would remember the start for long: open it over the first steps.
        keep = min(self.schedule.ema, (1 + step) / (10 + step))
        means = [state.averaged[name] for name in state.trained]
        values = [parameter.detach() for parameter in state.trained.values()]
        torch._foreach_lerp_(means, values, 1 - keep)
        return value

    def _save(self, path: Path, step: int, state: _State) -> None:
        tensors = {f"module.{n}": t for n, t in self.module.state_dict().items()}
        tensors |= {f"averaged.{n}": t for n, t in state.averaged.items()}
        for name, parameter in state.trained.items():
            for key, value in state.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}:{key}"] = value
        checkpoint.write(path, tensors, {**self._identity(), "step": step})

    def _resume(self, path: Path, state: _State) -> int:
        found = checkpoint.read(path)
        for name, wanted in self._identity().items():
            if found.notes.get(name) != wanted:
                raise InputError(
                    f"{path}: an unfinished training of another {name}; go on with the settings "
                    "that it was begun with, or remove it to start over"
                )
        checkpoint.load_weights(self.module, found.part("module"), path)
        for name, tensor in found.part("averaged").items():
            state.averaged[name].copy_(tensor)
        for key, tensor in found.part("optimizer").items():
            name, _, entry = key.rpartition(":")
            state.optimizer.state.setdefault(state.trained[name], {})[entry] = tensor
        return int(found.notes["step"])

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be gone on with."""
        own = {**self.notes, "seed": self.seed, "steps": self.schedule.steps}
        plain: dict[str, Any] = json.loads(json.dumps(own))
        return plain
