"""Cached evaluator: evaluates nothing a second time, whichever study asks."""

from collections.abc import Sequence

from nas.evaluators import Evaluator, Outcome
from search_spaces import Architecture


class CachedEvaluator:
    """Answers what is known at once, and asks another evaluator for the rest."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.known: dict[Architecture, tuple[float, ...]] = {}
        self._evaluator = evaluator
        self._ready: list[Outcome] = []
        self._asked: dict[int, Architecture] = {}

    @property
    def capacity(self) -> int:
        """That of the evaluator behind it."""
        return self._evaluator.capacity

    def submit(self, ticket: int, architecture: Architecture) -> None:
        """Take an architecture."""
        if architecture in self.known:
            self._ready.append(Outcome(ticket, self.known[architecture]))
        else:
            self._asked[ticket] = architecture
            self._evaluator.submit(ticket, architecture)

    def wait(self) -> Sequence[Outcome]:
        """What is known, or else what is found next."""
        if self._ready:
            ready, self._ready = self._ready, []
            return ready
        outcomes = self._evaluator.wait()
        for outcome in outcomes:
            architecture = self._asked.pop(outcome.ticket)
            if outcome.error is None:
                self.known[architecture] = outcome.values
        return outcomes

    def close(self) -> None:
        """Give back what the evaluator behind it holds."""
        self._evaluator.close()
