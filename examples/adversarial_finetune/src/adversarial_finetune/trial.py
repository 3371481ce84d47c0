"""What a training will take, measured on its first steps: memory by what it is for, and seconds.

What a person checks before renting machines. Nothing is written.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from adversarial_finetune.allocations import Allocations
from adversarial_finetune.learner import Learner
from adversarial_finetune.settings import STAGES, Stage
from adversarial_finetune.stage_two import R1_EVERY, StageTwo
from adversarial_finetune.stages import Stages
from adversarial_finetune.stream import seed_of

STEPS = 3
OnStep = Callable[[Stage, int, int], None]  # how many of how many steps of a stage are made


@dataclass(frozen=True)
class Trial:
    """A stage's first steps, in one process.

    Attributes:
        stage: which.
        parameters_gb: of the networks that learn.
        frozen_gb: of those that judge and teach.
        optimizer_gb: moments.
        averages_gb: of the weights.
        activations_gb: the most that a step takes beside them: activations, and gradients.
        seconds: of each step.
    """

    stage: Stage
    parameters_gb: float
    frozen_gb: float
    optimizer_gb: float
    averages_gb: float
    activations_gb: float
    seconds: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        found = asdict(self)
        return {**found, "total_gb": sum(v for n, v in found.items() if n.endswith("_gb"))}


def try_stage(
    stages: Stages, stage: Stage, steps: int = STEPS, on_step: OnStep = lambda *_: None
) -> Trial:
    """Make the first steps of a stage, with the weights that were searched.

    Args:
        stages: the training.
        stage: which.
        steps: that are timed; one more counts allocations.
        on_step: told after each.
    """
    training = stages.begin(stage, stages.bundle.weights("searched"))
    first, frozen = 0, list[Tensor]()
    if isinstance(training, StageTwo):
        # Past those in which the heads learn alone, and with R1.
        first = -(-training.heads_alone_steps // R1_EVERY) * R1_EVERY
        frozen = [p for n in (training.features, training.teacher) for p in n.module.parameters()]
    seconds = []
    on_step(stage, 0, steps + 1)
    for number in range(first, first + steps):
        seed = seed_of(stages.settings.seed, STAGES.index(stage), number)
        begun = time.perf_counter()
        training.step(number, 1.0, seed)
        seconds.append(time.perf_counter() - begun)
        on_step(stage, len(seconds), steps + 1)
    with Allocations() as watched:  # slower, so in a step of its own
        training.step(first, 1.0, seed_of(stages.settings.seed, STAGES.index(stage), first))
    on_step(stage, steps + 1, steps + 1)
    learners = [each for each in training.parts.values() if isinstance(each, Learner)]
    return Trial(
        stage=stage,
        parameters_gb=_gb(p for each in learners for p in each.module.parameters()),
        frozen_gb=_gb(frozen),
        optimizer_gb=_gb(t for each in learners for t in each.optimizer.state().values()),
        averages_gb=_gb(t for each in learners for t in each.averaged.values()),
        activations_gb=watched.most / 1e9,
        seconds=tuple(seconds),
    )


def in_words(trials: Iterable[Trial]) -> str:
    """A table: a line for each kind of memory, a column for each stage."""
    rows = [each.to_json() for each in trials]
    lines = [f"{'GB in a process':<28}" + "".join(f"{'stage ' + r['stage']:>12}" for r in rows)]
    for name, words in (
        ("parameters_gb", "parameters that learn"),
        ("frozen_gb", "frozen networks"),
        ("optimizer_gb", "optimizer"),
        ("averages_gb", "averages"),
        ("activations_gb", "activations and gradients"),
        ("total_gb", "together"),
    ):
        lines.append(f"{words:<28}" + "".join(f"{row[name]:>12.3f}" for row in rows))
    for step in range(len(rows[0]["seconds"])):
        cells = "".join(f"{row['seconds'][step]:>12.3f}" for row in rows)
        lines.append(f"{f'seconds of step {step + 1}':<28}{cells}")
    return "\n".join(lines)


def _gb(tensors: Iterable[Tensor]) -> float:
    return sum(tensor.nbytes for tensor in tensors) / 1e9
