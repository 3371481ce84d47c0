"""Evaluators find out how good architectures are, one at a time here or many at once elsewhere.

An evaluator is given architectures with tickets, and hands tickets back with what was found. It
tries nothing twice: the study does, and counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from search_spaces import Architecture


@dataclass(frozen=True)
class Outcome:
    """What came of a ticket: values of the unknown objectives, or in a line why there are none.

    A `fatal` error is one of the evaluation itself, whatever it is asked: nothing is tried again.
    """

    ticket: int
    values: tuple[float, ...] = ()
    error: str | None = None
    fatal: bool = False


class BadAnswerError(Exception):
    """What an evaluation returned is nothing that a search could use, in one line with its mend."""


class Evaluator(Protocol):
    """Evaluates architectures; used by one study at a time."""

    @property
    def capacity(self) -> int:
        """How many architectures it can work on at once, at this moment; at least 1."""

    def submit(self, ticket: int, architecture: Architecture) -> None:
        """Take an architecture; no ticket is used twice while it is on its way."""

    def wait(self) -> Sequence[Outcome]:
        """At least one outcome, as soon as there is one; only called while tickets are out."""

    def close(self) -> None:
        """Give back what it holds."""
