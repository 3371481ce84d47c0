"""Liveness analysis: peak memory of activations, from the order in which a program runs."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V", bound=Hashable)


@dataclass(frozen=True)
class Step(Generic[V]):
    """One step of a program: the values that it makes, with their bytes, and those it reads.

    A view makes no memory: its values are the memory of the first that it reads. Weights are no
    activations and are left out. `scratch_bytes` are needed while the step runs, and no longer.
    """

    makes: Mapping[V, int]
    reads: Sequence[V] = ()
    is_view: bool = False
    scratch_bytes: int = 0


def score_numbers(query: Sequence[int], key: Sequence[int]) -> int:
    """Count attention's scores: (..., queries, d) with (..., keys, d).

    A kernel may keep a part of them at a time; who computes all at once, as the operations that
    attention is made of do, needs that much memory.
    """
    return math.prod(query[:-1]) * key[-2]


def peak_bytes(steps: Sequence[Step[V]]) -> int:
    """Peak memory: the most bytes alive at once, each value from its making to its last use.

    The program's inputs are what its first step makes, its outputs what its last one reads.
    """
    owner: dict[V, V] = {}
    last_use: dict[V, int] = {}
    for index, step in enumerate(steps):
        owners = [owner[value] for value in step.reads]
        for value in step.makes:
            owner[value] = owners[0] if step.is_view and owners else value
        for used in (*owners, *(owner[value] for value in step.makes)):
            last_use[used] = index
    ends: dict[int, list[V]] = {}
    for value, index in last_use.items():
        ends.setdefault(index, []).append(value)
    alive = peak = 0
    sizes: dict[V, int] = {}
    for index, step in enumerate(steps):
        made = {v: size for v, size in step.makes.items() if owner[v] == v}
        sizes |= made
        alive += sum(made.values())
        peak = max(peak, alive + step.scratch_bytes)
        alive -= sum(sizes[ended] for ended in ends.get(index, ()))
    return peak
