"""Search space: an ordered list of conditional choices; sample, enumerate, neighbours, size."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from search_spaces.files import document
from search_spaces.files.document import Json
from search_spaces.files.errors import InputError
from search_spaces.files.git_lfs import refuse_pointer
from search_spaces.space.architecture import Architecture, choices_of
from search_spaces.space.choice import AnyChoice, Choice, Condition, NumericChoice, Option, Values

FORMAT = "temporal-nas/search-space"
MAJOR = 1


class Trial(Protocol):
    """The part of an Optuna trial that a space needs; keeps optuna out of this package."""

    def suggest_categorical(self, name: str, choices: Sequence[Option]) -> Any:
        """One of the options."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number of the range."""

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """A number of the range."""


@dataclass(frozen=True)
class SearchSpace:
    """A search space: an ordered list of choices; a condition may name only an earlier choice."""

    name: str
    choices: tuple[AnyChoice, ...]

    def __post_init__(self) -> None:
        seen: dict[str, AnyChoice] = {}
        if not self.choices:
            raise InputError(f"space {self.name!r} has no choices")
        for given in self.choices:
            choice = given
            if choice.name in seen:
                raise InputError(f"space {self.name!r} has two choices named {choice.name!r}")
            if isinstance(choice, Choice) and choice.when is not None:
                parent = seen.get(choice.when.choice)
                if not isinstance(parent, Choice):
                    raise InputError(
                        f"space {self.name!r}: choice {choice.name!r} depends on "
                        f"{choice.when.choice!r}, which is no earlier choice with options"
                    )
                wanted = tuple(parent.resolve(option) for option in choice.when.options)
                choice = replace(choice, when=Condition(parent.name, wanted))
            seen[choice.name] = choice
        object.__setattr__(self, "choices", tuple(seen.values()))  # conditions in one spelling

    @cached_property
    def _by_name(self) -> dict[str, AnyChoice]:
        return {choice.name: choice for choice in self.choices}

    def architecture(self, values: Mapping[str, object]) -> Architecture:
        """Validate `values` and make the canonical architecture that they spell.

        Choices that don't matter may be given and are dropped.

        Raises:
            InputError: an unknown choice or option, or a choice that matters is missing.
        """
        for name in values:
            if name not in self._by_name:
                raise InputError(
                    f"space {self.name!r} has no choice {name!r}; its choices: "
                    + ", ".join(self._by_name)
                )
        decided: dict[str, Option] = {}
        for choice in self.choices:
            if not _is_active(choice, decided):
                continue
            if choice.name not in values:
                raise InputError(f"space {self.name!r}: choice {choice.name!r} is not decided")
            decided[choice.name] = choice.resolve(values[choice.name])
        return Architecture(self.name, tuple(decided.items()))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Sample a random architecture: each active choice is decided uniformly, in order."""
        decided: dict[str, Option] = {}
        for choice in self.choices:
            if not _is_active(choice, decided):
                continue
            if isinstance(choice, NumericChoice):
                value = rng.uniform(choice.low, choice.high)
                decided[choice.name] = _rounded(choice, float(value))
            else:
                decided[choice.name] = choice.options[int(rng.integers(len(choice.options)))]
        return Architecture(self.name, tuple(decided.items()))

    def suggest(self, trial: Trial) -> Architecture:
        """Let an Optuna trial decide (define-by-run); inactive choices are never suggested."""
        decided: dict[str, Option] = {}
        for choice in self.choices:
            if not _is_active(choice, decided):
                continue
            if isinstance(choice, Choice):
                decided[choice.name] = trial.suggest_categorical(choice.name, choice.options)
            elif choice.integer:
                low, high = int(choice.low), int(choice.high)
                decided[choice.name] = trial.suggest_int(choice.name, low, high)
            else:
                decided[choice.name] = trial.suggest_float(choice.name, choice.low, choice.high)
        return Architecture(self.name, tuple(decided.items()))

    def enumerate(self) -> Iterator[Architecture]:
        """Enumerate every architecture once, lazily, in the order of the options.

        Raises:
            InputError: a numeric choice varies freely, so there is no list.
        """
        return self._completions({})

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Neighbourhood (local search): architectures that differ in one decision.

        What only matters because of that decision may differ, too.

        Symmetric where every choice has options: a is a neighbour of b if b is one of a. Numeric
        choices step by a tenth of their range.
        """
        for name, current in architecture.items():
            choice = self._by_name[name]
            if isinstance(choice, NumericChoice):
                for step in (-0.1, 0.1):
                    value = float(current) + step * (choice.high - choice.low)
                    value = min(max(value, choice.low), choice.high)
                    moved = self.architecture({**architecture, name: _rounded(choice, value)})
                    if moved != architecture:
                        yield moved
                continue
            for option in choice.options:
                if option != current:
                    yield from self._completions({**architecture, name: option})

    @cached_property
    def size(self) -> float:
        """Count the different architectures (an int); math.inf if numbers vary freely.

        Dynamic programming over the decisions that later conditions still ask about, so a space
        far too large to list is counted at once.
        """
        if any(isinstance(choice, NumericChoice) for choice in self.choices):
            return math.inf
        last_asked = {c.when.choice: i for i, c in enumerate(self.choices) if c.when}
        states: dict[tuple[tuple[str, Option], ...], int] = {(): 1}
        for index, choice in enumerate(self.choices):
            assert isinstance(choice, Choice)
            grown: dict[tuple[tuple[str, Option], ...], int] = {}
            for state, count in states.items():
                decided = dict(state)
                options = choice.options if _is_active(choice, decided) else (None,)
                for option in options:
                    after = dict(decided) if option is None else {**decided, choice.name: option}
                    kept = tuple((n, v) for n, v in after.items() if last_asked.get(n, -1) > index)
                    grown[kept] = grown.get(kept, 0) + count
            states = grown
        return sum(states.values())

    def to_json(self) -> Json:
        """As a JSON document: name, choices, options, conditions."""
        return {
            "format": FORMAT,
            "version": f"{MAJOR}.0",
            "name": self.name,
            "choices": [_choice_to_json(choice) for choice in self.choices],
        }

    def read_architecture(self, path: Path) -> Architecture:
        """Read an architecture file; InputError says what in it does not fit this space."""
        refuse_pointer(path)
        try:
            return self.architecture_from_json(json.loads(path.read_text()), where=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read: {error}") from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not valid JSON: {error}") from None

    def architecture_from_json(self, document_: object, where: str) -> Architecture:
        """Read an architecture out of a JSON document that was read from `where`."""
        choices = choices_of(document_, where)
        named = document_.get("space", self.name) if isinstance(document_, dict) else None
        if named != self.name:
            raise InputError(f"{where}: is of space {named!r}, not {self.name!r}")
        try:
            return self.architecture(choices)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def _completions(self, fixed: Values) -> Iterator[Architecture]:
        """Enumerate the architectures that keep the fixed decisions wherever those matter."""

        def walk(index: int, decided: dict[str, Option]) -> Iterator[Architecture]:
            while index < len(self.choices):
                choice = self.choices[index]
                index += 1
                if not _is_active(choice, decided):
                    continue
                if choice.name in fixed:
                    decided[choice.name] = fixed[choice.name]
                    continue
                if isinstance(choice, NumericChoice):
                    raise InputError(
                        f"space {self.name!r} cannot be listed: {choice.name!r} varies freely"
                    )
                for option in choice.options:
                    yield from walk(index, {**decided, choice.name: option})
                return
            yield Architecture(self.name, tuple(decided.items()))

        return walk(0, {})


