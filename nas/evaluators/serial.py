"""Evaluations in this process, one after the other."""

from collections import deque
from collections.abc import Callable, Sequence
from statistics import fmean

from nas.evaluators import BadAnswerError, Outcome, Samples, Span
from nas.problem.errors import in_a_line
from search_spaces import Architecture

# (architecture), or (architecture, span) where evaluations look more or less closely.
Quality = Callable[..., float | Sequence[float] | Samples]


class Serial:
    """An evaluator that calls a function, which returns the unknown objectives."""

    capacity = 1

    def __init__(self, quality: Quality) -> None:
        self._quality = quality
        self._waiting: deque[tuple[int, Architecture, Span | None]] = deque()

    def submit(self, ticket: int, architecture: Architecture, span: Span | None = None) -> None:
        """Take an architecture."""
        self._waiting.append((ticket, architecture, span))

    def wait(self) -> list[Outcome]:
        """Evaluate the next one."""
        return [evaluated(self._quality, *self._waiting.popleft())]

    def close(self) -> None:
        """Forget what is waiting."""
        self._waiting.clear()


def evaluated(
    quality: Quality, ticket: int, architecture: Architecture, span: Span | None = None
) -> Outcome:
    """What a function finds of an architecture; whatever it raises becomes an outcome's error."""
    try:
        found = quality(architecture) if span is None else quality(architecture, span)
        if isinstance(found, Samples):
            return Outcome(ticket, (fmean(found.values),), samples=found.values)
        values = (found,) if isinstance(found, int | float) else found
        return Outcome(ticket, tuple(float(value) for value in values))
    except BadAnswerError as error:
        return Outcome(ticket, error=str(error), fatal=True)
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        return Outcome(ticket, error=in_a_line(error))
