"""TensorBoard event files in a run's folder, where the extra `tensorboard` is installed."""

import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from adversarial_finetune.errors import InputError
from adversarial_finetune.learner import rate
from adversarial_finetune.settings import Settings, Stage

FOLDER = "tensorboard"  # with a folder for each stage


def check_installed() -> None:
    """Refuse to begin without what writes them.

    Raises:
        InputError: tensorboard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise InputError(
            "--tensorboard: needs a package: pip install 'adversarial-finetune[tensorboard]'"
        )


class Events:
    """Losses, the learning rate, seconds a step, and pictures, by stage.

    Args:
        run: the folder of the run.
        settings: of the training.
    """

    def __init__(self, run: Path, settings: Settings) -> None:
        self._folder, self._writers = run / FOLDER, dict[Stage, Any]()
        self._rates = {"one": settings.stage_one_rate, "two": settings.generator_rate}
        self._before: float | None = None

    def step(self, stage: Stage, done: int, total: int, losses: Mapping[str, float]) -> None:
        """Note a step."""
        now, found = time.monotonic(), dict(losses)
        found["learning rate"] = self._rates[stage] * rate(done - 1, total)
        if self._before is not None and done > 1:
            found["seconds a step"] = now - self._before
        self._before = now
        writer = self._of(stage, done)
        for name, value in found.items():
            writer.add_scalar(f"stage {stage}/{name}", value, done)

    def picture(self, stage: Stage, done: int, file: Path) -> None:
        """Note a picture that was drawn."""
        from PIL import Image

        with Image.open(file) as opened:
            width, height = opened.size
            content = bytearray(opened.convert("RGB").tobytes())
        pixels = torch.frombuffer(content, dtype=torch.uint8).view(height, width, 3)
        self._of(stage, done).add_image(f"stage {stage}/samples", pixels, done, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        for writer in self._writers.values():
            writer.close()

    def _of(self, stage: Stage, done: int) -> Any:
        """A stage's writer; where it resumes, what was told of later steps is taken back."""
        from torch.utils.tensorboard import SummaryWriter

        if stage not in self._writers:
            folder = str(self._folder / f"stage-{stage}")
            self._writers[stage] = SummaryWriter(folder, purge_step=done)
        return self._writers[stage]
