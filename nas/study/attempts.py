"""Retries of evaluations that fail: what is tried again, given up, and when to stop."""

from collections import deque
from collections.abc import Iterable

from nas.study.ask_tell import AskTellSession, Proposal
from nas.study.race import Race
from nas.study.record import ATTEMPTS, Again
from search_spaces import Architecture

HOPELESS_AT_FIRST = 3  # different architectures given up before any was evaluated
HOPELESS_IN_A_ROW = 20  # later on


class Attempts:
    """What failed, and is tried again or given up.

    Args:
        session: learns what is given up.
        race: whose networks fail at closer looks.

    Attributes:
        given_up: so many networks, of which there was no first look.
        lost: what became of the last closer look that was given up, if one was.
    """

    def __init__(self, session: AskTellSession, race: Race) -> None:
        self.given_up = 0
        self.lost = ""
        self._session = session
        self._race = race
        self._again: deque[Again] = deque()
        self._retried: dict[Architecture, Proposal] = {}  # still running for the strategy
        self._in_a_row = 0
        self._looks: dict[Architecture, int] = {}  # at the next look of each
        self._lost: dict[int, int] = {}  # networks in a row, by level

    def take_up(self, given_up: Iterable[Architecture], again: Iterable[Again]) -> None:
        """Go on from a record."""
        for architecture in given_up:
            self._session.give_up(self._session.add(architecture))
            self.given_up += 1
        self._again.extend(again)

    def next(self) -> tuple[Proposal, int] | None:
        """What is tried again, and for which time; None for nothing."""
        if not self._again:
            return None
        again = self._again.popleft()
        proposal = self._retried.pop(again.architecture, None)
        return proposal or self._session.add(again.architecture), again.attempt

    def of_look(self, architecture: Architecture) -> int:
        """For which time a network would be looked at more closely."""
        return self._looks.get(architecture, 0) + 1

    def looked(self, architecture: Architecture, tried: int) -> None:
        """Take note of closer looks that came to nothing in an earlier try."""
        if tried:
            self._looks[architecture] = tried
        if tried >= ATTEMPTS:
            self._race.put_out(architecture)

    def succeeded(self, architecture: Architecture, level: int) -> None:
        """There is hope again, at a level."""
        self._looks.pop(architecture, None)
        if level:
            self._lost.pop(level, None)
        else:
            self._in_a_row = 0

    def failed(self, proposal: Proposal, attempt: int, error: Exception) -> None:
        """Put an architecture back in the queue, or give it up.

        Raises:
            Exception: as the error is, where too many were given up in a row.
        """
        architecture = proposal.architecture
        if attempt < ATTEMPTS:
            self._again.append(Again(architecture, attempt + 1))
            self._retried[architecture] = proposal
            return
        self._session.give_up(proposal)
        self.given_up += 1
        self._in_a_row += 1
        if self._in_a_row >= (HOPELESS_IN_A_ROW if len(self._race) else HOPELESS_AT_FIRST):
            raise type(error)(
                f"{self._in_a_row} architectures in a row could not be evaluated, each "
                f"tried {ATTEMPTS} times; the last, {architecture}: {error}"
            )

    def failed_look(self, architecture: Architecture, attempt: int, level: int, said: str) -> None:
        """Look again, or no more; where none succeeds, at nothing at that level."""
        self._looks[architecture] = attempt
        if attempt < ATTEMPTS:
            return
        self._race.put_out(architecture)
        self.lost = f"{architecture} could not be evaluated {said}"
        self._lost[level] = self._lost.get(level, 0) + 1
        if self._lost[level] >= HOPELESS_AT_FIRST:
            self._race.stop_below(level)
