"""Multi-objective problem: a space, objectives, constraints, and what is known beforehand.

Costs are known exactly for every architecture; quality is what evaluations find out. A strategy is
given a `Problem` and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.problem.earlier import Earlier
from nas.problem.fidelity import Fidelity
from nas.problem.goal import FRONT, Goal
from search_spaces import Architecture, InputError, SearchSpace

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Known = Callable[[Sequence[Architecture]], Matrix]
Violations = Callable[[Sequence[Architecture]], Mapping[str, Vector]]
Proxy = Callable[[Sequence[Architecture]], Vector]


@dataclass(frozen=True)
class Objective:
    """One thing that is traded off.

    Args:
        name: with its unit at the end: validation_loss, latency_ms, accuracy_pct.
        known: whether it is known for every architecture before any is evaluated.
        maximize: whether more is better.
    """

    name: str
    known: bool = False
    maximize: bool = False


def signs_of(objectives: Sequence[Objective]) -> Vector:
    """1 for each objective that is minimised, -1 for each that is maximised."""
    return np.array([-1.0 if objective.maximize else 1.0 for objective in objectives])


def unconstrained(architectures: Sequence[Architecture]) -> Mapping[str, Vector]:  # noqa: ARG001
    """No hard budgets."""
    return {}


@dataclass(frozen=True)
class Problem:
    """What a strategy may know beforehand.

    Args:
        space: where the architectures come from.
        objectives: in the order of a trial's values.
        known: the known objectives of n architectures, (n, known objectives), in their own units
            and order.
        violations: constraint values of n architectures, (n,) a hard budget; above 0 is over, as
            Optuna counts them.
        seed: of everything that a strategy draws.
        listed: the only architectures that exist, where a table holds no more; None for all.
        proxy: the first unknown objective of n architectures, (n,), far more cheaply and worse
            than evaluations find it: a supernet on few clips. In its unit; only differences count.
        settle: makes what is known of one architecture exact before it is judged, where `known`
            and `violations` guess, and says whether it exists; None where nothing is guessed.
        earlier: what other studies of the space found of the first unknown objective.
        goal: what counts, as a user states it.
        fidelity: how closely evaluations may look; None where all are alike. A strategy is told
            what the first look finds; one that has a method `observe` learns of the others, too
            (`nas.strategies.fidelities`).
    """

    space: SearchSpace
    objectives: tuple[Objective, ...]
    known: Known
    violations: Violations = unconstrained
    seed: int = 0
    listed: tuple[Architecture, ...] | None = None
    proxy: Proxy | None = None
    settle: Callable[[Architecture], bool] | None = None
    earlier: tuple[Earlier, ...] = ()
    goal: Goal = FRONT
    fidelity: Fidelity | None = None

    def __post_init__(self) -> None:
        names = [objective.name for objective in self.objectives]
        if len(set(names)) != len(names):
            raise InputError(f"an objective is named twice: {', '.join(names)}")
        if all(objective.known for objective in self.objectives):
            raise InputError(
                "everything is known, so there is nothing to search; leave one unknown"
            )
        if beyond := [name for name in self.goal.region if name not in names]:
            raise InputError(
                f"`goal=region`: {beyond[0]} is no objective; they are {', '.join(names)}"
            )

    @property
    def signs(self) -> Vector:
        """1 for each objective that is minimised, -1 for each that is maximised."""
        return signs_of(self.objectives)

    @property
    def is_known(self) -> npt.NDArray[np.bool_]:
        """Which objectives are known beforehand."""
        return np.array([objective.known for objective in self.objectives])

    @property
    def corner(self) -> Vector:
        """The goal's limits, (objectives,), less is better; infinite where nothing is said."""
        endless, said = np.inf * self.signs, self.goal.region
        limits = [said.get(e.name, end) for e, end in zip(self.objectives, endless, strict=True)]
        return np.array(limits) * self.signs

    def costs(self, architectures: Sequence[Architecture]) -> Matrix:
        """The known objectives, (n, known objectives), less is better."""
        signs = self.signs[self.is_known]
        known = np.asarray(self.known(architectures), dtype=float)
        return known.reshape(len(architectures), len(signs)) * signs

    def keeps(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.bool_]:
        """Which architectures are inside every hard budget, (n,)."""
        inside = np.ones(len(architectures), dtype=bool)
        for violation in self.violations(architectures).values():
            inside &= np.asarray(violation) <= 0
        return inside

    def values(self, architecture: Architecture, found: Sequence[float]) -> list[float]:
        """All objectives of an architecture, in order, from what an evaluation found of the rest.

        Raises:
            InputError: the evaluation found another number of objectives than are unknown.
        """
        unknown = [objective.name for objective in self.objectives if not objective.known]
        if len(found) != len(unknown):
            raise InputError(
                f"an evaluation must find {len(unknown)} numbers ({', '.join(unknown)}), "
                f"and found {len(found)}"
            )
        costs = iter(np.asarray(self.known([architecture]), dtype=float).reshape(-1).tolist())
        rest = iter(found)
        return [float(next(costs if each.known else rest)) for each in self.objectives]
