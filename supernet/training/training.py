"""One training loop for image U-Nets and supernets: Muon or AdamW, EMA, checkpoints, exact resume.

All that a step draws at random (clips, noise, times, architectures) follows from (seed, step), so
an interrupted run that resumes sees what an uninterrupted one would have seen.

The budget of a training is counted in passes: one pass is one network forward and back on one
batch. A step, one change of the weights, may take several.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces import InputError
from supernet import checkpoint
from supernet.training.averaging import MovingAverage
from supernet.training.execution import Execution, executed
from supernet.training.optimizer import Optimizer, OptimizerName
from supernet.training.workers import Workers

# The losses of one step, one a pass. Each is differentiated before the next is asked for, so that
# the activations of one pass at a time are alive; the step follows the gradient of their mean.
StepLosses = Callable[["Randomness"], Iterable[Tensor]]
OnStep = Callable[[int, float], None]
FORMERLY = {"optimizer": "adamw"}  # of checkpoints that do not say


@dataclass(frozen=True)
class Randomness:
    """What a step may depend on: where it stands in the training, and its own random state."""

    seed: int
    step: int
    progress: float = 0.0  # the share of the training's passes that were done before

    def clip_seed(self, index: int) -> int:
        """Seeds one clip of the step's batch."""
        return int(self._sequence(0, index).generate_state(1)[0])

    def torch(self) -> torch.Generator:
        """Noise, times and dropped contexts."""
        return torch.Generator().manual_seed(int(self._sequence(1).generate_state(1)[0]))

    def numpy(self) -> np.random.Generator:
        """Architectures."""
        return np.random.default_rng(self._sequence(2))

    def happens(self, probability: float) -> bool:
        """Whether something of this probability happens at this step."""
        return bool(np.random.default_rng(self._sequence(3)).random() < probability)

    def module_seed(self, rank: int) -> int:
        """Seeds what modules draw by themselves (dropout) at this step, on one of the workers."""
        return int(self._sequence(4, rank).generate_state(1)[0])

    def of_training(self, *key: int) -> np.random.Generator:
        """What several steps must agree on: the same for the same key, whichever step asks."""
        return np.random.default_rng(np.random.SeedSequence((self.seed, *key), spawn_key=(1,)))

    def _sequence(self, *key: int) -> np.random.SeedSequence:
        return np.random.SeedSequence((self.seed, self.step, *key))


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    passes: int
    optimizer: OptimizerName = "adamw"
    learning_rate: float = 2e-3
    warmup_passes: int = 50
    weight_decay: float = 0.01
    ema: float | None = 0.995  # None: no averages, which take as much memory as the weights
    gradient_norm: float = 1.0
    checkpoint_every: int = 50  # passes
    final_share: float = 0.1  # of the learning rate, at the end

    def rate(self, done: int) -> float:
        """Linear warm-up, then a cosine down to the final share; `done` counts passes."""
        warm = min(1.0, (done + 1) / self.warmup_passes)
        progress = min(1.0, done / self.passes)
        half = (1 - self.final_share) / 2
        cosine = 1 + float(np.cos(np.pi * progress))
        return self.learning_rate * warm * (self.final_share + half * cosine)


@dataclass(frozen=True)
class _State:
    """What a training changes, beside the module's other buffers."""

    trained: dict[str, nn.Parameter]
    average: MovingAverage | None
    optimizer: Optimizer


@dataclass(frozen=True)
class _Position:
    """How far a training has come."""

    step: int = 0
    done: int = 0  # passes


