"""Optuna's TPE for choices whose options are numbers: a kernel over their order.

Optuna 5 has no categorical distances any more. Where a Parzen estimator is built, the places of
such options in their order are taken for integers; trials keep the options themselves.
"""

from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import TPESampler

from search_spaces.space.choice import is_ordinal

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial


class OrdinalTPE(TPESampler):
    """TPE to which 4 lies between 2 and 8."""

    def _sample(
        self, study: "Study", trial: "FrozenTrial", search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        ordered = {name: _ordered(each) for name, each in search_space.items()}
        found: dict[str, Any] = super()._sample(study, trial, ordered)
        return found


class _Places(IntDistribution):
    """The places of numbers in their order; outside, the numbers."""

    def __init__(self, options: list[float]) -> None:
        super().__init__(0, len(options) - 1)
        self._options = options

    def to_internal_repr(self, option: Any) -> float:
        return float(self._options.index(option))

    def to_external_repr(self, place: float) -> Any:
        return self._options[int(place)]


def _ordered(distribution: BaseDistribution) -> BaseDistribution:
    if isinstance(distribution, CategoricalDistribution) and is_ordinal(distribution.choices):
        return _Places(sorted(distribution.choices))  # type: ignore[arg-type]  # all numbers
    return distribution
