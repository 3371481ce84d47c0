"""The last race: the best few of a search are seen on more clips, until one stands out.

The search saw each network on the same few clips, and the best of many is often a lucky one. The
race takes clips that the search has not seen.
"""

from collections.abc import Callable, Sequence
from typing import Any

from nas.run.results import Found
from supernet import ClipSource, Supernet, Validation
from supernet.evaluation.racing import Verdict, tell_apart

CONFIDENCE = 0.95
SEED = 1000  # beside the search's 0: other clips


def race(
    networks: Sequence[Found],
    finalists: int,
    at_most_clips: int,
    supernet: Supernet,
    data: ClipSource,
    advance: Callable[[int], None],
) -> Verdict[int]:
    """The best of the networks of lowest loss, by their trials.

    Args:
        networks: all that were evaluated.
        finalists: how many are raced, at most.
        at_most_clips: where it ends, decided or not.
        supernet: evaluates them.
        data: the clips.
        advance: is told how many clips were seen, in all.
    """
    best = sorted(networks, key=lambda network: (network.loss, network.latency_ms))[:finalists]
    paths = {network.trial: supernet.path(network.architecture) for network in best}
    verdict = tell_apart(paths, Validation(data, seed=SEED), at_most_clips, CONFIDENCE)
    advance(verdict.clips)
    return verdict


def summary(verdict: Verdict[int]) -> dict[str, Any]:
    """The race for run.json and the report, the winner first."""
    order = sorted(
        verdict.standings.items(),
        key=lambda item: (item[0] != verdict.best, item[1].dropped, item[1].loss.value),
    )
    return {
        "decided": verdict.decided,
        "confidence": CONFIDENCE,
        "clips": verdict.clips,
        "standings": [
            {
                "trial": trial,
                "loss": standing.loss.value,
                "loss_error": standing.loss.error,
                "behind": standing.behind.value,
                "behind_error": standing.behind.error,
                "clips": standing.loss.clips,
                "dropped": standing.dropped,
            }
            for trial, standing in order
        ],
    }
