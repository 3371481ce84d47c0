"""Conditions: when a choice is active, by what other choices are decided as.

They combine: all of several, any of several, not one. A choice that does not matter is decided as
nothing, so that no condition on it holds, and the negation of one does.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from search_spaces.files.document import Json
from search_spaces.files.errors import InputError

Option = str | int | float | bool
Values = Mapping[str, Option]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Condition:
    """Condition: a choice is active only where `choice` is decided as one of `options`."""

    choice: str
    options: tuple[Option, ...]

    def holds(self, decided: Values) -> bool:
        """Whether it holds where these choices are decided and no others."""
        return self.choice in decided and decided[self.choice] in self.options

    def leaves(self) -> Iterator["Condition"]:
        """The conditions on one choice that it is made of."""
        yield self

    def replaced(self, change: "Callable[[Condition], Condition]") -> "Condition":
        """The same with each of its leaves changed."""
        return change(self)

    def mask(self, leaf: "Callable[[Condition], Mask]") -> Mask:
        """Where it holds, of n architectures, (n,); `leaf` says it of conditions on one choice."""
        return leaf(self)

    def to_json(self) -> Json:
        """As a space's document has it."""
        return {"choice": self.choice, "options": list(self.options)}


@dataclass(frozen=True)
class _Several:
    """What conjunctions and disjunctions share."""

    conditions: "tuple[AnyCondition, ...]"
    word: ClassVar[str]  # in a space's document

    def __post_init__(self) -> None:
        if not self.conditions:
            raise InputError(f"{type(self).__name__} needs at least one condition")

    def leaves(self) -> Iterator[Condition]:
        """See Condition."""
        for condition in self.conditions:
            yield from condition.leaves()

    def replaced(self, change: Callable[[Condition], Condition]) -> Self:
        """See Condition."""
        return type(self)(tuple(condition.replaced(change) for condition in self.conditions))

    def to_json(self) -> Json:
        """See Condition."""
        return {self.word: [condition.to_json() for condition in self.conditions]}


@dataclass(frozen=True)
class AllOf(_Several):
    """Conjunction: holds where all of its conditions do."""

    word = "all"

    def holds(self, decided: Values) -> bool:
        """See Condition."""
        return all(condition.holds(decided) for condition in self.conditions)

    def mask(self, leaf: Callable[[Condition], Mask]) -> Mask:
        """See Condition."""
        return np.asarray(np.logical_and.reduce([c.mask(leaf) for c in self.conditions]))


@dataclass(frozen=True)
class AnyOf(_Several):
    """Disjunction: holds where any of its conditions does."""

    word = "any"

    def holds(self, decided: Values) -> bool:
        """See Condition."""
        return any(condition.holds(decided) for condition in self.conditions)

    def mask(self, leaf: Callable[[Condition], Mask]) -> Mask:
        """See Condition."""
        return np.asarray(np.logical_or.reduce([c.mask(leaf) for c in self.conditions]))


@dataclass(frozen=True)
class Not:
    """Negation: holds where its condition does not, also because what it asks does not matter."""

    condition: "AnyCondition"

    def holds(self, decided: Values) -> bool:
        """See Condition."""
        return not self.condition.holds(decided)

    def leaves(self) -> Iterator[Condition]:
        """See Condition."""
        return self.condition.leaves()

    def replaced(self, change: Callable[[Condition], Condition]) -> "Not":
        """See Condition."""
        return Not(self.condition.replaced(change))

    def mask(self, leaf: Callable[[Condition], Mask]) -> Mask:
        """See Condition."""
        return ~self.condition.mask(leaf)

    def to_json(self) -> Json:
        """See Condition."""
        return {"not": self.condition.to_json()}


AnyCondition = Condition | AllOf | AnyOf | Not


def condition_from_json(entry: Any, where: str) -> AnyCondition:
    """Read a condition out of a space's document.

    Raises:
        InputError: it is none of the forms that there are.
    """
    if isinstance(entry, dict):
        if isinstance(entry.get("choice"), str) and isinstance(entry.get("options"), list):
            return Condition(entry["choice"], tuple(entry["options"]))
        for kind in (AllOf, AnyOf):
            if isinstance(listed := entry.get(kind.word), list):
                return kind(tuple(condition_from_json(each, where) for each in listed))
        if "not" in entry:
            return Not(condition_from_json(entry["not"], where))
    raise InputError(
        f"{where}: a condition has a 'choice' and a list of 'options', or is a list under 'all' or "
        f"'any', or one under 'not'; found {entry!r}"
    )
