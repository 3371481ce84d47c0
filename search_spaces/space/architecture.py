"""Architecture: one point (configuration) of a search space, frozen, hashable and canonical."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from search_spaces.files.document import Json, check
from search_spaces.files.errors import InputError
from search_spaces.space.conditions import Option

FORMAT = "temporal-nas/architecture"
MAJOR = 1


@dataclass(frozen=True)
class Architecture(Mapping[str, Option]):
    """A configuration: the decided choices that matter (are active), in the order of the space.

    Made by `SearchSpace.architecture`, which validates and drops choices that don't matter, so
    that two spellings of one network are equal and share a digest.
    """

    space: str
    items_: tuple[tuple[str, Option], ...]

    def __getitem__(self, name: str) -> Option:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self.items_)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Architecture):
            return NotImplemented
        return (self.space, self.items_) == (other.space, other.items_)

    def __hash__(self) -> int:
        return hash((self.space, self.items_))

    def __str__(self) -> str:
        return " ".join(f"{name}={option}" for name, option in self.items_)

    @cached_property
    def _by_name(self) -> dict[str, Option]:
        return dict(self.items_)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that name this architecture wherever it is stored."""
        text = json.dumps([self.space, self.items_], separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> Json:
        """As a JSON document."""
        return {
            "format": FORMAT,
            "version": f"{MAJOR}.0",
            "space": self.space,
            "choices": dict(self.items_),
        }


def choices_of(document: object, where: str) -> dict[str, Any]:
    """Extract the unchecked choices of an architecture document.

    Raises:
        InputError: not an architecture document, or its choices are not an object.
    """
    checked = check(document, FORMAT, MAJOR, where)
    choices = checked.get("choices")
    if not isinstance(choices, dict):
        raise InputError(f"{where}: 'choices' must be an object of choice names and options")
    return choices
