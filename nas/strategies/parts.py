"""Independent parts of a space: a choice with all that depends on it, and every option of both."""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.problem.problem import Matrix, Vector
from search_spaces import InputError, NumericChoice
from search_spaces.space.integer_encoding import INACTIVE, Codes, IntegerEncoder

LARGEST_PART = 2000  # options of one part
LEVELS = 9  # of a number that varies freely


@dataclass(frozen=True)
class Parts:
    """A space as independent parts, each with all its options."""

    places: tuple[tuple[int, ...], ...]  # of each part's choices
    options: tuple[Codes, ...]  # of each part: (options, its choices)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where each part's columns begin, and where the last end."""
        return np.concatenate([[0], np.cumsum([len(o) for o in self.options])]).astype(np.int64)

    def columns(self, codes: Codes) -> Matrix:
        """(n, columns): which option each part has; nothing where it has none of them."""
        found = np.zeros((len(codes), int(self.starts[-1])))
        for part, (places, options) in enumerate(zip(self.places, self.options, strict=True)):
            far = np.abs(codes[:, None, places] - options[None]).sum(axis=2)
            found[np.arange(len(codes)), self.starts[part] + far.argmin(axis=1)] = 1.0
        return found

    def arranged(self, chosen: Vector) -> Codes:
        """The row of codes whose options are above one half in `chosen`, (columns,)."""
        row = np.full(sum(len(places) for places in self.places), INACTIVE)
        for part, (places, options) in enumerate(zip(self.places, self.options, strict=True)):
            inside = chosen[self.starts[part] : self.starts[part + 1]]
            row[list(places)] = options[int(np.argmax(inside))]
        return row


def parts_of(coder: IntegerEncoder) -> Parts:
    """The parts of a space.

    Raises:
        InputError: a part has too many options to list.
    """
    at = {choice.name: place for place, choice in enumerate(coder.choices)}
    groups = (tuple(sorted(at[name] for name in each)) for each in coder.space.dependent)
    places = sorted(groups)
    return Parts(tuple(places), tuple(_options(coder, each) for each in places))


def _options(coder: IntegerEncoder, places: tuple[int, ...]) -> Codes:
    levels = [
        np.unique(coder.stepped(place, np.linspace(0, 1, LEVELS)))
        if isinstance(coder.choices[place], NumericChoice)
        else np.arange(coder.option_counts[place], dtype=float)
        for place in places
    ]
    count = int(np.prod([len(each) for each in levels]))
    if count > LARGEST_PART:
        name = coder.choices[places[0]].name
        raise InputError(
            f"strategy 'exact' lists every option of a choice with all that depends on it; "
            f"{name!r} has up to {count}; use 'cost-aware'"
        )
    rows = np.zeros((count, len(coder.choices)))
    rows[:, list(places)] = list(itertools.product(*levels))
    found: Codes = np.unique(coder.canonical(rows)[:, list(places)], axis=0)
    return found
