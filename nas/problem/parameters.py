"""Optuna's parameters as choices of a space: what a trial holds, and what an architecture says.

A space's own parameters are its choices. Those of somebody else's study may be None, go in steps or
on a logarithmic scale; here they become options and numbers that a space has, and back.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nas.problem.distributions import distributions
from search_spaces import Choice, InputError, NumericChoice, SearchSpace
from search_spaces.space.choice import AnyChoice
from search_spaces.space.conditions import Option

FEW = 16  # whole numbers that are options, and not a range


@dataclass(frozen=True)
class Listed:
    """Options that stand for values one by one."""

    values: tuple[Any, ...]
    options: tuple[Option, ...]

    def option(self, value: Any) -> Option:
        """The option that a trial's value is."""
        for known, option in zip(self.values, self.options, strict=True):
            if known is value or (type(known) is type(value) and known == value):
                return option
        raise InputError(f"{value!r} is none of {self.values}")

    def value(self, option: Option) -> object:
        """A trial's value."""
        return self.values[self.options.index(option)]


@dataclass(frozen=True)
class Steps:
    """A number that goes in steps: its choice counts them."""

    low: float
    step: float

    def option(self, value: float) -> Option:
        """How many steps a trial's value is from the lowest."""
        return round((value - self.low) / self.step)

    def value(self, option: Option) -> float:
        """A trial's value."""
        return self.low + self.step * int(option)


@dataclass(frozen=True)
class Logarithm:
    """A number on a logarithmic scale: its choice is the logarithm."""

    low: float
    high: float
    whole: bool

    def option(self, value: float) -> Option:
        """The logarithm of a trial's value."""
        return min(max(math.log(value), math.log(self.low)), math.log(self.high))

    def value(self, option: Option) -> float:
        """A trial's value."""
        found = min(max(math.exp(float(option)), self.low), self.high)
        return round(found) if self.whole else found


Number = IntDistribution | FloatDistribution
Translation = Listed | Steps | Logarithm


@dataclass(frozen=True)
class Parameters:
    """The parameters of a study, and the space whose choices they are.

    Args:
        space: of the choices.
        distributions: of the parameters, by name.
        translations: of those parameters whose values are no options of their choice.
    """

    space: SearchSpace
    distributions: Mapping[str, BaseDistribution]
    translations: Mapping[str, Translation]

    @staticmethod
    def of_space(space: SearchSpace) -> "Parameters":
        """Of trials that a space decides by `suggest`: a parameter is a choice."""
        return Parameters(space, distributions(space), {})

    @staticmethod
    def of_distributions(search_space: Mapping[str, BaseDistribution]) -> "Parameters":
        """Of anybody's study.

        Raises:
            InputError: a distribution of another kind than Optuna's three.
        """
        choices: list[AnyChoice] = []
        translations: dict[str, Translation] = {}
        for name, distribution in search_space.items():
            choice, translation = _choice(name, distribution)
            choices.append(choice)
            if translation is not None:
                translations[name] = translation
        return Parameters(SearchSpace("parameters", tuple(choices)), search_space, translations)

    def options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a trial's values decide; InputError where one is none of its parameter's."""
        return {
            name: self.translations[name].option(value) if name in self.translations else value
            for name, value in values.items()
            if name in self.distributions
        }

    def values(self, decided: Mapping[str, Option]) -> dict[str, Any]:
        """A trial's values for what is decided."""
        return {
            name: self.translations[name].value(option) if name in self.translations else option
            for name, option in decided.items()
        }


def _choice(name: str, distribution: BaseDistribution) -> tuple[AnyChoice, Translation | None]:
    if isinstance(distribution, CategoricalDistribution):
        return _named(name, tuple(distribution.choices))
    if not isinstance(distribution, (IntDistribution, FloatDistribution)):
        raise InputError(
            f"parameter {name!r} has a {type(distribution).__name__}; strategies know categorical, "
            "integer and float distributions"
        )
    values = _few(distribution)
    return (Choice(name, values), None) if values else _number(name, distribution)


def _few(distribution: Number) -> tuple[int | float, ...]:
    """The values of a number that has few of them."""
    low, high, step = distribution.low, distribution.high, distribution.step
    if low == high:
        return (low,)
    count = math.inf if step is None else round((high - low) / step) + 1
    return tuple(low + (step or 0) * at for at in range(int(count))) if count <= FEW else ()


def _number(name: str, distribution: Number) -> tuple[AnyChoice, Translation | None]:
    low, high, step = distribution.low, distribution.high, distribution.step
    whole = isinstance(distribution, IntDistribution)
    if distribution.log:
        return NumericChoice(name, math.log(low), math.log(high)), Logarithm(low, high, whole)
    if step is None or (whole and step == 1):
        return NumericChoice(name, low, high, integer=whole), None
    count = round((high - low) / step) + 1
    return NumericChoice(name, 0, count - 1, integer=True), Steps(low, step)


def _named(name: str, values: tuple[Any, ...]) -> tuple[AnyChoice, Translation | None]:
    """Categories as options; where a space has no such options, their places and spellings are."""
    try:
        return Choice(name, values), None
    except InputError:
        spelled = tuple(f"{place}: {value!r}" for place, value in enumerate(values))
        return Choice(name, spelled), Listed(values, spelled)
