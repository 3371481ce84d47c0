"""Train the small autoencoder on a folder of videos."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces import UNetShape
from supernet import checkpoint
from supernet.autoencoders.autoencoder import CHANNELS, FACTOR, KIND, ImageAutoencoder
from supernet.autoencoders.contract import Autoencoder
from supernet.data.clips import ClipSource
from supernet.data.splits import Split
from supernet.data.video_folder import VideoFolder
from supernet.training.training import OnStep, Randomness, Schedule, Trainer, state_path

STEPS = 1200
CLIPS, FRAMES = 4, 4  # of a step: a patch of each frame; frames of one clip are decoded together
PATCH = 64  # pixels
WHITENING_STEPS = 32
JUDGED_CLIPS = 12


def training_frames(videos: Path, height: int, width: int, split: Split) -> VideoFolder:
    """RGB frames as `nas encode` would see them at latents of height x width.

    Raises:
        InputError: no such folder, or no video of it leaves `FRAMES` frames to the split.
    """
    shape = UNetShape(3, (8,), FRAMES, height * FACTOR, width * FACTOR, 1, 1)
    return VideoFolder(videos, shape, split)


def train_autoencoder(
    frames: ClipSource,
    path: Path,
    steps: int = STEPS,
    advance: OnStep | None = None,
    seed: int = 0,
    notes: Mapping[str, Any] = MappingProxyType({}),
) -> ImageAutoencoder:
    """Train on patches of frames, or go on where `path` was left; the weights go there.

    Args:
        frames: RGB clips in [-1, 1], of which each frame gives a patch.
        path: what is written at the end; an unfinished training is kept beside it.
        steps: changes of the weights.
        advance: called after each step with the number of finished steps and the loss.
        seed: of everything that is drawn at random.
        notes: what the frames are; an unfinished training of others is refused.

    Raises:
        InputError: what stands beside `path` was begun with other settings.
    """
    torch.manual_seed(seed)
    autoencoder = ImageAutoencoder()

    def losses(randomness: Randomness) -> Iterator[Tensor]:
        x_NCHW = _patches(frames, randomness)
        side_h, side_w = (pixels // FACTOR for pixels in x_NCHW.shape[-2:])
        noise = torch.randn((len(x_NCHW), CHANNELS, side_h, side_w), generator=randomness.torch())
        yield F.l1_loss(autoencoder(x_NCHW, noise), x_NCHW)

    notes = {**notes, "holds": KIND, "patch": PATCH}
    schedule = Schedule(steps)
    Trainer(autoencoder, losses, schedule, seed, notes).run(state_path(path), advance)
    _whiten(autoencoder, frames, seed)
    checkpoint.write(path, autoencoder.state_dict(), {**notes, "steps": steps, "seed": seed})
    state_path(path).unlink(missing_ok=True)
    return autoencoder.requires_grad_(requires_grad=False)


def psnr_db(autoencoder: Autoencoder, frames: ClipSource, clips: int = JUDGED_CLIPS) -> float:
    """How near decoded frames are to the originals: the mean over frames, in decibels."""
    found = []
    for number in range(clips):
        x_NCHW = frames.clips(1, number).x_BCTHW[0].movedim(0, 1)
        error = (autoencoder.decode(autoencoder.encode(x_NCHW)) - x_NCHW).square().flatten(1)
        found += [10 * math.log10(4 / max(1e-10, float(mean))) for mean in error.mean(1)]
    return sum(found) / len(found)


def _patches(frames: ClipSource, randomness: Randomness) -> Tensor:
    """A patch of each frame of a step's clips (N, 3, H, W), from a place of its own."""
    rng, patches = randomness.numpy(), []
    for index in range(CLIPS):
        x_CTHW = frames.clips(1, randomness.clip_seed(index)).x_BCTHW[0]
        height, width = (min(PATCH, side) for side in x_CTHW.shape[-2:])
        for x_CHW in x_CTHW.unbind(1):
            top = rng.integers(x_CHW.shape[-2] - height + 1)
            left = rng.integers(x_CHW.shape[-1] - width + 1)
            patches.append(x_CHW[:, top : top + height, left : left + width])
    return torch.stack(patches)


@torch.no_grad()
def _whiten(autoencoder: ImageAutoencoder, frames: ClipSource, seed: int) -> None:
    """Measure the latents' mean and variance anew: the averaged weights are not the last step's."""
    autoencoder.whitened.reset_running_stats()
    autoencoder.whitened.momentum = None  # the plain mean of all
    autoencoder.train()
    for step in range(WHITENING_STEPS):
        autoencoder.latents(_patches(frames, Randomness(seed + 1, step)))
    autoencoder.eval()
