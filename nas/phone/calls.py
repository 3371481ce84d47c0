"""Network calls of a sampler, beside those that a search's budget counted.

A search prices a clip as so many calls as its `steps`: sampled by more, a network takes longer.
"""

import math
from contextlib import suppress
from typing import Any

from nas.bundle import Bundle
from search_spaces.files.document import Json
from temporal_bundle.manifest import one_line

STRANGE = (KeyError, TypeError, ValueError, AttributeError)  # of a bundle that says it otherwise


def priced(bundle: Bundle, calls: int) -> Json:
    """What a search's budget counted, and what so many calls take by its prediction.

    What a bundle does not say is left out.
    """
    found: Json = {}
    told = bundle.latency
    with suppress(*STRANGE):
        found["budget"] = {"calls": int(bundle.manifest["study"]["settings"]["budget"]["steps"])}
        found["budget"]["latency_ms"] = float(told["pipeline_ms"])
    with suppress(*STRANGE):
        figures = {name: _total(told, name, calls) for name in ("latency_ms", "low_ms", "high_ms")}
        found["predicted"] = {"device": str(told["device"]), **figures}
    return found


def calls_in_words(pipeline: Json) -> str:
    """How many a clip takes, for people, of a pipeline's manifest."""
    line = f"{pipeline['denoiser']['calls']}"
    if predicted := pipeline.get("predicted"):
        line += (
            f", predicted to take {predicted['latency_ms']:.5g} ms on "
            f"{one_line(predicted['device'])} with what runs beside them (90% bounds "
            f"{predicted['low_ms']:.5g} to {predicted['high_ms']:.5g})"
        )
    if budget := pipeline.get("budget"):
        line += f"; the search's budget counted {budget['calls']}"
        line += f", {budget['latency_ms']:.5g} ms" if "latency_ms" in budget else ""
    return line


def _total(told: Any, name: str, calls: int) -> float:
    """Of all calls and the other parts; bounds of the parts add, as if all were at them at once."""
    parts = math.fsum(float(part[name]) for part in told["parts"])
    return calls * float(told["network"][name]) + parts
