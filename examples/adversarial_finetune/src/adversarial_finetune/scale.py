"""Clips whose numbers cannot be learned from are refused, shard by shard, before any training.

Noise has a standard deviation of 1, and what is learned from it must be of its scale: pixels in
[-1, 1] have about 0.5, latents 1 (and now and then 10), pixels of bytes 70.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from adversarial_finetune import seen
from adversarial_finetune.errors import InputError
from adversarial_finetune.layout import LABELS, SCALE, Layout
from adversarial_finetune.rows import Rows

LARGEST, WIDEST, NARROWEST = 20.0, 3.0, 0.01
FULL_SCALES = (1, 255, 1023, 4095, 65535)  # of pixels
PART_BYTES = 2e6  # that are looked at together, in float32


def check_numbers(layout: Layout) -> None:
    """Read every number of a split once: hashes, NaN and infinities, the scale of clips.

    Raises:
        InputError: what is wrong with it, and with which clip.
    """
    scale = Scale()
    _read(layout.clips, layout.where, "clip", scale)
    contexts = layout.contexts.rows
    if seen.rows_are_new(contexts):
        _read(contexts, layout.contexts.where, "context", None)
        seen.mark_rows(contexts)
    if layout.labels.tensor == LABELS:
        _read_labels(layout.labels)
    scale.check(layout.where)


def _read(rows: Rows, where: Path, what: str, scale: "Scale | None") -> None:
    size = max(1, int(PART_BYTES / max(4 * torch.Size(rows.shape).numel(), 1)))
    bad, done = Seen(), 0
    for number, shard in enumerate(rows.shards):
        shard.check_hash()
        for part in rows.parts(number, size):
            wide_NK = part.flatten(1).float()
            bad.add(~torch.isfinite(wide_NK).all(1), done)
            if scale is not None:
                scale.add(wide_NK, done)
            done += len(part)
    if bad.count:
        raise InputError(f"{where}: {what} {bad} holds NaN or infinite numbers")


def _read_labels(rows: Rows) -> None:
    for number, shard in enumerate(rows.shards):
        shard.check_hash()
        if any((part > 1).any() for part in rows.parts(number, 1024)):
            raise InputError(f"{shard.file}: {LABELS} hold other numbers than 0 and 1")


@dataclass
class Seen:
    """Which is the first of those that were found, and how many there are."""

    count: int = 0
    first: int = 0

    def add(self, found_N: Tensor, done: int) -> None:
        """Take note of a few more, which come after `done` others."""
        which = found_N.nonzero().flatten()
        if len(which) and not self.count:
            self.first = done + int(which[0])
        self.count += len(which)

    def __str__(self) -> str:
        """For messages."""
        return f"{self.first}" if self.count == 1 else f"{self.first} (of {self.count} such)"


class Scale:
    """What range clips have, and how wide they are spread."""

    def __init__(self) -> None:
        self._low, self._high, self._varies = torch.inf, -torch.inf, False
        self._wild = Seen()
        self._sums, self._numbers = torch.zeros(2, dtype=torch.float64), 0

    def add(self, wide_NK: Tensor, done: int) -> None:
        """Take note of a few more clips, which come after `done` others."""
        low_N, high_N = wide_NK.aminmax(dim=1)
        self._low = min(self._low, float(low_N.min()))
        self._high = max(self._high, float(high_N.max()))
        self._varies |= bool((low_N < high_N).any())
        self._wild.add((low_N < -LARGEST) | (high_N > LARGEST), done)
        # Sums of a row in float32 are exact enough, and need no copy in float64.
        mean_N, square_N = wide_NK.mean(1).double(), wide_NK.square().mean(1).double()
        self._sums += torch.stack([mean_N.sum(), square_N.sum()])
        self._numbers += len(wide_NK)

    def check(self, where: Path) -> None:
        """Refuse pixels of another range, before a network is trained on them without a word."""
        low, high = self._low, self._high
        if low == high or not self._varies:
            raise InputError(
                f"{where}: every clip is of one value throughout; nothing is shown there"
            )
        if low >= 0:
            full = next((scale for scale in FULL_SCALES if high <= scale), high)
            raise InputError(
                f"{where}: clips lie in [{low:g}, {high:g}]; {SCALE}: write them anew, as "
                f"x / {full / 2:g} - 1"
            )
        if max(-low, high) > LARGEST:
            far = high if high >= -low else low
            raise InputError(f"{where}: clip {self._wild} reaches {far:g}; {SCALE}")
        mean, square = (self._sums / self._numbers).tolist()
        deviation = max(square - mean**2, 0.0) ** 0.5
        if not NARROWEST <= deviation <= WIDEST:
            raise InputError(
                f"{where}: clips have a standard deviation of {deviation:.2g}; {SCALE}: multiply "
                "them by what makes it about 0.5 to 1 (the scaling factor of an autoencoder)"
            )
