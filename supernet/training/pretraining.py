"""From nothing to a trained supernet: the image U-Net on frames, then temporal blocks on clips."""

import copy
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces import Architecture, InputError, TemporalSpace
from supernet import checkpoint
from supernet.backbones.backbone import Backbone
from supernet.backbones.building import build_backbone
from supernet.backbones.diffusers_io import open_backbone
from supernet.data.loading import DIGITS, load_clips
from supernet.data.provenance import MADE_WITH, made_with
from supernet.networks.supernet import Supernet
from supernet.networks.video_unet import VideoUNet
from supernet.training.batches import draw_batch
from supernet.training.execution import Execution
from supernet.training.minibatches import squared_error
from supernet.training.optimizer import OptimizerName
from supernet.training.recipes import Recipe, recipe_name, step_losses, uniform
from supernet.training.training import OnStep, Randomness, Schedule, Trainer, state_path
from supernet.training.workers import Workers

BACKBONE, SUPERNET, NETWORK = "backbone", "supernet", "network"
EXECUTION = Execution()


@dataclass(frozen=True)
class TrainingPlan:
    """What the two trainings are; the defaults fit a laptop's few minutes.

    Many steps on few clips bring small networks further in the same time than few steps on many;
    and what is asked for is learned from images, of which a step sees as many different ones as
    clips have frames.
    """

    image_steps: int = 1800
    image_clips: int = 4  # a clip's frames are that many images
    video_steps: int = 2000  # passes: a step of one path is one, whatever the recipe
    video_clips: int = 4
    images: float = 0.0  # share of the video steps that see clips of one frame
    freeze_backbone: bool = False
    averaged: bool = True  # whether an average over the training is kept, not its last weights
    optimizer: OptimizerName = "muon"
    learning_rate: float = 3e-3
    data: str = DIGITS
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.images < 1:
            raise InputError(f"the share of images must be from 0 to under 1; found {self.images}")

    def schedule(self, passes: int) -> Schedule:
        """The schedule of one of the trainings."""
        found = Schedule(passes, self.optimizer, self.learning_rate)
        return found if self.averaged else replace(found, ema=None)


def train_backbone(
    space: TemporalSpace,
    plan: TrainingPlan,
    path: Path,
    on_step: OnStep | None = None,
    execution: Execution = EXECUTION,
) -> Backbone:
    """Train the image U-Net on single frames, or go on where `path` was left; weights go there."""
    data, workers = load_clips(plan.data, space.unet, "train"), Workers.here()
    wanted = workers.share(plan.image_clips)
    torch.manual_seed(plan.seed)
    backbone = build_backbone(space.unet)

    def losses(randomness: Randomness) -> Iterator[Tensor]:
        batch = draw_batch(data, plan.image_clips, randomness, images=True, wanted=wanted)
        batch = batch.to(execution.device)
        images_NCHW = batch.noisy.squeeze(2)
        found_NCHW = backbone(images_NCHW, batch.time_B, batch.context_BLC)
        yield squared_error(found_NCHW, batch.velocity.squeeze(2))

    notes = {**_notes(space, BACKBONE), "clips": plan.image_clips, "data": plan.data}
    schedule = plan.schedule(plan.image_steps)
    trainer = Trainer(backbone, losses, schedule, plan.seed, notes, execution, workers)
    trainer.run(state_path(path), on_step)
    _finish(path, backbone.state_dict(), notes)
    return backbone


