"""Supernets of temporal blocks on an image U-Net; what is exported here is the public API."""

from supernet.autoencoder import Autoencoder, open_autoencoder
from supernet.backbone import Backbone, ImageUNet
from supernet.backbones import build_backbone
from supernet.clips import Clips, ClipSource
from supernet.data import load_clips
from supernet.diffusers_io import open_backbone, save_backbone
from supernet.digits import MovingDigits
from supernet.evaluation import Validation
from supernet.latents import LatentFolder
from supernet.operators import TemporalOperator
from supernet.pretraining import (
    TrainingPlan,
    load_backbone,
    load_supernet,
    train_backbone,
    train_supernet,
)
from supernet.supernet import Supernet
from supernet.telling_apart import tell_apart
from supernet.video_folder import VideoFolder
from supernet.video_unet import DownFeatures, VideoUNet, parameter_count

__all__ = [
    "Autoencoder",
    "Backbone",
    "ClipSource",
    "Clips",
    "DownFeatures",
    "ImageUNet",
    "LatentFolder",
    "MovingDigits",
    "Supernet",
    "TemporalOperator",
    "TrainingPlan",
    "Validation",
    "VideoFolder",
    "VideoUNet",
    "build_backbone",
    "load_backbone",
    "load_clips",
    "load_supernet",
    "open_autoencoder",
    "open_backbone",
    "parameter_count",
    "save_backbone",
    "tell_apart",
    "train_backbone",
    "train_supernet",
]
