"""Networks of which nothing is known before they are evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nas.costs.contract import Meter
from search_spaces import SearchSpace


@dataclass(frozen=True)
class Unpriced:
    """A space, and no costs."""

    space: SearchSpace
    sizes: Mapping[str, Meter] = field(default_factory=dict)
