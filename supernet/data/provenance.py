"""Provenance of clips: what they were made with, which whoever learns from them takes along.

A supernet's checkpoint, files of clips and a bundle hold it as `made_with`; its fields, and how two
of them are told apart, are those of `temporal_bundle.made_with`.
"""

from collections.abc import Callable, Iterable
from statistics import median

import torch
from torch import Tensor

from search_spaces import AnyUNetShape
from search_spaces.files.document import Json
from supernet.data.clips import ClipSource, autoencoder_of, empty_context

MADE_WITH = "made_with"
MOST_FPS = 1000.0  # that a bundle may say
CHANNELS = 8  # of a token of the empty caption that are kept


def made_with(source: ClipSource, shape: AnyUNetShape) -> Json:
    """What a source says of its latents, contexts and frames; what it does not say is left out."""
    found: Json = {}
    if (asked_by := getattr(source, "asked_by", None)) is not None:
        found["asked_by"] = asked_by
    if (autoencoder := autoencoder_of(source)) is not None:
        found["autoencoder"] = autoencoder
    empty_LC = empty_context(source, torch.zeros(1, shape.context_tokens, shape.context_channels))
    if empty_LC.any():
        told: Callable[[], Json] = getattr(source, "text_encoder", dict)
        found["text_encoder"] = {"empty": empty_states(empty_LC), **told()}
    if (frames_per_s := getattr(source, "frames_per_s", None)) is not None:
        found["fps"] = frames_per_s
    return found


def empty_states(states_LC: Tensor) -> list[list[float]]:
    """The first numbers of the first two tokens of the empty caption, and of the last one."""
    some = states_LC[[0, min(1, len(states_LC) - 1), -1], :CHANNELS].float()
    return [[round(value, 4) for value in row] for row in some.tolist()]


def typical_rate(rates: Iterable[object]) -> float | None:
    """The median of films' frames a second; None where none of them is known."""
    known = [rate for rate in rates if isinstance(rate, int | float) and rate > 0]
    usual = round(median(known), 3) if known else 0.0
    return usual if 0 < usual <= MOST_FPS else None
