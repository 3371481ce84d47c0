"""The order in which a training sees clips: shuffled by shard, then within a buffer, without end.

The order is a function of the seed alone. In each epoch the shards come in another order; their
clips, one shard after the other, are cut into stretches as large as the buffer, and each stretch is
shuffled. So no more of the files than a stretch is in use at a time, and where a training stands is
one number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import torch
from torch import Tensor

from adversarial_finetune.data import ClipFiles


def seed_of(*numbers: int) -> int:
    """A seed that follows from some numbers, unrelated to that of others close by."""
    return int.from_bytes(blake2b(repr(numbers).encode(), digest_size=7).digest())


@dataclass
class Stream:
    """Clips in an order that a seed decides.

    Args:
        data: what is drawn from.
        seed: of the order.
        buffer_mb: of clips, as they are stored, that are shuffled together.
    """

    data: ClipFiles
    seed: int
    buffer_mb: float
    position: int = 0  # clips taken so far
    _stretch: tuple[int, int] = (-1, -1)
    _order: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    buffer: int = field(init=False)  # clips that are shuffled together

    def __post_init__(self) -> None:
        rows = self.data.layout.clips
        bytes_each = sum(shard.file.stat().st_size for shard in rows.shards) / len(rows)
        self.buffer = max(1, int(self.buffer_mb * 1e6 / bytes_each))

    def take(self, count: int) -> Tensor:
        """The numbers of the next clips (count,)."""
        parts = []
        while count:
            epoch, within = divmod(self.position, len(self.data))
            stretch, first = divmod(within, self.buffer)
            part = self._shuffled(epoch, stretch)[first : first + count]
            parts.append(part)
            self.position += len(part)
            count -= len(part)
        return torch.cat(parts)

    def state(self) -> dict[str, Tensor]:
        """Where it stands, for a checkpoint."""
        return {"position": torch.tensor([self.position])}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`."""
        self.position = int(state["position"])

    def _shuffled(self, epoch: int, stretch: int) -> Tensor:
        """The clips of a stretch; those of the last one are no longer held."""
        if (epoch, stretch) != self._stretch:
            self.data.release()
            rows = self.data.layout.clips
            generator = torch.Generator().manual_seed(seed_of(self.seed, epoch))
            shards = torch.randperm(len(rows.shards), generator=generator)
            begin, end = stretch * self.buffer, min((stretch + 1) * self.buffer, len(rows))
            clips = _between(rows.firsts, shards, begin, end)
            generator.manual_seed(seed_of(self.seed, epoch, stretch))
            self._order = clips[torch.randperm(len(clips), generator=generator)]
            self._stretch = epoch, stretch
        return self._order


def _between(firsts: Tensor, shards: Tensor, begin: int, end: int) -> Tensor:
    """Places `begin` to `end` of the clips of the shards in this order, as numbers of clips."""
    sizes = (firsts[1:] - firsts[:-1])[shards]
    ends = sizes.cumsum(0)
    place = torch.arange(begin, end)
    at = torch.searchsorted(ends, place, right=True)
    return firsts[shards[at]] + place - (ends - sizes)[at]
