"""Fidelity: how closely an evaluation looks, from a first, cheap look to the full one."""

from dataclasses import dataclass

from search_spaces import InputError

MOST_OF_RATIO = 4  # times how much closer a level looks


@dataclass(frozen=True)
class Fidelity:
    """What evaluations count, and on how much of it networks are seen, look by look.

    Args:
        name: of what is counted: clips, epochs, samples.
        levels: rising counts. Every network is seen at the first; the best go on to the last.
        adds_up: whether a look takes up where the one before ended (clips), or begins anew.
        finalists: so many of the best are seen fully at last.

    Raises:
        InputError: levels that do not rise from above 0.
    """

    name: str
    levels: tuple[int, ...]
    adds_up: bool = False
    finalists: int = 4

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.levels, self.levels[1:], strict=False))
        if not self.levels or self.levels[0] < 1 or not rising:
            listed = ", ".join(map(str, self.levels)) or "nothing"
            raise InputError(
                f"`fidelity={self.name}`: counts must rise from above 0, as 16, 128; found {listed}"
            )

    @property
    def full(self) -> int:
        """The count of a full evaluation."""
        return self.levels[-1]

    @property
    def top(self) -> int:
        """The place of the last level."""
        return len(self.levels) - 1

    def span(self, level: int) -> tuple[int, int]:
        """From where to where a look counts."""
        begins = self.levels[level - 1] if self.adds_up and level else 0
        return begins, self.levels[level]

    def cost(self, level: int) -> int:
        """What a look costs, in what is counted."""
        begin, end = self.span(level)
        return end - begin

    def one_in(self, level: int) -> int:
        """Of so many networks that were seen at a level, one goes on to the next.

        The square of how much closer the next looks, so that where counts double a level costs
        about half of the one below; where they leap, no more than some times that ratio (successive
        halving has the ratio itself, and levels of equal cost).
        """
        ratio = self.levels[level + 1] / self.levels[level]
        return max(2, round(min(ratio * ratio, MOST_OF_RATIO * ratio)))

    def cost_to_full(self, level: int) -> int:
        """What all looks after a level cost."""
        return sum(self.cost(later) for later in range(level + 1, len(self.levels)))


ONCE = Fidelity("networks", (1,))  # where all evaluations are alike: a network costs one


def doubled(first: int, full: int) -> tuple[int, ...]:
    """Levels from a first count to the full one, each about twice the one before."""
    levels = [first]
    while 2 * levels[-1] < full:
        levels.append(2 * levels[-1])
    return (*levels, full) if levels[-1] < full else (full,)