def train_supernet(
    space: TemporalSpace,
    backbone: Backbone,
    plan: TrainingPlan,
    path: Path,
    on_step: OnStep | None = None,
    recipe: Recipe = uniform,
    execution: Execution = EXECUTION,
) -> Supernet:
    """Inflate the image U-Net and train the temporal blocks on clips; weights go to `path`.

    A share of the steps may see images: clips of one frame, on the paths that the recipe takes
    anyway. Temporal blocks act on them too, as they will when the found network draws an image.
    """
    data, workers = load_clips(plan.data, space.unet, "train"), Workers.here()
    wanted = workers.share(plan.video_clips)
    torch.manual_seed(plan.seed + 1)
    supernet = Supernet(space, copy.deepcopy(backbone))
    supernet.backbone.requires_grad_(not plan.freeze_backbone)

    def losses(randomness: Randomness) -> Iterable[Tensor]:
        images = randomness.happens(plan.images)
        batch = draw_batch(data, plan.video_clips, randomness, images=images, wanted=wanted)
        return step_losses(recipe, supernet, batch.to(execution.device), randomness)

    notes = {
        **_notes(space, SUPERNET),
        "clips": plan.video_clips,
        "images": plan.images,
        "data": plan.data,
        "frozen backbone": plan.freeze_backbone,
        "recipe": recipe_name(recipe),
    }
    schedule = plan.schedule(plan.video_steps)
    trainer = Trainer(supernet, losses, schedule, plan.seed + 1, notes, execution, workers)
    trainer.run(state_path(path), on_step)
    _finish(path, supernet.state_dict(), notes | {MADE_WITH: made_with(data, space.unet)})
    return supernet


def train_network(
    network: VideoUNet,
    space: TemporalSpace,
    architecture: Architecture,
    plan: TrainingPlan,
    steps: int,
    path: Path,
    on_step: OnStep | None = None,
    schedule: Schedule | None = None,
) -> VideoUNet:
    """Fine-tune one network on clips by itself, from the weights that it has; all of it learns.

    Goes on where `path` was left, and answers from it where the same training was finished. The
    plan's schedule, unless another is given.
    """
    data = load_clips(plan.data, space.unet, "train")
    notes = {
        **_notes(space, NETWORK),
        "architecture": architecture.to_json(),
        "clips": plan.video_clips,
        "data": plan.data,
        "steps": steps,
    }
    if path.exists():
        found = _read(path, NETWORK)
        if found.notes.items() >= json.loads(json.dumps(notes)).items():
            checkpoint.load_weights(network, found.tensors, path)
            return network.eval()

    def losses(randomness: Randomness) -> Iterator[Tensor]:
        batch = draw_batch(data, plan.video_clips, randomness)
        velocity = network(batch.noisy, batch.time_B, batch.context_BLC)
        yield squared_error(velocity, batch.velocity)

    trainer = Trainer(network, losses, schedule or plan.schedule(steps), plan.seed + 2, notes)
    trainer.run(state_path(path), on_step)
    _finish(path, network.state_dict(), notes)
    return network


def load_backbone(path: Path, space: TemporalSpace) -> Backbone:
    """A trained image U-Net, or one in a folder of diffusers; InputError at another shape."""
    if path.is_dir():
        return open_backbone(path, space.unet)
    found = _read(path, BACKBONE)
    if not checkpoint.backbone_fits(space.unet, found.notes):
        raise InputError(f"{path}: was trained at another shape than space {space.name!r} has")
    backbone = build_backbone(space.unet)
    checkpoint.load_weights(backbone, found.tensors, path)
    return backbone.eval()


def load_supernet(path: Path, space: TemporalSpace) -> Supernet:
    """A trained supernet; InputError if it was trained for another space."""
    found = _read(path, SUPERNET)
    checkpoint.check_space(found.notes, space, path)
    supernet = Supernet(space)
    checkpoint.load_weights(supernet, found.tensors, path)
    return supernet.eval()


def _read(path: Path, kind: str) -> checkpoint.Checkpoint:
    found = checkpoint.read(path)
    if found.notes.get("holds") != kind:
        raise InputError(f"{path}: holds a {found.notes.get('holds')}, not a {kind}")
    return found


def _notes(space: TemporalSpace, kind: str) -> dict[str, Any]:
    return {"holds": kind, "space": space.to_json()}


def _finish(path: Path, weights: dict[str, Tensor], notes: dict[str, Any]) -> None:
    if Workers.here().rank != 0:
        return
    checkpoint.write(path, weights, notes)
    state_path(path).unlink(missing_ok=True)
