"""Trainings as stages that show progress and pick up where they were left."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from nas.progress import Progress
from search_spaces import Architecture, TemporalSpace
from supernet import (
    Supernet,
    TrainingPlan,
    VideoUNet,
    load_backbone,
    load_supernet,
    train_backbone,
    train_network,
    train_supernet,
)
from supernet.training.execution import Execution
from supernet.training.recipes import Recipe
from supernet.training.training import OnStep

EXECUTION = Execution()
IMAGE_STAGE, VIDEO_STAGE = "train the image U-Net", "train the supernet"
WINNER_STAGE = "train the winner on"


# Told of a stage's progress: its name, finished steps, the loss.
OnLoss = Callable[[str, int, float], None]


def trained_supernet(
    space: TemporalSpace,
    plan: TrainingPlan,
    recipe: Recipe,
    backbone_file: Path,
    supernet_file: Path,
    progress: Progress,
    timed: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    execution: Execution = EXECUTION,
    on_loss: OnLoss = lambda *_: None,
) -> Supernet:
    """The image U-Net, then the supernet; each from its file where it was trained before.

    `backbone_file` may also be a folder of diffusers, which is opened.

    Raises:
        InputError: a file that is there was trained for another space, or is damaged.
    """
    if backbone_file.exists():
        progress.skip(IMAGE_STAGE, "trained before")
        backbone = load_backbone(backbone_file, space)
    else:
        with timed(IMAGE_STAGE), progress.stage(IMAGE_STAGE, plan.image_steps) as advance:
            backbone = train_backbone(
                space, plan, backbone_file, _both(advance, IMAGE_STAGE, on_loss), execution
            )
    if supernet_file.exists():
        progress.skip(VIDEO_STAGE, "trained before")
        return load_supernet(supernet_file, space)
    with timed(VIDEO_STAGE), progress.stage(VIDEO_STAGE, plan.video_steps) as advance:
        return train_supernet(
            space, backbone, plan, supernet_file, _both(advance, VIDEO_STAGE, on_loss), recipe,
            execution,
        )  # fmt: skip


def _both(advance: Callable[[int], None], stage: str, on_loss: OnLoss) -> OnStep:
    def tell(done: int, loss: float) -> None:
        advance(done)
        on_loss(stage, done, loss)

    return tell


def trained_network(
    network: VideoUNet,
    space: TemporalSpace,
    architecture: Architecture,
    plan: TrainingPlan,
    steps: int,
    file: Path,
    progress: Progress,
    timed: Callable[[str], AbstractContextManager[None]],
) -> VideoUNet:
    """One network of a supernet, fine-tuned by itself."""
    with timed(WINNER_STAGE), progress.stage(WINNER_STAGE, steps) as advance:
        return train_network(
            network, space, architecture, plan, steps, file, lambda done, _: advance(done)
        )
