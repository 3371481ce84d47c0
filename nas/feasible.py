"""Is there a network that keeps all budgets, and if not, which two contradict each other?

Costs of slots add, so that both are integer programs over one block a slot, which HiGHS decides.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp

from search_spaces import Architecture

if TYPE_CHECKING:
    from nas.budget import Limits

Matrix = npt.NDArray[np.float64]
ROUNDING = 1e-9  # share of a limit that a sum may be off by


@dataclass(frozen=True)
class Row:
    """A limit on a sum over slots, and on the largest of something over slots beside it.

    Args:
        name: as `Limits.excess` calls it.
        costs: (slots, blocks) that add.
        most: what their sum may be, at most.
        peaks: (slots, blocks), of which the largest adds; None where nothing does.
    """

    name: str
    costs: Matrix
    most: float
    peaks: Matrix | None = None


def rows(limits: "Limits") -> list[Row]:
    """The limits of a budget as they add up."""
    budget, main = limits.budget, limits.costs.table
    found = [
        Row(
            target.objective,
            target.costs.table.ms,
            target.network_ms(budget.steps) - target.costs.table.image_ms,
        )
        for target in limits.targets
        if math.isfinite(target.latency_ms)
    ]
    if budget.parameters is not None:
        most = float(budget.parameters - main.image_parameters)
        found.append(Row("parameters", main.parameter_counts, most))
    if limits.memory_mb is not None:
        # The device that computes in the widest numbers needs most.
        table = max((t.costs.table for t in limits.targets), key=lambda table: table.image_mb)
        most = limits.memory_mb - table.image_mb
        found.append(Row("memory_mb", table.weights_mb, most, table.peaks_mb))
    if budget.energy_mj is not None and limits.energy is not None:
        energy = limits.energy.table
        most = budget.energy_mj / budget.steps - energy.image_ms
        found.append(Row("energy_mj", energy.ms, most))
    return found


def witness(limits: "Limits", kept: Sequence[Row]) -> Architecture | None:
    """The fastest network on the main device that keeps the given limits; None: there is none."""
    space, table = limits.costs.space, limits.costs.table
    slots, blocks = table.ms.shape
    columns = slots * blocks + 1  # the last is the largest peak
    one_each = np.zeros((slots, columns))
    for slot in range(slots):
        one_each[slot, slot * blocks : (slot + 1) * blocks] = 1
    constraints = [LinearConstraint(one_each, 1, 1)]
    for row in kept:
        scale = max(abs(row.most), float(np.abs(row.costs).max()), 1e-300)
        sums = np.append(row.costs.ravel(), 0.0 if row.peaks is None else 1.0) / scale
        constraints.append(LinearConstraint(sums[None], -np.inf, row.most / scale + ROUNDING))
        if row.peaks is not None:
            largest = np.zeros((slots * blocks, columns))
            largest[:, :-1] = np.diag(row.peaks.ravel() / scale)
            largest[:, -1] = -1 / scale
            constraints.append(LinearConstraint(largest, -np.inf, 0))
    whole = np.append(np.ones(slots * blocks), 0)
    upper = np.append(np.ones(slots * blocks), np.inf)
    wanted = np.append(table.ms.ravel() / max(float(np.abs(table.ms).max()), 1e-300), 0.0)
    result = milp(wanted, constraints=constraints, integrality=whole, bounds=Bounds(0, upper))
    if result.x is None:
        return None
    chosen = result.x[:-1].reshape(slots, blocks).argmax(axis=1)
    every = space.blocks()
    return space.arranged(every[index] for index in chosen)


def contradicting(limits: "Limits") -> list[str]:
    """The fewest limits that no network keeps together, by name; empty where one keeps them all."""
    every = rows(limits)
    if witness(limits, every) is not None:
        return []
    for count in range(1, len(every)):
        for few in itertools.combinations(every, count):
            if witness(limits, few) is None:
                return [row.name for row in few]
    return [row.name for row in every]
