"""Earlier studies of the same space: prior observations that a search may transfer from."""

import math
from dataclasses import dataclass

from search_spaces import Architecture, InputError


@dataclass(frozen=True)
class Earlier:
    """What an earlier study found: of another device, another budget, another dataset.

    It is told, and nothing is taken over: how alike the two are, a strategy finds out.

    Args:
        name: where it is from, for people.
        architectures: that it evaluated, in their order, all different.
        quality: the problem's first unknown objective of each, (n,), in its own unit and sign.

    Raises:
        InputError: nothing was evaluated, something twice, or to no finite number.
    """

    name: str
    architectures: tuple[Architecture, ...]
    quality: tuple[float, ...]

    def __post_init__(self) -> None:
        count = len(self.architectures)
        if not count:
            raise InputError(f"{self.name}: evaluated no network, so nothing is learned of it")
        if len(self.quality) != count or len(set(self.architectures)) != count:
            raise InputError(
                f"{self.name}: has {len(self.quality)} qualities of {count} networks, "
                f"{len(set(self.architectures))} of them different; give one of each"
            )
        if not all(map(math.isfinite, self.quality)):
            raise InputError(f"{self.name}: a quality is no finite number; leave its network out")
