"""The trainings of `nas train` and `nas search`, and networks trained as their winner is: whole.

Each job trains and judges, and leaves the losses of its clips; none is done twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ranking_work import Exam, judged, keep

from nas.temporal.halving import schedule_of
from supernet import (
    TrainingPlan,
    VideoUNet,
    load_backbone,
    load_supernet,
    train_backbone,
    train_network,
    train_supernet,
)
from supernet.training.recipes import load_recipe

REFERENCE_SEED = 1000  # no supernet has seen the batches of the networks that it is held against


@dataclass(frozen=True)
class Setting:
    """How a supernet is trained, beside the default plan."""

    passes: int
    recipe: str = "uniform"
    frozen: bool = False

    def __str__(self) -> str:
        return f"{self.recipe}_{self.passes}{'_frozen' if self.frozen else ''}"


@dataclass(frozen=True)
class Finalist:
    """How long a network goes on by itself from the weights that a supernet gave it."""

    supernet: Setting
    passes: int

    def __str__(self) -> str:
        return f"{self.supernet}_then_{self.passes}"


@dataclass(frozen=True)
class WholeExam:
    """What the default setting is judged by."""

    exam: Exam  # whose architectures, data and folder
    image_passes: int
    passes: Sequence[int]  # of each network by itself: trained once for each
    judged_clips: int
    scored_clips: int  # of a supernet's path and of a finalist: the first of the same clips

    @property
    def backbone(self) -> Path:
        return self.exam.folder / "whole.backbone.safetensors"

    def network(self, passes: int, index: int, seed: int) -> Path:
        return self.exam.folder / f"whole-{passes}-{index}-{seed}.npy"

    def supernet(self, setting: Setting, seed: int) -> Path:
        return self.exam.folder / f"default-{setting}-{seed}.safetensors"

    def losses(self, setting: Setting, seed: int) -> Path:
        return self.supernet(setting, seed).with_suffix(".npy")

    def finalist(self, finalist: Finalist, index: int, seed: int) -> Path:
        return self.exam.folder / f"finalist-{finalist}-{index}-{seed}.npy"

    def plan(self, seed: int) -> TrainingPlan:
        return TrainingPlan(image_steps=self.image_passes, data=self.exam.data, seed=seed)


def train_image_whole(whole: WholeExam) -> None:
    """The image U-Net of the default plan."""
    train_backbone(whole.exam.space, whole.plan(0), whole.backbone)


def judge_whole(whole: WholeExam, passes: int, index: int, seed: int) -> None:
    """One architecture trained by itself with its image U-Net, as the product trains a winner."""
    space, plan = whole.exam.space, whole.plan(REFERENCE_SEED + seed)
    architecture = whole.exam.architectures()[index]
    torch.manual_seed(plan.seed)
    network = VideoUNet(space, architecture)
    network.backbone.load_state_dict(load_backbone(whole.backbone, space).state_dict())
    path = whole.network(passes, index, seed)
    weights = path.with_suffix(".safetensors")
    train_network(network, space, architecture, plan, passes, weights)
    keep(path, judged(whole.exam, network, whole.judged_clips))
    weights.unlink()


def judge_default(whole: WholeExam, setting: Setting, seed: int) -> None:
    """A supernet of the default plan, but for its setting; the losses of all paths."""
    space, path = whole.exam.space, whole.supernet(setting, seed)
    plan = replace(whole.plan(seed), video_steps=setting.passes, freeze_backbone=setting.frozen)
    if not path.exists():
        backbone = load_backbone(whole.backbone, space)
        train_supernet(space, backbone, plan, path, recipe=load_recipe(setting.recipe))
    supernet = load_supernet(path, space)
    paths = [supernet.path(each) for each in whole.exam.architectures()]
    found = [judged(whole.exam, each, whole.scored_clips) for each in paths]
    keep(whole.losses(setting, seed), np.stack(found))


def judge_finalist(whole: WholeExam, finalist: Finalist, index: int, seed: int) -> None:
    """One network of a supernet, trained on by itself for a while, as a search's finalists are."""
    space, architecture = whole.exam.space, whole.exam.architectures()[index]
    # Trainings of other lengths see other batches, and none sees those of a reference.
    plan = whole.plan(seed + finalist.passes)
    supernet = load_supernet(whole.supernet(finalist.supernet, seed), space)
    path = whole.finalist(finalist, index, seed)
    weights = path.with_suffix(".safetensors")
    network = train_network(
        supernet.extract(architecture),
        space,
        architecture,
        plan,
        finalist.passes,
        weights,
        schedule=schedule_of(plan, finalist.passes),
    )
    keep(path, judged(whole.exam, network, whole.scored_clips))
    weights.unlink()
