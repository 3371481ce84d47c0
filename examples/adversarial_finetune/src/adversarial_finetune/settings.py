"""What a training was asked for."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from adversarial_finetune.discriminator import KINDS, Kind
from adversarial_finetune.errors import InputError
from adversarial_finetune.flow import step_times
from adversarial_finetune.stage_two import Terms
from temporal_bundle.manifest import MOST_CLIPS, MOST_TIMES

Stage = Literal["one", "two"]
STAGES: tuple[Stage, ...] = ("one", "two")
MOST_SEEDS = 2**32
MOST = {"clips_per_step": MOST_CLIPS, "steps": MOST_TIMES}
LARGEST_RATE = 1e30  # that optimizers still compute with


@dataclass(frozen=True)
class Settings:
    """Both stages' settings; the defaults are for a small network on two cores."""

    stage_one_steps: int = 3500
    stage_two_steps: int = 1400
    clips_per_step: int = 8
    image_share: float = 0.2  # of stage one's steps: single frames instead of clips
    stage_one_rate: float = 3e-3
    generator_rate: float = 5e-4
    heads_rate: float = 5e-3
    stage_one_ema: float = 0.998
    stage_two_ema: float = 0.99
    heads_alone_steps: int = 100  # of stage two, in the beginning; a tenth at most
    steps: int = 4  # network calls of the tuned sampler
    # The down path that they stand on sees through time already: temporal ones did harm (`ablate`).
    heads: tuple[Kind, ...] = ("spatial",)
    head_width: int = 32
    buffer_mb: float = 256.0  # of clips that are shuffled together
    terms: Terms = field(default_factory=Terms)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("stage_one_steps", "stage_two_steps", "clips_per_step", "steps"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"{name}: give a whole number from 1")
            if value > MOST.get(name, value):
                raise InputError(f"{name}: give {MOST[name]} at most, which a bundle takes")
        for name in ("stage_one_rate", "generator_rate", "heads_rate"):
            if not 0 < getattr(self, name) <= LARGEST_RATE:
                raise InputError(f"{name}: give a number above 0, {LARGEST_RATE:g} at most")
        if not 0 <= self.seed < MOST_SEEDS:
            raise InputError(f"seed: give a whole number from 0, below {MOST_SEEDS}")
        if not 0 < self.buffer_mb < math.inf:
            raise InputError("buffer_mb: give a number above 0")
        if not 0 <= self.image_share <= 1:
            raise InputError("image_share: give a share from 0 to 1")
        if not self.heads or not set(self.heads) <= set(KINDS):
            raise InputError(f"heads: give {' or '.join(KINDS)}, or both")

    @property
    def times(self) -> list[float]:
        """Of the tuned sampler's network calls."""
        return step_times(self.steps)

    def to_json(self) -> dict[str, Any]:
        """For manifests and checkpoints."""
        found = asdict(self)
        found["heads"] = list(self.heads)
        return found

    def steps_of(self, stage: Stage) -> int:
        """How long a stage is."""
        return self.stage_one_steps if stage == "one" else self.stage_two_steps
