"""The part of an Optuna trial that a space needs; keeps optuna out of this package."""

from collections.abc import Sequence
from typing import Any, Protocol

from search_spaces.space.conditions import Option


class Trial(Protocol):
    """What decides a space by define-by-run."""

    def suggest_categorical(self, name: str, choices: Sequence[Option]) -> Any:
        """One of the options."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number of the range."""

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """A number of the range."""
