"""The clips of a split, as a training reads them: some at a time, by their numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from adversarial_finetune import seen
from adversarial_finetune.errors import InputError
from adversarial_finetune.layout import Layout, Split, find_layout
from adversarial_finetune.scale import check_numbers
from adversarial_finetune.text_contexts import find_text_contexts
from temporal_bundle import Bundle
from temporal_bundle.made_with import ASKED_BY, AUTOENCODER, FPS, TEXT_ENCODER, difference
from temporal_bundle.manifest import one_line


@dataclass(frozen=True)
class Clips:
    """A few clips, and what was asked for in each."""

    x_NCTHW: Tensor
    context_NLC: Tensor
    empty_LC: Tensor | None = None
    labels_NK: Tensor | None = None  # what each asks for, where that is known

    def __len__(self) -> int:
        return len(self.x_NCTHW)

    def at(self, index_B: Tensor) -> tuple[Tensor, Tensor]:
        """Clips and contexts in float32."""
        return self.x_NCTHW[index_B].float(), self.context_NLC[index_B].float()

    def first(self, count: int) -> "Clips":
        """The first clips, or all where there are fewer."""
        labels = None if self.labels_NK is None else self.labels_NK[:count]
        return Clips(self.x_NCTHW[:count], self.context_NLC[:count], self.empty_LC, labels)

    @property
    def nothing(self) -> Tensor:
        """The context that asks for nothing, in float32."""
        if self.empty_LC is None:
            return torch.zeros(self.context_NLC.shape[1:])
        return self.empty_LC.float()


def labels_of(rows: Tensor) -> Tensor | None:
    """What each row asks for (N, K): labels already, or contexts (N, L, K) of zeros and ones.

    None where they are neither.
    """
    if not ((rows == 0) | (rows == 1)).all():
        return None
    return rows.float() if rows.dim() == 2 else (rows.float().sum(1) > 0).float()


@dataclass(frozen=True)
class ClipFiles:
    """The clips of a split in their files, of which no more is in memory than is asked for."""

    layout: Layout

    def __len__(self) -> int:
        return len(self.layout.clips)

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """(C, T, H, W)."""
        return self.layout.clips.shape

    @property
    def digest(self) -> str:
        """What they are known by again."""
        return self.layout.digest

    @cached_property
    def nothing(self) -> Tensor:
        """The context that asks for nothing, in float32."""
        empty = self.layout.contexts.empty_LC
        return torch.zeros(self.layout.contexts.rows.shape) if empty is None else empty

    @cached_property
    def label_count(self) -> int:
        """How many things may be asked for, where labels or contexts say which; else 0."""
        rows, asked = self.layout.labels, False
        for number in range(len(rows.shards)):
            for part in rows.parts(number, 64):
                if (labels := labels_of(part)) is None:
                    return 0
                asked |= bool(labels.any())
        return rows.shape[-1] if asked else 0

    def labels_at(self, index_B: Tensor) -> Tensor | None:
        """What some clips were drawn for (B, K); None where that is not known."""
        if not self.label_count:
            return None
        row_N = self.layout.label_row_N
        return labels_of(self.layout.labels.at(index_B if row_N is None else row_N[index_B]))

    def at(self, index_B: Tensor) -> tuple[Tensor, Tensor]:
        """Clips and contexts in float32."""
        return self.layout.clips.at(index_B).float(), self.contexts_at(index_B)

    def contexts_at(self, index_B: Tensor) -> Tensor:
        """What some clips ask for, in float32."""
        layout = self.layout
        row_B = index_B if layout.row_N is None else layout.row_N[index_B]
        return layout.contexts.rows.at(row_B).float()

    def first(self, count: int) -> Clips:
        """The first clips in memory, or all where there are fewer."""
        index_B = torch.arange(min(count, len(self)))
        (x, context), labels = self.at(index_B), self.labels_at(index_B)
        self.release()
        return Clips(x, context, self.layout.contexts.empty_LC, labels)

    def parts(self, size: int) -> Iterator[Tensor]:
        """All clips in order, in float32, a few at a time."""
        for number in range(len(self.layout.clips.shards)):
            for part in self.layout.clips.parts(number, size):
                yield part.float()

    def release(self) -> None:
        """Give back the memory of what was read."""
        self.layout.clips.release()
        self.layout.contexts.rows.release()
        self.layout.labels.release()


def find_clips(folder: Path, split: Split, text_contexts: Path | None = None) -> Layout:
    """The files of a split, with other contexts for its captions where those are given.

    Raises:
        InputError: as `open_clips`, as far as headers tell.
    """
    layout = find_layout(folder, split)
    return layout if text_contexts is None else _with_contexts(layout, text_contexts, split)


def open_clips(
    folder: Path,
    split: Split,
    bundle: Bundle,
    text_contexts: Path | None = None,
    run: Path | None = None,
) -> ClipFiles:
    """The clips of one split, for a bundle's network, once all their numbers were looked at.

    Args:
        folder: as `nas clips` writes it.
        split: of the folder.
        bundle: whose network they are for.
        text_contexts: a folder with other contexts for the clips' captions.
        run: a folder that may note that they were looked at.

    Raises:
        InputError: no clips, of another shape than the network's, of another scale than noise,
            damaged files, or captions that the other contexts lack.
    """
    layout = find_clips(folder, split, text_contexts)
    _check_shape(
        f"{folder}: {split}",
        "channels, height and width",
        (layout.clips.shape[0], *layout.clips.shape[2:]),
        (bundle.clip_shape[0], *bundle.clip_shape[2:]),
    )
    _check_shape(
        f"{text_contexts or folder}: {split}",
        "tokens of the context",
        layout.contexts.rows.shape,
        bundle.context_shape,
    )
    if not seen.was_seen(layout, run):
        with seen.seeing(layout):
            check_numbers(layout)
    return ClipFiles(layout)


def _check_shape(where: str, name: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if found != wanted:
        raise InputError(f"{where} has {name} {found}, the bundle's network {wanted}")


def _with_contexts(layout: Layout, folder: Path, split: Split) -> Layout:
    """The same clips, whose captions have other contexts."""
    captions, found = layout.contexts.captions, find_text_contexts(folder, split)
    if captions is None:
        raise InputError(f"{layout.where}: lists no captions, which other contexts could be for")
    lacking = [text for text in captions if text not in found.row_of]
    if lacking:
        raise InputError(
            f"{folder}: has no context for {len(lacking)} of {len(captions)} captions of "
            f"{layout.where}, first {one_line(lacking[0])[:60]!r}"
        )
    moved = torch.tensor([found.row_of[text] for text in captions])
    row_N = moved if layout.row_N is None else moved[layout.row_N]
    told = {name: layout.made_with[name] for name in (AUTOENCODER, FPS) if name in layout.made_with}
    contexts, digest = found.contexts, f"{layout.digest}+{found.digest}"
    told |= {n: value for n, value in contexts.made_with.items() if n in {ASKED_BY, TEXT_ENCODER}}
    return replace(layout, digest=digest, contexts=contexts, row_N=row_N, made_with=told)


def check_made_with(layout: Layout, bundle: Bundle) -> None:
    """Refuse clips of other latents or contexts than the weights of a search learned from.

    Raises:
        InputError: what is another one.
    """
    learned, contexts = bundle.made_with("searched"), {ASKED_BY, TEXT_ENCODER}
    elsewhere = layout.contexts.where != layout.where
    of_clips = {name: told for name, told in layout.made_with.items() if name not in contexts}
    for where, what, told in (
        (layout.where, "clips", of_clips),
        (layout.contexts.where, "contexts" if elsewhere else "clips", layout.made_with),
    ):
        if (other := difference(learned, told)) is not None:
            raise InputError(
                f"{where}: the bundle's network learned from {other}; give {what} that were made "
                "with what its own were"
            )