def space_from_json(content: object, where: str) -> SearchSpace:
    """Read a space out of a JSON document that was read from `where`."""
    checked = document.check(content, FORMAT, MAJOR, where)
    name, choices = checked.get("name"), checked.get("choices")
    if not isinstance(name, str) or not isinstance(choices, list):
        raise InputError(f"{where}: a space needs a 'name' and a list of 'choices'")
    try:
        return SearchSpace(name, tuple(_choice_from_json(choice) for choice in choices))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _is_active(choice: AnyChoice, decided: Values) -> bool:
    """Whether a choice matters, given the earlier decisions that its condition asks about."""
    when = choice.when
    return when is None or (when.choice in decided and decided[when.choice] in when.options)


def _rounded(choice: NumericChoice, value: float) -> Option:
    return round(value) if choice.integer else value


def _choice_to_json(choice: AnyChoice) -> Json:
    if isinstance(choice, NumericChoice):
        return {
            "name": choice.name,
            "low": choice.low,
            "high": choice.high,
            "integer": choice.integer,
        }
    entry: Json = {"name": choice.name, "options": list(choice.options)}
    if choice.when is not None:
        entry["when"] = {"choice": choice.when.choice, "options": list(choice.when.options)}
    return entry


def _choice_from_json(entry: object) -> AnyChoice:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise InputError(f"a choice must be an object with a name, found {entry!r}")
    name: str = entry["name"]
    if "low" in entry or "high" in entry:
        low = document.finite(entry.get("low"), f"choice {name!r}, low")
        high = document.finite(entry.get("high"), f"choice {name!r}, high")
        return NumericChoice(name, low, high, bool(entry.get("integer", False)))
    options, when = entry.get("options"), entry.get("when")
    if not isinstance(options, list):
        raise InputError(f"choice {name!r} needs a list of 'options' (or 'low' and 'high')")
    condition = None
    if when is not None:
        if not isinstance(when, dict) or not isinstance(when.get("options"), list):
            raise InputError(f"choice {name!r}: 'when' needs a 'choice' and a list of 'options'")
        condition = Condition(str(when.get("choice")), tuple(when["options"]))
    return Choice(name, tuple(options), condition)
