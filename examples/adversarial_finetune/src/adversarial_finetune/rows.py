"""Rows of one tensor that lies in several safetensors files (shards), memory-mapped.

A row is read when it is asked for, and no more of a file than that. What was read stays in the
process's memory, as pages of the file, until `release`.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from adversarial_finetune.errors import InputError
from temporal_bundle import LFS_WORDS, is_lfs_pointer, sha256
from temporal_bundle.manifest import one_line

COPY_AGAIN = "copy it again, or write it anew"


@dataclass(frozen=True)
class Shard:
    """A file, how many rows it holds, and its hash where an index lists one."""

    file: Path
    rows: int
    sha256: str | None = None

    def check_hash(self) -> None:
        """Hold the file against its hash.

        Raises:
            InputError: it was changed.
        """
        if self.sha256 is not None and sha256(self.file) != self.sha256:
            raise InputError(f"{self.file}: was changed since it was written; {COPY_AGAIN}")


def tensor_shapes(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Kind and shape of each tensor of a file, by its header.

    Raises:
        InputError: no such file, or no whole safetensors file.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file; {COPY_AGAIN}")
    if is_lfs_pointer(file):
        raise InputError(f"{file}: {LFS_WORDS}")
    try:
        with safe_open(file, framework="pt") as tensors:
            parts = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            return {n: (p.get_dtype(), tuple(p.get_shape())) for n, p in parts.items()}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{file}: is short, or no safetensors file ({one_line(str(error))}); {COPY_AGAIN}"
        ) from None


class Rows:
    """Rows of the shards in order, numbered from 0.

    Args:
        shards: whose headers were read.
        tensor: its name in each.
        shape: of a row.
    """

    def __init__(self, shards: Sequence[Shard], tensor: str, shape: tuple[int, ...]) -> None:
        self.shards, self.tensor, self.shape = tuple(shards), tensor, shape
        counts = torch.tensor([0, *(shard.rows for shard in shards)])
        self.firsts = counts.cumsum(0)  # rows before each shard, and all of them at the end
        self._opened: dict[int, Any] = {}
        self._stack = ExitStack()

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def at(self, index_B: Tensor) -> Tensor:
        """A copy of some rows, as they are stored.

        Raises:
            InputError: a file is gone.
        """
        shard_B = torch.searchsorted(self.firsts, index_B, right=True) - 1
        rows = (index_B - self.firsts[shard_B]).tolist()
        pairs = zip(shard_B.tolist(), rows, strict=True)
        found = [self._open(shard)[row] for shard, row in pairs]
        return torch.stack(found) if found else torch.empty(0, *self.shape)

    def parts(self, shard: int, size: int) -> Iterator[Tensor]:
        """The rows of one shard, a few at a time; of what was read before, nothing is kept."""
        for first in range(0, self.shards[shard].rows, size):
            self.release()
            yield self._open(shard)[first : first + size]
        self.release()

    def release(self) -> None:
        """Give back the memory of what was read."""
        self._opened.clear()
        self._stack.close()

    def _open(self, number: int) -> Any:
        if number not in self._opened:
            file = self.shards[number].file
            try:
                opened = self._stack.enter_context(safe_open(file, framework="pt"))
                self._opened[number] = opened.get_slice(self.tensor)
            except (OSError, SafetensorError) as error:
                raise InputError(f"{file}: can no longer be read: {one_line(str(error))}") from None
        return self._opened[number]
