"""The supernet on clips of moving digits: trained by flow matching, and judged on unseen ones.

    python -m examples.video_dit.training video-dit

trains it in the folder `video-dit`, or goes on there, and prints losses.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from examples.video_dit.space import ABSENT, CLIPS, MIXINGS, SPACE, everywhere
from examples.video_dit.supernet import Supernet
from search_spaces import Architecture
from supernet import (
    ClipSource,
    Minibatches,
    Randomness,
    Schedule,
    Validation,
    load_clips,
    train_paths,
)
from supernet.training.batches import draw_batch, squared_error
from supernet.training.training import OnStep

STEPS, CLIPS_A_STEP = 2100, 4  # a step of `uniform` is one path forward and back
JUDGED_CLIPS = 192


def trained(
    folder: Path,
    steps: int = STEPS,
    recipe: str = "uniform",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Supernet:
    """The supernet as trained in `folder`: from its file, or trained, or trained on from there."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    return train_paths(
        Supernet(),
        SPACE,
        Minibatches(_draw, CLIPS_A_STEP),
        squared_error,
        folder / "supernet.safetensors",
        Schedule(steps, optimizer="muon", learning_rate=1e-2),
        recipe=recipe,
        seed=seed,
        on_step=on_step,
    )


def losses(supernet: Supernet, architecture: Architecture, clips: int = JUDGED_CLIPS) -> Tensor:
    """The validation loss of a path clip by clip: all see the same clips, noise and times."""
    return _validation().losses(supernet.path(architecture), 0, clips)


def evaluate(supernet: Supernet, architecture: Architecture, clips: int = JUDGED_CLIPS) -> float:
    """The validation loss of a path."""
    return float(losses(supernet, architecture, clips).mean())


def _draw(randomness: Randomness, wanted: Sequence[int]) -> tuple[Any, Any]:
    batch = draw_batch(_clips("train"), CLIPS_A_STEP, randomness, wanted=wanted)
    return batch.inputs, batch.target


@functools.cache
def _clips(split: Any) -> ClipSource:
    return load_clips("digits", CLIPS, split)


@functools.cache
def _validation() -> Validation:
    return Validation(_clips("validation"), JUDGED_CLIPS)


def main() -> None:
    def shown(done: int, loss: float) -> None:
        if done % 70 == 0:
            print(f"{done} of {STEPS} passes: loss {loss:.3f}", file=sys.stderr)

    supernet = trained(Path(sys.argv[1]), on_step=shown)
    print(f"untrained: {evaluate(Supernet(), everywhere('full')):.4f}")
    for mixing in (ABSENT, *MIXINGS):
        print(f"{mixing} in every layer: {evaluate(supernet, everywhere(mixing)):.4f}")


if __name__ == "__main__":
    main()
