"""Budgets: the limits that a winner must keep."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from nas.costs.contract import Costs, Meter, Sized
from nas.costs.fixed_parts import FixedPart, PartFolder, plain_name
from nas.problem.goal import FRONT, Goal
from nas.problem.problem import Matrix, Objective, Problem, Vector
from search_spaces import Architecture, InputError, SearchSpace
from search_spaces.tables.columns import UNITS, suffix_of

QUALITY = "validation_loss"
DEFAULT_OBJECTIVES = (QUALITY, "latency_ms")
MAXIMISED = ":max"  # after the name of an objective of which more is better
Bound = Literal["prediction", "upper"]


@dataclass(frozen=True)
class Budget:
    """Limits as a person gives them; None where there is none.

    `latency` is in ms for the whole pipeline ("4120") or a share of the slowest network's ("60%"),
    on every device, or on the first where `other_latency` says it of the others. `energy_mj` is of
    all denoising steps. `parts` run once a clip, on every device, in place of those that are
    published of the space under the same names; those given as folders are predicted by what they
    are. `bound` says what of a latency counts: the
    prediction, or its upper 90% bound.
    """

    latency: str | None = "60%"
    parameters: int | None = None
    memory_mb: float | None = None
    energy_mj: float | None = None
    steps: int = 4
    parts: tuple[FixedPart | PartFolder, ...] | None = None
    other_latency: tuple[str, ...] = ()
    bound: Bound = "prediction"

    def __post_init__(self) -> None:
        for latency in (*([] if self.latency is None else [self.latency]), *self.other_latency):
            value, _ = parse_latency(latency)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"latency budget {latency!r} is not positive")
        if self.bound not in ("prediction", "upper"):
            raise InputError(f"`limit_bound={self.bound}`: is neither prediction nor upper")
        if self.steps < 1:
            raise InputError(f"steps must be at least 1; found {self.steps}")
        names = [part.name for part in self.parts or ()]
        if len({plain_name(name) for name in names}) < len(names):
            raise InputError(f"a part of the pipeline is given twice: {', '.join(names)}")
        for name in ("parameters", "memory_mb", "energy_mj"):
            limit = getattr(self, name)
            if limit is not None and not 0 < limit < math.inf:
                raise InputError(
                    f"budget {name}: {limit} is no finite number above 0; leave it out for none"
                )


@dataclass(frozen=True)
class Target:
    """A device that networks are to run on, and how long the pipeline may take there."""

    costs: Costs
    latency_ms: float  # infinite where there is no limit
    objective: str  # what its latency is called: latency_ms, of other devices latency_NAME_ms
    parts: tuple[FixedPart, ...] = ()  # that run once a clip, beside the network

    @property
    def fixed_ms(self) -> float:
        """What the fixed parts take together."""
        return math.fsum(part.latency_ms for part in self.parts)

    @property
    def fixed_bounds_ms(self) -> tuple[float, float]:
        """From where to where they may take together: all of them at their bounds at once."""
        low, high = (math.fsum(part.bounds_ms[side] for part in self.parts) for side in (0, 1))
        return low, high

    def counted_ms(self, bound: Bound) -> float:
        """What a latency limit counts of them."""
        return self.fixed_ms if bound == "prediction" else self.fixed_bounds_ms[1]

    def network_ms(self, budget: Budget) -> float:
        """What the budget leaves for one call of the network; infinite without a budget."""
        return (self.latency_ms - self.counted_ms(budget.bound)) / budget.steps


@dataclass(frozen=True)
class Limits:
    """A budget in numbers, on one device or several, and what architectures use of it."""

    budget: Budget
    targets: tuple[Target, ...]  # the first is the main one; none where nothing is predicted
    memory_mb: float | None = None  # of the budget and every device
    energy: Costs | None = None  # of a device that was calibrated on millijoules
    sized: Sized | None = None  # what networks hold, where no device says it

    @property
    def costs(self) -> Costs:
        """On the main device; there is one."""
        return self.targets[0].costs

    @property
    def space(self) -> SearchSpace:
        """Whose architectures are meant."""
        found = self.targets[0].costs if self.targets else self.sized
        assert found is not None, "a space with nothing known is still a space"
        return found.space

    @property
    def sizes(self) -> Mapping[str, Meter]:
        """What is known of networks whatever they run on, as the main device counts it."""
        main = self.targets[0].costs.sizes if self.targets else {}
        return {**(self.sized.sizes if self.sized else {}), **main}

    @property
    def latency_ms(self) -> float:
        """The limit on the main device; infinite where there is none."""
        return self.targets[0].latency_ms if self.targets else math.inf

    def pipeline_ms(self, architecture: Architecture) -> float:
        """All denoising steps and the fixed parts, on the main device."""
        return float(self.pipelines_ms([architecture], self.targets[0])[0])

    def pipelines_ms(self, architectures: Sequence[Architecture], target: Target) -> Vector:
        """The same of n architectures on one of the devices, (n,)."""
        network_ms = target.costs.latencies_ms(architectures)
        return self.budget.steps * network_ms + target.fixed_ms

    def limited_ms(self, architectures: Sequence[Architecture], target: Target) -> Vector:
        """What the latency limit counts, (n,): the prediction, or its upper bound."""
        if self.budget.bound == "prediction":
            return self.pipelines_ms(architectures, target)
        upper_ms = target.costs.upper_ms(architectures)
        return self.budget.steps * upper_ms + target.counted_ms("upper")

    def memories_mb(self, architectures: Sequence[Architecture]) -> Vector:
        """On the device that needs most, (n,)."""
        found = [
            target.costs.sizes["memory_mb"](architectures)
            for target in self.targets
            if "memory_mb" in target.costs.sizes
        ]
        if not found:
            found = [self.sizes["memory_mb"](architectures)]
        return np.asarray(np.max(found, axis=0))

    def energies_mj(self, architectures: Sequence[Architecture]) -> Vector:
        """Of all denoising steps, (n,)."""
        assert self.energy is not None
        return self.budget.steps * self.energy.latencies_ms(architectures)

    def excess_of(self, architectures: Sequence[Architecture]) -> dict[str, Vector]:
        """By how much each limit is passed, (n,): above 0 is over it, in the limit's own unit."""
        found = {
            target.objective: self.limited_ms(architectures, target) - target.latency_ms
            for target in self.targets
            if math.isfinite(target.latency_ms)
        }
        if self.budget.parameters is not None:
            counts = self.sizes["parameters_count"](architectures)
            found["parameters"] = counts - self.budget.parameters
        if self.memory_mb is not None:
            found["memory_mb"] = self.memories_mb(architectures) - self.memory_mb
        if self.budget.energy_mj is not None:
            found["energy_mj"] = self.energies_mj(architectures) - self.budget.energy_mj
        return found

    def excess(self, architecture: Architecture) -> dict[str, float]:
        """The same of one architecture."""
        return {name: float(over[0]) for name, over in self.excess_of([architecture]).items()}

    def keeps(self, architecture: Architecture) -> bool:
        """Whether an architecture is inside every limit."""
        return all(excess <= 0 for excess in self.excess(architecture).values())

    @property
    def meters(self) -> dict[str, Meter]:
        """What is known of every architecture, by the name that it has as an objective."""
        latencies = {
            target.objective: partial(self.pipelines_ms, target=target) for target in self.targets
        }
        energy = {} if self.energy is None else {"energy_mj": self.energies_mj}
        sizes = dict(self.sizes)
        if "memory_mb" in sizes:
            sizes["memory_mb"] = self.memories_mb
        return {**latencies, **sizes, **energy}

    def problem(
        self,
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        seed: int = 0,
        finds: Collection[str] | None = (QUALITY,),
        goal: Goal = FRONT,
    ) -> Problem:
        """What is searched: what is to be found out against what is known, inside the limits.

        Args:
            objectives: names with their unit at the end, `:max` where more is better; those that
                `meters` has are known, the others evaluations find out.
            seed: of the search.
            finds: what evaluations can find out; None for whatever they are asked.
            goal: what counts.

        Raises:
            InputError: a name that nobody knows or finds, or without a unit; none to be found out.
        """
        meters = self.meters
        asked = [_objective(spelled, meters, finds) for spelled in objectives]
        if all(each.known for each in asked):
            wanted = "what is to be found out" if finds is None else ", ".join(finds)
            raise InputError(f"objectives {', '.join(objectives)}: {wanted} must be one of them")
        known = [meters[each.name] for each in asked if each.known]
        return Problem(
            self.space,
            tuple(asked),
            known=partial(_measured, known),
            violations=self.excess_of,
            seed=seed,
            goal=goal,
        )


