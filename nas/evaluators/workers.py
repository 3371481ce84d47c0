"""Which processes evaluate: so many on this machine, or on a cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas.evaluators.ray_pool import RayPool
from nas.evaluators.serial import Quality
from nas.ray_cluster import check_address
from search_spaces import InputError


@dataclass(frozen=True)
class Workers:
    """Processes of one thread each.

    Args:
        count: how many; None for as many as the cluster has CPUs, however many come and go.
        address: of a Ray cluster; None for this machine.
        timeout_s: an evaluation that takes longer is stopped and tried again; None for 20 times
            the longest so far.
    """

    count: int | None = None
    address: str | None = None
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise InputError(f"workers must be at least 1; found {self.count}")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise InputError(
                f"the time limit of an evaluation, {self.timeout_s} s, is not positive"
            )

    def check(self) -> None:
        """Refuse an address where no cluster answers; InputError says why."""
        if self.address is not None:
            check_address(self.address)

    def started(self, make: Callable[[Any], Quality], parts: Any) -> RayPool:
        """An evaluator whose workers each make the quality out of the parts."""
        return RayPool(make, parts, self.count, self.address, self.timeout_s)
