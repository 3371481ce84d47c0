"""Split data into training, validation and test: which films, or which parts of them, are which.

Splits are by film, 70 : 15 : 15, in an order that follows from the files' content: a copy under
another name stays in its split. With fewer than `FILES_TO_SPLIT` films each is cut into three time
ranges instead, first to last.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, TypeVar

Split = Literal["train", "validation", "test"]
SHARES: dict[Split, tuple[float, float]] = {
    "train": (0.0, 0.7),
    "validation": (0.7, 0.85),
    "test": (0.85, 1.0),
}
FILES_TO_SPLIT = 7  # the fewest that give every split a file of its own in about its share


class Film(Protocol):
    """A video, or what was made of it."""

    @property
    def digest(self) -> str:
        """Copies of a video share it, whatever they are called."""
        ...

    @property
    def frames(self) -> int:
        """How many it has."""
        ...


AnyFilm = TypeVar("AnyFilm", bound=Film)


def split_films(films: Sequence[AnyFilm], split: Split) -> Iterator[tuple[AnyFilm, int, int]]:
    """The split's films whole, or, of a few films, its frames `first` to `stop` of each."""
    low, high = SHARES[split]
    digests = sorted({film.digest for film in films})
    if len(digests) < FILES_TO_SPLIT:
        # A copy of a film is cut at the same places, so that it may stay.
        for film in films:
            yield film, round(low * film.frames), round(high * film.frames)
        return
    chosen = set(digests[round(low * len(digests)) : round(high * len(digests))])
    for film in films:
        if film.digest in chosen:
            yield film, 0, film.frames
