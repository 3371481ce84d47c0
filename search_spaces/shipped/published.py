"""What was published of a system, for a report to stand beside its predictions."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Figures of a whole pipeline on one device.

    Args:
        device: its shipped name.
        steps: denoising steps.
        latency_ms: of a clip.
        parameters: of the network.
        source: where they stand, and what they leave open.
        layouts: layouts of the published kind by name: a block a slot, as the space prints it.
    """

    device: str
    steps: int
    latency_ms: float
    parameters: int
    source: str
    layouts: Mapping[str, tuple[str, ...]]
