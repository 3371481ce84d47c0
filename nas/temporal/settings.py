"""Settings of the main job: temporal blocks on an image U-Net, searched by a supernet."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from latency.predictor.shipped import HOST
from nas.costs.limits import DEFAULT_OBJECTIVES, Budget
from nas.problem.fidelity import Fidelity, doubled
from nas.run.settings import SearchSettings
from search_spaces import InputError
from search_spaces.shipped.loading import twin_of
from supernet.training.pretraining import TrainingPlan

NO_TWIN = "none"


@dataclass(frozen=True)
class Settings(SearchSettings):
    """What a search of temporal blocks is asked to do, beside what any search is.

    Args:
        warm_start: so many networks first that scores of blocks alone arrange.
        twin: a narrow space of the same choices, in which quality is searched; None for the space's
            own where it has one, `none` to train at full size.
        backbone: a folder of diffusers: the image U-Net that the space describes.
        supernet: a trained one; None to train it.
        recipe: of its training.
        plan: of its training.
        screening_clips: on which every network is seen; the best are seen on more, each time on
            twice as many, up to `validation_clips`. All at once for 0, or as many as that or more.
        validation_clips: of a full evaluation; `trials` counts these.
        finalist_clips: of a finalist, at most; finalists race against each other.
        finalist_steps: finalists are trained on by themselves before one wins, by successive
            halving; so many steps of all together, 0 for none.
        winner_steps: the winner is trained on by itself; 0 for the supernet's weights.
        test_clips: of the last comparison.
        metrics: of a user's own, on what the compared networks generate.
    """

    formerly: ClassVar[dict[str, Any]] = {
        **SearchSettings.formerly,
        "screening_clips": 0,
        "finalist_steps": 0,
        "recipe": "fair",
        "plan.image_steps": 400,
        "plan.image_clips": 8,
        "plan.video_steps": 760,
        "plan.video_clips": 8,
        "plan.optimizer": "adamw",
        "plan.learning_rate": 2e-3,
    }

    space: str = "moving_digits"
    device: str | None = HOST
    objectives: tuple[str, ...] = DEFAULT_OBJECTIVES
    budget: Budget = field(default_factory=Budget)
    trials: int = 36
    warm_start: int = 0
    twin: str | None = None
    backbone: str | None = None
    supernet: str | None = None
    recipe: str = "uniform"
    plan: TrainingPlan = field(default_factory=TrainingPlan)
    screening_clips: int = 16
    validation_clips: int = 128
    finalist_clips: int = 1024
    finalist_steps: int = 480
    winner_steps: int = 450
    test_clips: int = 384
    metrics: tuple[str, ...] = ()

    @property
    def learned_space(self) -> str | None:
        """The twin in which quality is searched; None where it is the space itself."""
        if self.twin is None:
            return twin_of(self.space)
        return None if self.twin == NO_TWIN else self.twin

    @property
    def trains_winner(self) -> bool:
        """Whether the winner is trained on by itself: not where it is larger than what is here."""
        return self.winner_steps > 0 and self.learned_space is None

    @property
    def fidelity(self) -> Fidelity | None:
        """On how many clips networks are seen, look by look; None where all see as many."""
        first, full = self.screening_clips, self.validation_clips
        if not 0 < first < full:
            return None
        return Fidelity("clips", doubled(first, full), adds_up=True, finalists=self.finalists)

    @property
    def trains_finalists(self) -> bool:
        """Whether finalists are trained on by themselves, where a winner may be."""
        return self.finalist_steps > 0 and self.finalists > 1 and self.learned_space is None

    @property
    def scores_blocks(self) -> bool:
        """Whether blocks are scored before anything is evaluated."""
        return self.strategy == "exact" or self.warm_start > 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("warm_start", "winner_steps", "finalist_steps", "screening_clips"):
            if getattr(self, name) < 0:
                raise InputError(f"`{name}=` must be at least 0")
        for name in ("validation_clips", "test_clips", "finalist_clips"):
            if getattr(self, name) < 2:
                raise InputError(f"`{name}=` must be at least 2")
        for name in ("image_steps", "video_steps", "image_clips", "video_clips"):
            if getattr(self.plan, name) < 1:
                raise InputError(f"`{name}=` must be at least 1")
