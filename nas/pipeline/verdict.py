"""The verdict of a search: whether it beat random search at equal cost, in a sentence or two."""

import math
from collections.abc import Iterator
from typing import Any

from search_spaces.tables.columns import in_words

TOLD_APART = 2.0  # standard errors
SMALL = 1e-4  # errors below are written with a power of ten
RANDOM = "random"  # the baseline's strategy
WHOSE = {
    "search": "a network of the search",
    "random": "a random pick",
    "uniform": "a uniform layout",
}


def verdict(summary: dict[str, Any]) -> str:
    """Who was better and by how much, what was handed over, how soon, and a goal that was missed.

    Args:
        summary: of a search, with its `worth` (`nas.pipeline.worth`).
    """
    return " ".join(f"{sentence}." for sentence in _sentences(summary))


def _sentences(summary: dict[str, Any]) -> Iterator[str]:
    worth, origin = summary["worth"], summary["winner_origin"]
    if worth["strategy"] == RANDOM:
        yield "The search was random itself: random picks beside it say nothing of its worth"
    elif worth["difference"] is None:
        is_searched = worth["best_so_far"]["search"][-1] is not None
        only = "the search" if is_searched else "random picks"
        goal = summary["goal"]
        where = " in the region" if goal["region"] and not goal["missed"] else ""
        where += " that were seen fully" if worth["is_race"] else ""
        yield f"Only {only} found networks{where}{_handed_over(origin)}"
    else:
        yield _who_was_better(worth, origin)
        if not worth["is_race"]:
            yield _how_soon(worth)
    if not_full := summary["not_full"]:
        yield not_full
    if missed := summary["goal"]["missed"]:
        yield missed


def _who_was_better(worth: dict[str, Any], origin: str) -> str:
    found = worth["difference"]
    value, error, what = found["value"], found["error"], in_words(found["of"])
    if worth["same_best"] or (error is None and value == 0):
        network = "network" if worth["same_best"] else what
        return (
            f"The search and random picks at equal cost have the same best {network}"
            f"{_handed_over(origin)}"
        )
    where = what if worth["goal"] == "best" else f"{what} alone"
    if found["judged_on"]:
        where += f" on {found['judged_on']}"
    if error is not None and not abs(value) > TOLD_APART * error:
        return (
            f"The search is not told apart from random picks at equal cost ("
            f"{with_error(value, error, sign='+')} in {where}){_handed_over(origin)}"
        )
    has_won = (value > 0) == worth["maximize"]
    by = f"by {with_error(abs(value), error)} in {where}"
    doubt = ", whose error is not known" if error is None else ""
    handed = _handed_over(origin)
    if origin == ("random" if has_won else "search"):
        why = f", as {found['judged_on']} choose nothing" if found["judged_on"] else ""
        handed = f", but {WHOSE[origin]} was handed over{why}"
    verb = "beat" if has_won else "lost to"
    return f"The search {verb} random picks at equal cost {by}{doubt}{handed}"


def _how_soon(worth: dict[str, Any]) -> str:
    networks, reached = len(worth["best_so_far"]["search"]), worth["reached_after"]
    by = ", by what it saw" if worth["difference"]["judged_on"] else ""
    if reached is None:
        return f"None of its {networks} networks was as good as random's best{by}"
    return f"It had one as good as random's best after {reached} of its {networks} networks{by}"


def _handed_over(origin: str) -> str:
    """What was handed over, where it is none of the search's."""
    return "" if origin == "search" else f"; {WHOSE[origin]} was handed over"


def with_error(value: float, error: float | None, sign: str = "") -> str:
    """A number and its error, to the error's second digit; to four without one."""
    if not error:
        return f"{value:{sign}.4g}" + ("" if error is None else " \u00b1 0")
    if error < SMALL:
        return f"{value:{sign}.2g} \u00b1 {error:.2g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:{sign}.{digits}f} \u00b1 {error:.{digits}f}"