@dataclass(frozen=True)
class Trainer:
    """Trains the parameters that require a gradient; leaves the averaged weights in the module.

    A step costs what its path costs: a parameter that it does not use gets no gradient, no
    optimizer state and no average, and is not looked at.
    """

    module: nn.Module
    losses: StepLosses
    schedule: Schedule
    seed: int
    notes: dict[str, Any] = field(default_factory=dict)
    execution: Execution = field(default_factory=Execution)
    workers: Workers = field(default_factory=Workers)

    def run(self, path: Path | None = None, on_step: OnStep | None = None) -> None:
        """Train to the end of the schedule, from the checkpoint at `path` where there is one.

        Args:
            path: where the training state is kept; None keeps nothing.
            on_step: called after each step with the number of finished passes and the loss.

        Raises:
            InputError: the checkpoint belongs to another run, or a step had no loss.
            FloatingPointError: a loss is not finite; the last good checkpoint stays.
        """
        for done, loss in self.steps(path):
            if on_step is not None:
                on_step(done, loss)

    def steps(self, path: Path | None = None) -> Iterator[tuple[int, float]]:
        """As `run`, a step whenever one is asked for: finished passes, and the step's loss.

        The last step may pass the end of the schedule by less than its own length.
        """
        with executed(self.module, self.execution):
            yield from self._steps(path)

    def _steps(self, path: Path | None) -> Iterator[tuple[int, float]]:
        self.workers.spread([*self.module.parameters(), *self.module.buffers()])
        state, schedule = self._begin(), self.schedule
        at = self._resume(path, state) if path is not None and path.exists() else _Position()
        complaint = f"{path}: not all workers find the same; it must lie where all of them see it"
        self.workers.agree(at.step, self.execution.device, complaint)
        self.module.train()
        while at.done < schedule.passes:
            before, (loss, at) = at, self._step(at, state)
            yield min(at.done, schedule.passes), loss
            every = schedule.checkpoint_every
            due = at.done // every > before.done // every and at.done < schedule.passes
            if path is not None and due and self.workers.rank == 0:
                self._save(path, at, state)
        if state.average is not None:
            state.average.finish(state.trained, at.done)
        self.module.eval()

    def _begin(self) -> _State:
        trained = {n: p for n, p in self.module.named_parameters() if p.requires_grad}
        if not trained:
            raise InputError("nothing to train: all parameters are frozen")
        schedule = self.schedule
        average = MovingAverage(schedule.ema, schedule.passes) if schedule.ema else None
        optimizer = Optimizer(trained, schedule.optimizer, schedule.weight_decay)
        return _State(trained, average, optimizer)

    def _step(self, at: _Position, state: _State) -> tuple[float, _Position]:
        values = []
        for loss in self._computed(Randomness(self.seed, at.step, at.done / self.schedule.passes)):
            _check_scalar(loss)
            values.append(loss.detach().reshape(()))
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
        if not values:
            raise InputError(f"step {at.step + 1} of the training has no loss; yield at least one")
        used = {name: p for name, p in state.trained.items() if p.grad is not None}
        gradients = [p.grad for p in used.values() if p.grad is not None]
        mean = torch.stack(values).mean()
        self.workers.average([mean, *gradients])
        value = float(mean)
        if not np.isfinite(value):
            raise FloatingPointError(
                f"loss is {value} at step {at.step + 1}; lower the learning rate"
            )
        if len(values) > 1:
            torch._foreach_div_(gradients, len(values))
        nn.utils.clip_grad_norm_(used.values(), self.schedule.gradient_norm)
        self._change(used, at, state, passes=len(values))
        return value, _Position(at.step + 1, at.done + len(values))

    def _computed(self, randomness: Randomness) -> Iterator[Tensor]:
        """The step's losses, computed in the precision of the execution, differentiated outside."""
        losses = iter(self.losses(randomness))
        while True:
            with self.execution.precision():
                loss = next(losses, None)
            if loss is None:
                return
            yield loss

    def _change(
        self, used: dict[str, nn.Parameter], at: _Position, state: _State, passes: int
    ) -> None:
        if state.average is not None:
            state.average.before(used, at.done)
        state.optimizer.step(self.schedule.rate(at.done))
        if state.average is not None:
            state.average.after(used, at.done + passes)
        for parameter in used.values():
            parameter.grad = None

    def _save(self, path: Path, at: _Position, state: _State) -> None:
        tensors = {f"module.{n}": t for n, t in self.module.state_dict().items()}
        ages: dict[str, int] = {}
        if state.average is not None:
            tensors |= {f"averaged.{n}": t for n, t in state.average.tensors.items()}
            ages = state.average.ages
        tensors |= {f"optimizer.{key}": value for key, value in state.optimizer.state().items()}
        position = {"step": at.step, "passes done": at.done, "ages": ages}
        checkpoint.write(path, tensors, {**self._identity(), **position})

    def _resume(self, path: Path, state: _State) -> _Position:
        found = checkpoint.read(path)
        for name, wanted in self._identity().items():
            if found.notes.get(name, FORMERLY.get(name)) != wanted:
                raise InputError(
                    f"{path}: an unfinished training of another {name}; go on with the settings "
                    "that it was begun with, or remove it to start over"
                )
        checkpoint.load_weights(self.module, found.part("module"), path)
        if state.average is not None:
            for name, tensor in found.part("averaged").items():
                state.average.tensors[name] = tensor.to(state.trained[name])
            state.average.ages.update(found.notes["ages"])
        state.optimizer.restore(found.part("optimizer"))
        return _Position(int(found.notes["step"]), int(found.notes["passes done"]))

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be gone on with."""
        own = {
            **self.notes,
            "seed": self.seed,
            "passes": self.schedule.passes,
            "optimizer": self.schedule.optimizer,
            "ema": self.schedule.ema,
            "bf16": self.execution.bf16,
        }
        plain: dict[str, Any] = json.loads(json.dumps(own))
        return plain


def state_path(path: Path) -> Path:
    """Where an unfinished training keeps its state, beside what it will write."""
    return path.with_name(f"{path.stem}.training.safetensors")


def _check_scalar(loss: object) -> None:
    if not isinstance(loss, Tensor):
        raise InputError(f"a loss must be a tensor of one number; found a {type(loss).__name__}")
    if loss.numel() != 1:
        raise InputError(f"a loss must be one number; found a tensor of shape {tuple(loss.shape)}")
