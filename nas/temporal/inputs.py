"""What a search's settings name, opened: so that what is misspelt or does not fit is refused."""

from dataclasses import dataclass
from pathlib import Path

from latency import Device
from latency.predictor.shipped import HOST
from nas import strategies
from nas.bundle.made_with import check_supernet, checked
from nas.costs.devices import measured_in
from nas.temporal.settings import Settings
from search_spaces import InputError, TemporalSpace
from search_spaces.files.document import Json
from search_spaces.shipped.loading import load_temporal, load_twin
from supernet import ClipSource, Supernet, load_supernet, open_backbone
from supernet.data.clips import places_of
from supernet.data.loading import load_clips
from supernet.data.provenance import made_with
from supernet.data.splits import Split
from supernet.evaluation.temporal_metrics import Metric, Playback, load_metric
from supernet.training.recipes import Recipe, load_recipe

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Inputs:
    """What settings name.

    Args:
        settings: that name it.
        space: that is searched.
        learned: in which quality is searched: a twin, or the space itself.
        splits: the clips of each split.
        strategy: proposes networks.
        recipe: of the supernet's training.
        metrics: of a user's own, by name.
        supernet: None where it is to be trained.
        device: the main one; None for this machine, which is to be measured.
        others: devices that are predicted beside the main one.
        energy: a device of energies.
    """

    settings: Settings
    space: TemporalSpace
    learned: TemporalSpace
    splits: dict[Split, ClipSource]
    strategy: strategies.Strategy
    recipe: Recipe
    metrics: dict[str, Metric]
    supernet: Supernet | None
    device: Device | None
    others: list[Device]
    energy: Device | None

    @property
    def made_with(self) -> Json:
        """What the clips were made with, as far as they say; InputError where that is damaged."""
        said = made_with(self.splits["train"], self.learned.unet)
        return checked(said, f"data {self.settings.plan.data!r}")

    @property
    def has_twin(self) -> bool:
        """Whether quality is searched in another space than the winner is of."""
        return self.learned is not self.space


def open_inputs(settings: Settings) -> Inputs:
    """Open all that settings name.

    Raises:
        InputError: nothing of such a name, or what does not fit together.
    """
    space = load_temporal(settings.space)
    learned = load_twin(space, settings.learned_space) if settings.learned_space else space
    if settings.device == HOST and learned is not space:
        raise InputError(
            f"space {space.name!r} is searched by a twin because it is large, and measuring all of "
            "its blocks on this machine would take hours; give a `device=`"
        )
    splits = {split: load_clips(settings.plan.data, learned.unet, split) for split in SPLITS}
    _check_enough(splits["validation"], settings.validation_clips)
    metrics = {name: load_metric(name) for name in settings.metrics}
    Playback(splits["test"], clips=2).try_out(metrics)
    if settings.backbone:
        open_backbone(Path(settings.backbone), space.unet)
    assert settings.device is not None
    device = None if settings.device == HOST else measured_in("ms", settings.device)
    if device is not None:
        _check_memory(device, settings)
    found = Inputs(
        settings,
        space,
        learned,
        splits,
        strategies.load_strategy(settings.strategy),
        load_recipe(settings.recipe),
        metrics,
        load_supernet(Path(settings.supernet), learned) if settings.supernet else None,
        device,
        [measured_in("ms", name) for name in settings.other_devices],
        measured_in("mJ", settings.energy) if settings.energy else None,
    )
    if settings.supernet:
        check_supernet(Path(settings.supernet), found.made_with, settings.plan.data)
    return found


def _check_enough(validation: ClipSource, clips: int) -> None:
    """Refuse evaluations on more clips than there are."""
    places = places_of(validation)
    if places is not None and clips > places:
        raise InputError(
            f"`validation_clips={clips}`: the validation split has {places} different clips, and "
            "more would be some of them again; ask for no more, or give longer films"
        )


def _check_memory(device: Device, settings: Settings) -> None:
    """Refuse to search a large space where nobody knows which of its blocks fit."""
    if (
        settings.learned_space
        and device.memory_limit_mb is None
        and settings.budget.memory_mb is None
    ):
        raise InputError(
            f"device {device.name!r} names no memory limit, and some blocks of space "
            f"{settings.space!r} need gigabytes; give `memory_mb=`, or memory_limit_mb "
            "in the device's file"
        )
