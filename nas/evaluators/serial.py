"""Evaluations in this process, one after the other."""

from collections import deque
from collections.abc import Callable, Sequence

from nas.evaluators import BadAnswerError, Outcome
from nas.problem.errors import in_a_line
from search_spaces import Architecture

Quality = Callable[[Architecture], float | Sequence[float]]


class Serial:
    """An evaluator that calls a function, which returns the unknown objectives."""

    capacity = 1

    def __init__(self, quality: Quality) -> None:
        self._quality = quality
        self._waiting: deque[tuple[int, Architecture]] = deque()

    def submit(self, ticket: int, architecture: Architecture) -> None:
        """Take an architecture."""
        self._waiting.append((ticket, architecture))

    def wait(self) -> list[Outcome]:
        """Evaluate the next one."""
        ticket, architecture = self._waiting.popleft()
        return [evaluated(self._quality, ticket, architecture)]

    def close(self) -> None:
        """Forget what is waiting."""
        self._waiting.clear()


def evaluated(quality: Quality, ticket: int, architecture: Architecture) -> Outcome:
    """What a function finds of an architecture; whatever it raises becomes an outcome's error."""
    try:
        found = quality(architecture)
        values = (found,) if isinstance(found, int | float) else found
        return Outcome(ticket, tuple(float(value) for value in values))
    except BadAnswerError as error:
        return Outcome(ticket, error=str(error), fatal=True)
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        return Outcome(ticket, error=in_a_line(error))
