"""Walks into somebody else's JSON, and says where it was when something is not as expected."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces import InputError
from search_spaces.files.git_lfs import refuse_pointer

LONGEST_TEXT = 200


@dataclass(frozen=True)
class Field:
    """A value and the way to it. Errors name the field and never print what it holds."""

    value: Any
    file: Path
    name: str = ""
    mend: str = ""

    def __getitem__(self, key: str) -> "Field":
        """A field that must be there."""
        found = self.get(key)
        if found is None:
            raise InputError(f"{self.file}: field {self._inside(key)!r} is missing; {self.mend}")
        return found

    def get(self, key: str) -> "Field | None":
        """A field that may be there; null stands for one that is not."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        found = self.value.get(key)
        return None if found is None else self._at(key, found)

    def entries(self) -> "Iterator[Field]":
        """The entries of a list."""
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        for index, value in enumerate(self.value):
            yield Field(value, self.file, f"{self.name}[{index}]", self.mend)

    def members(self) -> "Iterator[Field]":
        """The values of an object."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        for key, value in self.value.items():
            yield self._at(key, value)

    def text(self) -> str:
        """One line of text that says something."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong("text")
        words = " ".join(self.value.split())  # Apple's names have spaces that do not break lines
        if len(words) > LONGEST_TEXT or not words.isprintable():
            raise self.wrong(f"at most {LONGEST_TEXT} printable characters")
        return words

    def number(self, low: float, high: float = math.inf) -> float:
        """A finite number in a range, both ends included."""
        is_number = isinstance(self.value, (int, float)) and not isinstance(self.value, bool)
        try:
            found = float(self.value) if is_number else math.nan
        except OverflowError:
            found = math.inf
        if not (math.isfinite(found) and low <= found <= high):
            upper = f" to {high:g}" if math.isfinite(high) else " or more"
            raise self.wrong(f"a number, {low:g}{upper}")
        return found

    def whole(self, low: int, high: int) -> int:
        """A whole number in a range, both ends included."""
        found = self.number(low, high)
        if found != int(found):
            raise self.wrong("a whole number")
        return int(found)

    def wrong(self, expected: str) -> InputError:
        """That this is something else."""
        kind = "nothing" if self.value is None else f"a {type(self.value).__name__}"
        where = f"field {self.name!r}" if self.name else "the document"
        return InputError(f"{self.file}: {where} is not {expected} ({kind}); {self.mend}")

    def _inside(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def _at(self, key: str, value: Any) -> "Field":
        return Field(value, self.file, self._inside(key), self.mend)


def read_json(file: Path, mend: str) -> Field:
    """The document in a file.

    Raises:
        InputError: the file cannot be read, or holds no JSON.
    """
    refuse_pointer(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as text ({error}); {mend}") from None
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not valid JSON ({error}); {mend}") from None
    return Field(content, file, mend=mend)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")