def _objective(
    spelled: str, meters: Mapping[str, Meter], finds: Collection[str] | None
) -> Objective:
    name, maximised = spelled.removesuffix(MAXIMISED), spelled.endswith(MAXIMISED)
    if name in meters:
        if maximised:
            raise InputError(f"`objectives={spelled}`: is a cost, of which less is better")
        return Objective(name, known=True)
    if "accuracy" in name and not maximised:
        raise InputError(
            f"`objectives={name}`: less would count as better; spell it {name}{MAXIMISED}, or name "
            "the error"
        )
    if finds is not None and name not in finds:
        raise InputError(f"no objective {name!r}; there are: {', '.join([*finds, *meters])}")
    if ":" in name:
        raise InputError(
            f"`objectives={spelled}`: a name ends in {MAXIMISED} where more is better, and in no "
            "other word"
        )
    if suffix_of(name) in (None, name):
        raise InputError(
            f"`objectives={name}`: has no unit; spell it as {name}_pct or {name}_loss (units: "
            f"{', '.join(UNITS)}), with {MAXIMISED} at the end where more is better"
        )
    return Objective(name, maximize=maximised)


def _measured(meters: Sequence[Meter], architectures: Sequence[Architecture]) -> Matrix:
    columns = [meter(architectures) for meter in meters]
    return np.stack(columns, axis=1) if columns else np.empty((len(architectures), 0))


def parse_latency(latency: str) -> tuple[float, bool]:
    """(number, whether it is a share of the slowest network's)."""
    text = latency.strip()
    is_share = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise InputError(
            f"latency budget {latency!r}: expected ms, or a share of the slowest network's (60%)"
        ) from None
    return (value / 100, True) if is_share else (value, False)
