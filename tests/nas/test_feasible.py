"""Budgets that contradict each other are told apart from those that something keeps."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import latency
from latency import Device, Measurement
from nas.costs.block_costs import BlockCosts
from nas.costs.feasibility import contradicting, rows, witness
from nas.costs.limits import Budget, Limits, Target
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from search_spaces import (
    CONV3D,
    SELF_ATTENTION_1D,
    WIDTH,
    InputError,
    UNetShape,
    temporal_space,
)

UNET = UNetShape(1, (8, 16), 4, 8, 8, 2, 10)
SPACE = temporal_space("no_none", UNET, (CONV3D.elastic(WIDTH), SELF_ATTENTION_1D.elastic(WIDTH)))
NETWORKS = list(SPACE.enumerate())


@pytest.fixture(scope="module")
def costs() -> BlockCosts:
    """On a device on which large convolutions are quick and small attention is slow."""
    space_costs = SpaceCosts(SPACE)
    measured = [Measurement(space_costs.backbone.workload, 1.0)]
    for slot, block in itertools.product(SPACE.slots, SPACE.blocks()):
        part = space_costs.block(slot, block)
        assert part is not None
        quick = block.operator.name == CONV3D.name
        measured.append(Measurement(part.workload, 1.0 if quick else 3.0))
    return BlockCosts(space_costs, latency.calibrate(measured, "odd"))


def limits_of(costs: BlockCosts, latency_ms: float, parameters: int, memory_mb: float) -> Limits:
    budget = Budget(str(latency_ms), parameters, memory_mb, steps=1)
    return Limits(budget, (Target(costs, latency_ms, "latency_ms"),), memory_mb)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.tuples(*(st.floats(0, 1.1) for _ in range(3))))
def test_agrees_with_looking_at_every_network(costs: BlockCosts, shares: tuple[float, ...]) -> None:
    def between(values: np.ndarray, share: float) -> float:
        return float(values.min() + share * (values.max() - values.min()))

    table = costs.table
    limits = limits_of(
        costs,
        between(table.latencies_ms(NETWORKS), shares[0]) + 1e-6,
        int(between(table.parameters(NETWORKS), shares[1])) + 1,
        between(table.memories_mb(NETWORKS), shares[2]) + 1e-6,
    )
    over = limits.excess_of(NETWORKS)

    def kept(names: tuple[str, ...]) -> bool:
        return any(all(over[name][i] <= 0 for name in names) for i in range(len(NETWORKS)))

    apart = contradicting(limits)
    if not apart:
        assert kept(tuple(over))
        chosen = witness(limits, rows(limits))
        assert chosen is not None
        assert limits.keeps(chosen)
        fastest = min(table.latencies_ms([n for n in NETWORKS if limits.keeps(n)]))
        assert table.latencies_ms([chosen])[0] == pytest.approx(fastest)
    else:
        assert not kept(tuple(apart))
        for fewer in itertools.combinations(apart, len(apart) - 1):
            assert kept(fewer), "the fewest that contradict each other"


def test_two_budgets_that_contradict_each_other_are_named(costs: BlockCosts) -> None:
    fast_ms = costs.network_ms(costs.fastest).latency_ms
    small = costs.parameters(costs.smallest)
    assert costs.parameters(costs.fastest) > small
    assert costs.network_ms(costs.smallest).latency_ms > fast_ms
    budget = Budget(str(fast_ms + 0.1), parameters=small, memory_mb=1e6, steps=1)
    with pytest.raises(InputError) as caught:
        resolve(budget, costs)
    said = str(caught.value)
    assert f"budgets of latency_ms ({fast_ms + 0.1:.4g} ms) and parameters ({small:,})" in said
    assert "memory_mb" not in said
    assert "raise one of them" in said


@pytest.mark.slow
def test_a_memory_budget_is_kept_by_who_needs_least_memory(
    plain_costs: SpaceCosts, device: Device
) -> None:
    costs = BlockCosts(plain_costs, device)
    networks = list(plain_costs.space.enumerate())
    least_mb = float(costs.table.memories_mb(networks).min())
    assert resolve(Budget(None, memory_mb=least_mb * (1 + 1e-6)), costs)
    with pytest.raises(InputError, match="memory_mb budget .* is kept by no network: the image"):
        resolve(Budget(None, memory_mb=least_mb * (1 - 1e-6)), costs)
