"""Is there a network that keeps all budgets, and if not, which two contradict each other?

Costs of slots add, so that both are integer programs over one block a slot, which HiGHS decides.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp

from nas.costs.block_costs import BlockCosts
from nas.costs.contract import Costs
from nas.costs.cost_table import CostTable
from nas.costs.limits import Limits
from nas.costs.resolve import Feasibility
from search_spaces import Architecture, InputError, TemporalSpace

Matrix = npt.NDArray[np.float64]
OPTIMAL, INFEASIBLE = 0, 2  # of scipy's statuses
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


def rows(limits: Limits) -> list[Row]:
    """The limits of a budget as they add up."""
    budget, main = limits.budget, _table(limits.costs)
    found = [
        Row(
            target.objective,
            _table(target.costs).ms,
            target.network_ms(budget) - _table(target.costs).image_ms,
        )
        for target in limits.targets
        if math.isfinite(target.latency_ms)
    ]
    if budget.parameters is not None:
        most = float(budget.parameters - main.image_parameters)
        found.append(Row("parameters", main.parameter_counts, most))
    if limits.memory_mb is not None:
        # The device that computes in the widest numbers needs most.
        table = max((_table(t.costs) for t in limits.targets), key=lambda table: table.image_mb)
        most = limits.memory_mb - table.image_mb
        found.append(Row("memory_mb", table.weights_mb, most, table.peaks_mb))
    if budget.energy_mj is not None and limits.energy is not None:
        energy = _table(limits.energy)
        most = budget.energy_mj / budget.steps - energy.image_ms
        found.append(Row("energy_mj", energy.ms, most))
    return found


def witness(limits: Limits, kept: Sequence[Row]) -> Architecture | None:
    """The fastest network on the main device that keeps the given limits; None: there is none."""
    return _best(limits, kept, _table(limits.costs).ms, None)


def least_of(limits: Limits, name: str) -> Architecture:
    """The network that needs least of one limit, which is named as `Limits.excess` names it."""
    (row,) = (each for each in rows(limits) if each.name == name)
    found = _best(limits, [], row.costs, row.peaks)
    assert found is not None, "nothing is limited"
    return found


def _best(
    limits: Limits, kept: Sequence[Row], wanted: Matrix, peaks: Matrix | None
) -> Architecture | None:
    """The network of the least sum of what is wanted, and largest peak, inside the given limits."""
    space = _space(limits)
    tallest = Row("", np.zeros_like(wanted), 0.0, peaks)
    slots, blocks = wanted.shape
    columns = slots * blocks + 1  # the last is the largest peak
    one_each = np.zeros((slots, columns))
    for slot in range(slots):
        one_each[slot, slot * blocks : (slot + 1) * blocks] = 1
    constraints = [LinearConstraint(one_each, 1, 1)]
    for row in (*kept, tallest):
        sizes = [row.costs] if row.peaks is None else [row.costs, row.peaks]
        scale = max(abs(row.most), *(float(np.abs(each).max()) for each in sizes), 1e-300)
        if row is not tallest:
            sums = np.append(row.costs.ravel(), 0.0 if row.peaks is None else 1.0) / scale
            constraints.append(LinearConstraint(sums[None], -np.inf, row.most / scale + ROUNDING))
        if row.peaks is not None:
            largest = np.zeros((slots * blocks, columns))
            largest[:, :-1] = np.diag(row.peaks.ravel() / scale)
            largest[:, -1] = -1 / scale
            constraints.append(LinearConstraint(largest, -np.inf, 0))
    whole = np.append(np.ones(slots * blocks), 0)
    upper = np.append(np.ones(slots * blocks), np.inf)
    goal = np.append(wanted.ravel(), 0.0 if peaks is None else 1.0)
    goal /= max(float(np.abs(goal).max()), 1e-300)
    result = milp(
        goal,
        constraints=constraints,
        integrality=whole,
        bounds=Bounds(0, upper),
        options={"mip_rel_gap": 0},
    )
    if result.status not in {OPTIMAL, INFEASIBLE}:
        raise InputError(f"the budgets could not be checked: {result.message}")
    if result.x is None:
        return None
    chosen = result.x[:-1].reshape(slots, blocks).argmax(axis=1)
    every = space.blocks()
    return space.arranged(every[index] for index in chosen)


def _table(costs: Costs) -> CostTable:
    assert isinstance(costs, BlockCosts), "only blocks add"
    return costs.table


def _space(limits: Limits) -> TemporalSpace:
    assert isinstance(limits.costs, BlockCosts), "only blocks add"
    return limits.costs.space


def contradicting(limits: Limits) -> list[str]:
    """The fewest limits that no network keeps together, by name; empty where one keeps them all."""
    every = rows(limits)
    if witness(limits, every) is not None:
        return []
    for count in range(1, len(every)):
        for few in itertools.combinations(every, count):
            if witness(limits, few) is None:
                return [row.name for row in few]
    return [row.name for row in every]


ADDITIVE = Feasibility(contradicting, least_of)
