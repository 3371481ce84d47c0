"""Supernets of temporal blocks on an image U-Net, and of a user's own; the public API."""

from supernet.autoencoders.contract import Autoencoder
from supernet.autoencoders.opening import open_autoencoder
from supernet.backbones.backbone import Backbone, ImageUNet
from supernet.backbones.building import build_backbone
from supernet.backbones.diffusers_io import open_backbone, save_backbone
from supernet.data.clips import Clips, ClipSource
from supernet.data.digits import MovingDigits
from supernet.data.latents import LatentFolder
from supernet.data.loading import load_clips
from supernet.data.video_folder import VideoFolder
from supernet.evaluation.evaluation import Validation
from supernet.evaluation.racing import tell_apart
from supernet.networks.supernet import Supernet
from supernet.networks.video_unet import DownFeatures, VideoUNet, parameter_count
from supernet.operators import TemporalOperator
from supernet.training.execution import Execution
from supernet.training.minibatches import Minibatches
from supernet.training.path_training import load_paths, train_paths
from supernet.training.paths import PathPolicy, Paths
from supernet.training.pretraining import (
    TrainingPlan,
    load_backbone,
    load_supernet,
    train_backbone,
    train_network,
    train_supernet,
)
from supernet.training.recipes import path_loss, sampled
from supernet.training.training import Randomness, Schedule

__all__ = [
    "Autoencoder",
    "Backbone",
    "ClipSource",
    "Clips",
    "DownFeatures",
    "Execution",
    "ImageUNet",
    "LatentFolder",
    "Minibatches",
    "MovingDigits",
    "PathPolicy",
    "Paths",
    "Randomness",
    "Schedule",
    "Supernet",
    "TemporalOperator",
    "TrainingPlan",
    "Validation",
    "VideoFolder",
    "VideoUNet",
    "build_backbone",
    "load_backbone",
    "load_clips",
    "load_paths",
    "load_supernet",
    "open_autoencoder",
    "open_backbone",
    "parameter_count",
    "path_loss",
    "sampled",
    "save_backbone",
    "tell_apart",
    "train_backbone",
    "train_network",
    "train_paths",
    "train_supernet",
]
