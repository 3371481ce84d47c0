"""Settings: what a search is asked to do, whatever it searches."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from nas.costs.limits import Budget
from nas.problem.goal import Goal
from search_spaces import InputError

MOST_SEEDS = 2**32
NOTHING_LIMITED = Budget(latency=None, steps=1)


@dataclass(frozen=True)
class SearchSettings:
    """What any search is asked to do; a resumed run must be asked the same.

    Args:
        space: the name of what is searched.
        device: a shipped name, a device's file, `host` for this machine; None for none.
        other_devices: predicted beside the main one.
        energy: a device that was calibrated on millijoules.
        objectives: what is traded off, with its unit at the end, `:max` where more is better.
        budget: what a winner must keep.
        trials: networks to evaluate.
        strategy: proposes them.
        finalists: how many of the best are looked at more closely at last.
        calibration_networks: measured where the device is this machine, and ...
        unseen_networks: ... measured to judge its predictions.
        seed: of everything that is drawn.
        begin_from: the folders' names of earlier searches whose studies it begins from.
        goal: what counts, as `nas.problem.goal` has it.
        region: of the goal region, limits of objectives by name.
    """

    # What earlier versions did by default, where that was another thing.
    formerly: ClassVar[dict[str, Any]] = {"goal": "front"}

    space: str = ""
    device: str | None = None
    other_devices: tuple[str, ...] = ()
    energy: str | None = None
    objectives: tuple[str, ...] = ()
    budget: Budget = field(default=NOTHING_LIMITED)
    trials: int = 60
    strategy: str = "cost-aware"
    finalists: int = 4
    calibration_networks: int = 24
    unseen_networks: int = 24
    seed: int = 0
    begin_from: tuple[str, ...] = ()
    goal: str = "best"
    region: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for name in ("trials", "finalists"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise InputError(f"`{name}=` must be a whole number of at least 1")
        if not isinstance(self.seed, int) or not 0 <= self.seed < MOST_SEEDS:
            raise InputError(f"`seed={self.seed}`: must be a whole number from 0, under 2^32")
        if odd := [name for name in self.objectives if not isinstance(name, str)]:
            raise InputError(f"`objectives={odd[0]}`: is no name")
        self.asked_goal()
        for name in ("calibration_networks", "unseen_networks"):
            if getattr(self, name) < 2:  # one tells nothing of its error
                raise InputError(f"`{name}=` must be at least 2")

    def asked_goal(self) -> Goal:
        """What counts; InputError where it is none."""
        return Goal(self.goal, dict(self.region))
