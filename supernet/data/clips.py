"""Clips, and where they come from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from search_spaces import InputError

Places = np.ndarray[tuple[int], np.dtype[np.int64]]  # where clips begin, from 0


@dataclass(frozen=True)
class Clips:
    """Clips (B, C, T, H, W), and the context tokens of each, (B, L, channels).

    Pixels lie in [-1, 1]; latents have about unit variance.
    """

    x_BCTHW: Tensor
    context_BLC: Tensor


MOST_PLACES = np.iinfo(np.int64).max


class RepeatedClipsWarning(UserWarning):
    """More clips are asked for than differ."""


class Recogniser(Protocol):
    """Finds in clips what their contexts ask for."""

    @property
    def what(self) -> str:
        """What is asked for, in the plural: digits."""
        ...

    def found(self, x_BCTHW: Tensor, context_BLC: Tensor) -> Tensor:
        """The share of what was asked for that each clip shows (B,), from 0 to 1."""
        ...


class ClipSource(Protocol):
    """Whatever yields clips: drawn digits, a folder of videos, data of a user's own.

    Beside `clips` it may have

    - `decode(x_BCTHW) -> Tensor`: latents as pictures;
    - `autoencoder() -> dict | None`: what its latents were made by: name, sha256, scaling, shift,
      what it `encodes` a fixed picture to and `shows` of that, and whether it was `distilled`;
    - `text_encoder() -> dict`: what its captions were encoded by: name, sha256, and its states of a
      fixed `sentence`;
    - `asked_by: str`: what its contexts are: "digits" (one-hot), "captions", or "nothing" (zeros);
    - `frames_per_s: float | None`: of its clips, where that is known;
    - `images(seed) -> Clips`: as many frames as a clip has, each of another clip and a clip of one
      frame, where that costs no more than a clip;
    - `places: int`: how many clips differ, where they are so many and no more;
    - `clips_at(place_B, seed) -> Clips`: those at these places, an array of int64 below `places`:
      without it, what is drawn is drawn with replacement;
    - `caption(context_LC) -> str`: what a clip was asked for, in words;
    - `labels(context_BLC) -> Tensor`: which of K things contexts ask for, zeros and ones (B, K),
      where their numbers do not say so;
    - `empty_context() -> Tensor | None`: the context (L, channels) of a clip that was asked for
      nothing; None, as without it, is zeros;
    - `recogniser() -> Recogniser`: what finds in clips what was asked for. It has seen no clip of
      this split.
    """

    def clips(self, count: int, seed: int) -> Clips:
        """`count` clips that depend on the seed alone."""
        ...


def places_of(source: ClipSource) -> int | None:
    """How many clips differ; None where they have no end, or that is not known.

    Raises:
        InputError: no whole number from 1.
    """
    found: int | None = getattr(source, "places", None)
    if found is not None and not 1 <= found <= MOST_PLACES:
        raise InputError(f"`places` of clips: expected a whole number from 1, found {found!r}")
    return found


def random_places(places: int, count: int, seed: int) -> Places:
    """Each drawn by itself, so that a longer draw begins with a shorter one."""
    share_B = [np.random.default_rng((seed, number)).random() for number in range(count)]
    return np.minimum((np.array(share_B) * places).astype(np.int64), places - 1)


def spread_places(places: int, count: int, rng: np.random.Generator) -> Places:
    """Stratified sampling: each place as often as any other, or once more, in random order.

    Where they are fewer than the places, one is drawn from each of `count` equal parts.
    """
    whole, rest = divmod(count, places)
    edges = np.array([part * places // max(rest, 1) for part in range(rest + 1)])
    some = rng.integers(edges[:-1], edges[1:])
    every = np.tile(np.arange(places if whole else 0), whole)
    return rng.permutation(np.concatenate([every, some]))


def spread_clips(source: ClipSource, count: int, seed: int, chunk: int) -> Iterator[Clips]:
    """`count` clips, at most `chunk` at a time; of a source that ends, from all over it.

    Drawn one by one with replacement, as many clips as there are films would leave a third of those
    out.
    """
    clips_at: Callable[[Places, int], Clips] | None = getattr(source, "clips_at", None)
    places = places_of(source)
    if clips_at is None or places is None:
        for first in range(0, count, chunk):
            yield source.clips(min(chunk, count - first), seed + first)
        return
    place_B = spread_places(places, count, np.random.default_rng(seed))
    for first in range(0, count, chunk):
        yield clips_at(place_B[first : first + chunk], seed + first)


def pictures(source: ClipSource, x_BCTHW: Tensor) -> Tensor:
    """Clips as people look at them, in [-1, 1].

    Latents are decoded by their source; pixels stay as they are.
    """
    decode: Callable[[Tensor], Tensor] | None = getattr(source, "decode", None)
    return x_BCTHW if decode is None else decode(x_BCTHW)


def autoencoder_of(source: ClipSource) -> dict[str, Any] | None:
    """What a source's latents were made by; None where it says nothing, or shows pixels."""
    told: Callable[[], dict[str, Any] | None] = getattr(source, "autoencoder", lambda: None)
    return told()


def single_frames(source: ClipSource, seed: int) -> Clips:
    """As many clips of one frame as a clip has frames: of different clips where that is cheap.

    The more different contents a step sees, the sooner a network learns what contexts ask for.
    """
    images: Callable[[int], Clips] | None = getattr(source, "images", None)
    if images is not None:
        return images(seed)
    clip = source.clips(1, seed)
    x_TC1HW = clip.x_BCTHW[0].movedim(1, 0)[:, :, None]
    return Clips(x_TC1HW, clip.context_BLC.expand(len(x_TC1HW), -1, -1))


def captions(source: ClipSource, context_BLC: Tensor) -> list[str]:
    """What each clip was asked for, in words; empty where the source has none."""
    caption: Callable[[Tensor], str] = getattr(source, "caption", lambda _: "")
    return [caption(context_LC) for context_LC in context_BLC]


def labels(source: ClipSource, context_BLC: Tensor) -> Tensor | None:
    """What contexts ask for (B, K), in zeros and ones; None where the source does not say."""
    told: Callable[[Tensor], Tensor] | None = getattr(source, "labels", None)
    return None if told is None else told(context_BLC)


def empty_context(source: ClipSource, context_BLC: Tensor) -> Tensor:
    """The context (L, channels) that says nothing, beside contexts of the source's clips."""
    make: Callable[[], Tensor | None] = getattr(source, "empty_context", lambda: None)
    found = make()
    return torch.zeros_like(context_BLC[0]) if found is None else found.to(context_BLC)


def recogniser_of(source: ClipSource) -> Recogniser | None:
    """What finds in clips what was asked for; None where the source offers nothing."""
    make: Callable[[], Recogniser] | None = getattr(source, "recogniser", None)
    return None if make is None else make()


def share_found(score_BK: Tensor, asked_BK: Tensor) -> Tensor:
    """Of k things asked for, the share that is among the k of the best scores, each clip (B,)."""
    asked = asked_BK > 0
    rank_BK = score_BK.argsort(1, descending=True).argsort(1)
    hits = (asked & (rank_BK < asked.sum(1, keepdim=True))).sum(1)
    return hits / asked.sum(1).clamp_min(1)
