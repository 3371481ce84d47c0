"""Optuna's parameters as choices of a space: what a trial holds, and what an architecture says.

A space's own parameters are its choices. Those of somebody else's study may be None, go in steps or
on a logarithmic scale; here they become options and numbers that a space has, and back.
"""

import math
from bisect import bisect_left
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

FEW = 16  # numbers that are options, and not a range
GRID = 64  # whole numbers of a logarithmic range that are tried: as many as of a free number


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
    high: float
    step: float

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return round((self.high - self.low) / self.step) + 1

    def option(self, value: float) -> int:
        """How many steps a trial's value is from the lowest; its last digits may be others."""
        at = round((value - self.low) / self.step)
        if not 0 <= at < self.count:
            raise InputError(f"{value!r} is outside [{self.low:g}, {self.high:g}]")
        return at

    def value(self, option: Option) -> float:
        """A trial's value, as Optuna's own samplers spell it."""
        return min(self.low + self.step * int(option), self.high)


@dataclass(frozen=True)
class FewSteps:
    """A number that goes in few steps: its options are the numbers."""

    steps: Steps

    def option(self, value: float) -> Option:
        """The option that a trial's value is, where 0.3 may be 0.1 + 0.1 + 0.1."""
        return self.steps.value(self.steps.option(value))

    def value(self, option: Option) -> Option:
        """A trial's value."""
        return option


@dataclass(frozen=True)
class Logarithm:
    """A number on a logarithmic scale: its choice is the logarithm."""

    low: float
    high: float

    def option(self, value: float) -> Option:
        """The logarithm of a trial's value."""
        return min(max(math.log(value), math.log(self.low)), math.log(self.high))

    def value(self, option: Option) -> float:
        """A trial's value."""
        return min(max(math.exp(float(option)), self.low), self.high)


@dataclass(frozen=True)
class Grid:
    """Whole numbers on a logarithmic scale: its choice counts them, so that none comes twice."""

    values: tuple[int, ...]

    @staticmethod
    def of(low: int, high: int) -> "Grid":
        """All whole numbers of a range, or those nearest to a geometric sequence."""
        if high - low < GRID:
            return Grid(tuple(range(low, high + 1)))
        ratio = high / low
        found = {round(low * ratio ** (at / (GRID - 1))) for at in range(GRID - 1)}
        return Grid((*sorted(found - {high}), high))

    def option(self, value: float) -> int:
        """Which of them is the nearest to a trial's value, by their ratio."""
        if not self.values[0] <= value <= self.values[-1]:
            raise InputError(f"{value!r} is outside [{self.values[0]}, {self.values[-1]}]")
        above = bisect_left(self.values, value)
        below = max(above - 1, 0)
        return above if value * value > self.values[below] * self.values[above] else below

    def value(self, option: Option) -> int:
        """A trial's value."""
        return self.values[int(option)]


Number = IntDistribution | FloatDistribution
Translation = Listed | Steps | FewSteps | Logarithm | Grid


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
    return _number(name, distribution)


def _number(name: str, distribution: Number) -> tuple[AnyChoice, Translation | None]:
    low, high = distribution.low, distribution.high
    if low == high:
        return Choice(name, (low,)), None
    if distribution.step is not None:
        return _stepped(name, distribution, Steps(low, high, distribution.step))
    if distribution.log:
        return NumericChoice(name, math.log(low), math.log(high)), Logarithm(low, high)
    return NumericChoice(name, low, high), None


def _stepped(name: str, distribution: Number, steps: Steps) -> tuple[AnyChoice, Translation | None]:
    whole = isinstance(distribution, IntDistribution)
    if steps.count <= FEW:
        values = tuple(map(steps.value, range(steps.count)))
        return Choice(name, values), None if whole else FewSteps(steps)
    if isinstance(distribution, IntDistribution) and distribution.log:
        grid = Grid.of(distribution.low, distribution.high)
        return NumericChoice(name, 0, len(grid.values) - 1, integer=True), grid
    if whole and steps.step == 1:
        return NumericChoice(name, steps.low, steps.high, integer=True), None
    return NumericChoice(name, 0, steps.count - 1, integer=True), steps


def _named(name: str, values: tuple[Any, ...]) -> tuple[AnyChoice, Translation | None]:
    """Categories as options; where a space has no such options, their places and spellings are."""
    try:
        return Choice(name, values), None
    except InputError:
        spelled = tuple(f"{place}: {value!r}" for place, value in enumerate(values))
        return Choice(name, spelled), Listed(values, spelled)
