"""Cached evaluator: evaluates nothing a second time, whichever study asks."""

import math
from collections.abc import Sequence
from dataclasses import replace

from nas.evaluators import Evaluator, Outcome, Span
from search_spaces import Architecture


class CachedEvaluator:
    """Answers what is known at once, and asks another evaluator for the rest."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.known: dict[tuple[Architecture, Span | None], Outcome] = {}  # by any ticket
        self._evaluator = evaluator
        self._ready: list[Outcome] = []
        self._asked: dict[int, tuple[Architecture, Span | None]] = {}

    @property
    def capacity(self) -> int:
        """That of the evaluator behind it."""
        return self._evaluator.capacity

    def submit(self, ticket: int, architecture: Architecture, span: Span | None = None) -> None:
        """Take an architecture."""
        asked = architecture, span
        if asked in self.known:
            self._ready.append(replace(self.known[asked], ticket=ticket))
        else:
            self._asked[ticket] = asked
            self._evaluator.submit(ticket, architecture, span)

    def wait(self) -> Sequence[Outcome]:
        """What is known, or else what is found next."""
        if self._ready:
            ready, self._ready = self._ready, []
            return ready
        outcomes = self._evaluator.wait()
        for outcome in outcomes:
            asked = self._asked.pop(outcome.ticket)
            if outcome.error is None and all(map(math.isfinite, outcome.values)):
                self.known[asked] = outcome
        return outcomes

    def close(self) -> None:
        """Give back what the evaluator behind it holds."""
        self._evaluator.close()
