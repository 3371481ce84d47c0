"""Train the paths of any supernet: a module whose forward takes an architecture of any space."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from search_spaces import InputError, SearchSpace
from supernet import checkpoint
from supernet.training.execution import Execution
from supernet.training.minibatches import Minibatches, Pair, mapped, squared_error
from supernet.training.paths import Criterion, PathPolicy, Paths
from supernet.training.recipes import Recipe, curriculum, load_recipe, recipe_name, step_losses
from supernet.training.training import OnStep, Randomness, Schedule, Trainer, state_path
from supernet.training.workers import Workers

PATHS = "supernet of a user's own"
Module = TypeVar("Module", bound=nn.Module)


def train_paths(
    module: Module,
    space: SearchSpace,
    batches: Minibatches,
    criterion: Criterion,
    path: Path,
    schedule: Schedule,
    *,
    recipe: str | Recipe = "uniform",
    seed: int = 0,
    on_step: OnStep | None = None,
    distillation: Criterion = squared_error,
    policy: PathPolicy | None = None,
    execution: Execution | None = None,
    notes: Mapping[str, Any] = MappingProxyType({}),
) -> Module:
    """Train the weights that the paths of a module share; they stay in it, and go to `path`.

    Goes on, to the bit, where a training to `path` was left, and answers from it where the same
    training was finished. In processes that torch.distributed joins (`nas.train_on_workers`) each
    takes its share of every batch, and the first one writes.

    Args:
        module: called as `module(*inputs, architecture)`. Weights that require no gradient stay.
            What its layers draw (dropout) follows from the seed; running statistics of batch norms
            are those of the first worker.
        space: of the architectures.
        batches: what a step sees.
        criterion: (output, target) to one number, as torch's losses are called.
        path: of the weights (safetensors); an unfinished training is kept beside it.
        schedule: passes, optimizer, learning rate. A pass is one path forward and back: a step
            takes as many as the recipe says.
        recipe: by name, as package.module:name, or a callable (supernet, batch, randomness) that
            yields the losses of a step; `supernet` is then a `Paths`.
        seed: of everything that is drawn at random.
        on_step: called after each step with the number of finished passes and the loss.
        distillation: (output, output of the largest path) to one number, of `sandwich`.
        policy: what recipes cannot know of the paths: sizes, orders, what learns.
        execution: precision and device.
        notes: what else was trained on; a training with other notes is refused.

    Raises:
        InputError: the module takes no architecture, a loss is no scalar, nothing learns on a path,
            or what stands at `path` was trained otherwise.
        FloatingPointError: a loss is not finite.
    """
    if not isinstance(space, SearchSpace):
        raise InputError(f"a {type(space).__name__} is no SearchSpace")
    if schedule.passes < 1:
        raise InputError(f"a training needs 1 pass or more; found {schedule.passes}")
    chosen = load_recipe(recipe) if isinstance(recipe, str) else recipe
    execution, workers = execution or Execution(), Workers.here()
    paths = Paths(module, space, criterion, distillation, policy or PathPolicy())
    own = {
        **notes,
        "holds": PATHS,
        "space": space.to_json(),
        "recipe": recipe_name(chosen),
        "examples": batches.size,
        "opening": paths.opening() if chosen is curriculum else None,
        "schedule": {**asdict(schedule), "checkpoint_every": None},
        "seed": seed,
    }
    said: dict[str, Any] = json.loads(json.dumps(own))
    if path.exists():
        return _loaded(module, space, path, said)
    wanted = workers.share(batches.size, "examples")

    def losses(randomness: Randomness) -> Iterable[Tensor]:
        torch.manual_seed(randomness.module_seed(workers.rank))
        drawn = batches.pair(randomness, wanted)
        batch = Pair(*mapped(lambda tensor: tensor.to(execution.device), tuple(drawn)))
        return step_losses(chosen, paths, batch, randomness)

    trainer = Trainer(module, losses, schedule, seed, said, execution, workers)
    with torch.random.fork_rng():
        trainer.run(state_path(path), on_step)
    if workers.rank == 0:
        checkpoint.write(path, module.state_dict(), said)
        state_path(path).unlink(missing_ok=True)
    return module


def load_paths(module: Module, space: SearchSpace, path: Path) -> Module:
    """Load what `train_paths` wrote into a module; InputError at another space or module."""
    return _loaded(module, space, path, {})


def _loaded(module: Module, space: SearchSpace, path: Path, notes: Mapping[str, Any]) -> Module:
    """The module as a training left it; InputError where that has not these notes."""
    found = checkpoint.read(path)
    if found.notes.get("holds") != PATHS:
        raise InputError(f"{path}: holds a {found.notes.get('holds')}, not a {PATHS}")
    checkpoint.check_space(found.notes, space, path)
    for name, wanted in notes.items():
        if found.notes.get(name) != wanted:
            raise InputError(
                f"{path}: was trained with another {name}; give what it was trained with, or "
                "choose another file"
            )
    checkpoint.load_weights(module, found.tensors, path)
    return module.eval()
