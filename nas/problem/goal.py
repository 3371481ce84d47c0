"""Goal: what of the objectives a search is judged by, as its user states it.

best     the best first quality inside the hard budgets: one winner
region   the hypervolume up to a corner, the reference point: limits of objectives by name
front    the hypervolume of the whole Pareto front; what holds where nothing is said
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from search_spaces import InputError

KINDS = ("best", "region", "front")


@dataclass(frozen=True)
class Goal:
    """What counts.

    Args:
        kind: best, region or front.
        region: limits of a region: the most of an objective that is minimised, the least of one
            that is maximised, by its name and in its own unit; objectives that are not named have
            no limit.

    Raises:
        InputError: another kind, a region without a limit or limits without a region, or a limit
            that is no number.
    """

    kind: str = "front"
    region: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"`goal={self.kind}`: is none of {', '.join(KINDS)}")
        if self.kind == "region" and not self.region:
            raise InputError("`goal=region`: limits nothing; limit an objective, as error_pct=10")
        if self.kind != "region" and self.region:
            raise InputError(
                f"`goal={self.kind}`: has limits on {', '.join(self.region)}, which make a region; "
                "give goal region, or no limits"
            )
        for name, limit in self.region.items():
            number = isinstance(limit, int | float) and not isinstance(limit, bool)
            if not number or not math.isfinite(limit):
                raise InputError(f"`goal=region`: the limit {name}={limit} is no number")


BEST, FRONT = Goal("best"), Goal("front")
