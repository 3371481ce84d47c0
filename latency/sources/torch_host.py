"""Measures torch callables on this machine."""

import os
import platform
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from latency.measurement import Timing

Run = Callable[[], object]


@dataclass(frozen=True)
class Protocol:
    """How to measure: each round visits everything once, in a new random order.

    Interleaving spreads whatever else the machine does over all that is compared.
    """

    rounds: int = 8
    runs_per_visit: int = 4
    warmup_s: float = 1.0
    seed: int = 0


def measure(
    runs: Mapping[str, Run],
    protocol: Protocol,
    on_visit: Callable[[], None] | None = None,
) -> dict[str, Timing]:
    """The time of each run in ms, median and spread over all rounds.

    The first run of a visit is thrown away: it finds the caches cold.
    """
    order = list(runs)
    shuffler = random.Random(protocol.seed)  # noqa: S311 - an order, not a secret
    samples: dict[str, list[float]] = {name: [] for name in order}
    with torch.inference_mode():
        _warm_up(runs, protocol.warmup_s)
        for _ in range(protocol.rounds):
            shuffler.shuffle(order)
            for name in order:
                run = runs[name]
                run()
                for _ in range(protocol.runs_per_visit):
                    begun = time.perf_counter_ns()
                    run()
                    samples[name].append((time.perf_counter_ns() - begun) / 1e6)
                if on_visit is not None:
                    on_visit()
    return {name: Timing.of(values) for name, values in samples.items()}


def host_facts() -> dict[str, str]:
    """What a table's reserved columns say of this machine."""
    return {
        "device": "host",
        "soc": platform.processor() or platform.machine(),
        "compute_unit": f"cpu, {torch.get_num_threads()} threads",
        "os": f"{platform.system()} {platform.release()}",
        "precision": "float32",
    }


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _warm_up(runs: Mapping[str, Run], seconds: float) -> None:
    """Run everything once, and go on until the clock has risen."""
    end = time.perf_counter() + seconds
    for run in runs.values():
        run()
    while time.perf_counter() < end:
        for run in runs.values():
            run()
            if time.perf_counter() >= end:
                return
