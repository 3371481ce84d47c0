"""Choices: the categorical, conditional and numeric decisions that a search space is made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.files.errors import InputError
from search_spaces.space.conditions import AnyCondition, Option


@dataclass(frozen=True)
class Choice:
    """A categorical choice with ordered options; conditional on other choices by `when`."""

    name: str
    options: tuple[Option, ...]
    when: AnyCondition | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("a choice needs a name")
        if not self.options:
            raise InputError(f"choice {self.name!r} has no options")
        for option in self.options:
            if not isinstance(option, (str, int, float, bool)):
                raise InputError(f"choice {self.name!r}: option {option!r} is no string or number")
            if isinstance(option, float) and not math.isfinite(option):
                raise InputError(f"choice {self.name!r}: option {option!r} is not finite")
        if len(set(map(_key, self.options))) != len(self.options):
            raise InputError(f"choice {self.name!r} lists an option twice: {self.options}")

    def resolve(self, value: object) -> Option:
        """Find the option that `value` spells (2, 2.0 and "2" name the same option of a choice).

        Raises:
            InputError: no option is spelled so.
        """
        for option in self.options:
            if _key(option) == _key(value):
                return option
        for option in self.options:
            if _spelling(option) == _spelling(value):
                return option
        listed = ", ".join(map(str, self.options))
        raise InputError(f"choice {self.name!r} has no option {value!r}; its options: {listed}")


def is_ordinal(options: Sequence[object]) -> bool:
    """Whether options are ordinal: numbers that may lie between each other, three or more."""
    return len(options) > 2 and all(
        isinstance(option, (int, float)) and not isinstance(option, bool) for option in options
    )


@dataclass(frozen=True)
class NumericChoice:
    """A numeric choice that varies freely between two numbers, as columns of a table do."""

    name: str
    low: float
    high: float
    integer: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise InputError(
                f"choice {self.name!r}: [{self.low}, {self.high}] is not a finite range"
            )

    @property
    def when(self) -> None:
        """None: a numeric choice is always active."""
        return None

    def resolve(self, value: object) -> Option:
        """Parse the number that `value` spells, if it lies in the range; InputError otherwise."""
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise InputError(f"choice {self.name!r}: {value!r} is not a number") from None
        if not self.low <= number <= self.high:
            raise InputError(
                f"choice {self.name!r}: {number:g} is outside [{self.low:g}, {self.high:g}]"
            )
        return int(number) if self.integer and number.is_integer() else number


def rounded(choice: NumericChoice, value: float) -> Option:
    """What a number in the range of a choice stands for: of whole numbers, the nearest."""
    return round(value) if choice.integer else value


AnyChoice = Choice | NumericChoice


def _key(value: object) -> tuple[str, object]:
    """Equality that keeps True apart from 1, which Python's does not, but not 2 from 2.0."""
    if isinstance(value, bool):
        return ("bool", value)
    return ("number" if isinstance(value, (int, float)) else "string", value)


def _spelling(value: object) -> str:
    """How a table cell spells a value: 2.0 in a float column is the option 2."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else str(number)
