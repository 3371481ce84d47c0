"""Data-parallel training: several processes train one network, each on its share of a batch.

Whoever starts them (`nas train` with workers, torchrun) also starts torch.distributed; without it
there is one worker, and nothing here does anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from search_spaces import InputError


@dataclass(frozen=True)
class Workers:
    """This process's rank among those that train together (torch.distributed)."""

    rank: int = 0
    count: int = 1

    @staticmethod
    def here() -> "Workers":
        """Read rank and world size as torch.distributed was started in this process."""
        if dist.is_available() and dist.is_initialized():
            return Workers(dist.get_rank(), dist.get_world_size())
        return Workers()

    def share(self, size: int, of: str = "clips") -> range:
        """Shard a batch: which of it are this worker's; InputError if it does not split."""
        if size % self.count:
            raise InputError(
                f"a batch of {size} {of} does not split evenly among {self.count} workers; "
                f"choose a number that divides {size}"
            )
        each = size // self.count
        return range(self.rank * each, (self.rank + 1) * each)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """All-reduce: replace each tensor by its mean over the workers, which hold the same ones.

        One message for all of them. DistributedDataParallel would have to search each step for
        the parameters that the step's path left out; here every worker knows the path.
        """
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Broadcast: give every worker the first one's, whatever each drew at the beginning."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)

    def agree(self, number: int, where: torch.device, complaint: str) -> None:
        """Check that all workers have the same number; InputError with this complaint if not."""
        if self.count == 1:
            return
        both = torch.tensor([number, -number], device=where)
        dist.all_reduce(both, dist.ReduceOp.MAX)
        if int(both[0]) != -int(both[1]):
            raise InputError(complaint)
