"""What a search came to, before it is written down."""

from dataclasses import dataclass

from nas.costs.limits import Limits
from nas.run.results import Found
from supernet import Supernet, VideoUNet


@dataclass(frozen=True)
class Outcome:
    """What is compared, reported and delivered.

    Args:
        limits: that all networks but the slowest keep.
        supernet: whose weights the networks were compared with; a twin's where there is one.
        evaluated: by the search, in order.
        picks: the random baseline: as many networks inside the same limits.
        uniform: the best network of one block in every slot, where one keeps the limits.
        winner: the best of them all.
        network: the winner as it was trained on by itself, or as the supernet left it.
        trained: whether it was trained on.
    """

    limits: Limits
    supernet: Supernet
    evaluated: list[Found]
    picks: list[Found]
    uniform: Found | None
    winner: Found
    network: VideoUNet
    trained: bool
