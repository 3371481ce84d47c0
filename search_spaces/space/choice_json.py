"""Choices as a space's JSON document has them."""

from search_spaces.files import document
from search_spaces.files.document import Json
from search_spaces.files.errors import InputError
from search_spaces.space.choice import AnyChoice, Choice, NumericChoice
from search_spaces.space.conditions import condition_from_json


def choice_to_json(choice: AnyChoice) -> Json:
    """As a space's document has it."""
    if isinstance(choice, NumericChoice):
        return {
            "name": choice.name,
            "low": choice.low,
            "high": choice.high,
            "integer": choice.integer,
        }
    entry: Json = {"name": choice.name, "options": list(choice.options)}
    if choice.when is not None:
        entry["when"] = choice.when.to_json()
    return entry


def choice_from_json(entry: object) -> AnyChoice:
    """Read a choice out of a space's document.

    Raises:
        InputError: a field that is missing or of another kind.
    """
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
    condition = None if when is None else condition_from_json(when, f"choice {name!r}, when")
    return Choice(name, tuple(options), condition)
