"""Evaluators find out how good architectures are, one at a time here or many at once elsewhere.

An evaluator is given architectures with tickets, and hands tickets back with what was found. It
tries nothing twice: the study does, and counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from search_spaces import Architecture

Span = tuple[int, int]  # from which sample to which an evaluation looks


@dataclass(frozen=True)
class Samples:
    """What an evaluation may return: a number for each sample of its span; their mean counts."""

    values: tuple[float, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a ticket: values of the unknown objectives, or in a line why there are none.

    Args:
        ticket: of the architecture.
        values: of the unknown objectives.
        samples: one number a sample, where the evaluation tells them.
        error: why there are no values.
        fatal: whether it is one of the evaluation itself, whatever it is asked: nothing is tried
            again.
    """

    ticket: int
    values: tuple[float, ...] = ()
    error: str | None = None
    fatal: bool = False
    samples: tuple[float, ...] = ()


class BadAnswerError(Exception):
    """What an evaluation returned is nothing that a search could use, in one line with its mend."""


class Evaluator(Protocol):
    """Evaluates architectures; used by one study at a time."""

    @property
    def capacity(self) -> int:
        """How many architectures it can work on at once, at this moment; at least 1."""

    def submit(self, ticket: int, architecture: Architecture, span: Span | None = None) -> None:
        """Take an architecture; no ticket is used twice while it is on its way.

        Args:
            ticket: comes back with the outcome.
            architecture: to evaluate.
            span: how closely; None where all evaluations are alike.
        """

    def wait(self) -> Sequence[Outcome]:
        """At least one outcome, as soon as there is one; only called while tickets are out."""

    def close(self) -> None:
        """Give back what it holds."""
