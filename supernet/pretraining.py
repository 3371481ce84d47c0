"""From nothing to a trained supernet: the image U-Net on frames, then temporal blocks on clips."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from search_spaces import InputError, TemporalSpace
from supernet import checkpoint
from supernet.backbone import ImageUNet
from supernet.digits import MovingDigits
from supernet.flow_matching import drop_context, logit_normal_times, velocity_loss
from supernet.recipes import CONTEXT_DROPPED, Recipe, draw_batch, uniform
from supernet.supernet import Supernet
from supernet.training import OnStep, Randomness, Schedule, Trainer

BACKBONE, SUPERNET = "backbone", "supernet"


@dataclass(frozen=True)
class TrainingPlan:
    """Sizes of the two trainings; the defaults fit a laptop's few minutes."""

    image_steps: int = 400
    image_clips: int = 8  # a clip's frames are that many images
    video_steps: int = 760
    video_clips: int = 8
    freeze_backbone: bool = False
    seed: int = 0


def train_backbone(
    space: TemporalSpace, plan: TrainingPlan, path: Path, on_step: OnStep | None = None
) -> ImageUNet:
    """Train the image U-Net on single frames, or go on where `path` was left; weights go there."""
    data = MovingDigits(space.unet, "train")
    torch.manual_seed(plan.seed)
    backbone = ImageUNet(space.unet)

    def loss(randomness: Randomness) -> Tensor:
        generator = randomness.torch()
        clips = data.clips(plan.image_clips, randomness.data_seed)
        images = rearrange(clips.x_BCTHW, "b c t h w -> (b t) c h w")
        context = clips.context_BLC.repeat_interleave(space.unet.frames, dim=0)
        return velocity_loss(
            backbone,
            images,
            torch.randn(images.shape, generator=generator),
            logit_normal_times(len(images), generator),
            drop_context(context, CONTEXT_DROPPED, generator),
        ).mean()

    notes = {**_notes(space, BACKBONE), "clips": plan.image_clips}
    Trainer(backbone, loss, Schedule(plan.image_steps), plan.seed, notes).run(
        state_path(path), on_step
    )
    _finish(path, backbone.state_dict(), notes)
    return backbone


def train_supernet(
    space: TemporalSpace,
    backbone: ImageUNet,
    plan: TrainingPlan,
    path: Path,
    on_step: OnStep | None = None,
    recipe: Recipe = uniform,
) -> Supernet:
    """Inflate the image U-Net and train the temporal blocks on clips; weights go to `path`."""
    data = MovingDigits(space.unet, "train")
    torch.manual_seed(plan.seed + 1)
    supernet = Supernet(space)
    supernet.backbone.load_state_dict(backbone.state_dict())
    supernet.backbone.requires_grad_(not plan.freeze_backbone)

    def loss(randomness: Randomness) -> Tensor:
        batch = draw_batch(data, plan.video_clips, randomness)
        return recipe(supernet, batch, randomness.numpy())

    notes = {
        **_notes(space, SUPERNET),
        "clips": plan.video_clips,
        "frozen backbone": plan.freeze_backbone,
        "recipe": getattr(recipe, "__qualname__", str(recipe)),
    }
    Trainer(supernet, loss, Schedule(plan.video_steps), plan.seed + 1, notes).run(
        state_path(path), on_step
    )
    _finish(path, supernet.state_dict(), notes)
    return supernet


def state_path(path: Path) -> Path:
    """Where an unfinished training keeps its state, beside what it will write."""
    return path.with_name(f"{path.stem}.training.safetensors")


def load_backbone(path: Path, space: TemporalSpace) -> ImageUNet:
    """A trained image U-Net; InputError if it was trained at another shape."""
    found = _read(path, BACKBONE)
    if not checkpoint.backbone_fits(space.unet, found.notes):
        raise InputError(f"{path}: was trained at another shape than space {space.name!r} has")
    backbone = ImageUNet(space.unet)
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
    checkpoint.write(path, weights, notes)
    state_path(path).unlink(missing_ok=True)
