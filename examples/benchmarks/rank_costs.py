"""How long it takes to know the costs of a space, and to rank a million of its networks by them.

    python examples/benchmarks/rank_costs.py
    python examples/benchmarks/rank_costs.py --space moving_digits --device mac-m1

Costs of a space are traced on the meta device, block by block, and kept; the first line is without
what was kept, the second with it. Ranked are networks drawn at random: latency, parameters and
memory of each, those over a budget left out, the rest in the order of their latency.
"""

import argparse
import os
import tempfile
import time

import numpy as np
import torch

from latency.predictor.shipped import load_device
from nas.costs.block_costs import BlockCosts, layout
from nas.costs.workloads import SpaceCosts
from search_spaces.shipped.loading import load_temporal


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="snapgen_v")
    parser.add_argument("--device", default="iphone-16-pro-max")
    parser.add_argument("--networks", type=int, default=1_000_000)
    parser.add_argument("--params", type=int, default=600_000_000)
    asked = parser.parse_args()
    space, device = load_temporal(asked.space), load_device(asked.device)
    print(f"{space.name}: {space.size:.3g} networks on {device.name}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TEMPORAL_NAS_CACHE"] = folder
        for label in ("first", "kept"):
            begun = time.perf_counter()
            costs = BlockCosts(SpaceCosts(space), device)
            print(f"costs of every block, {label}: {time.perf_counter() - begun:.1f} s")
    torch.set_num_threads(1)
    table = costs.table
    blocks = np.random.default_rng(0).integers(
        0, table.ms.shape[1], (asked.networks, table.ms.shape[0])
    )
    begun, begun_cpu = time.perf_counter(), time.process_time()
    latency_ms = table.latencies_of(blocks)
    kept = table.parameters_of(blocks) <= asked.params
    kept &= table.memories_of(blocks) <= (device.memory_limit_mb or np.inf)
    order = np.flatnonzero(kept)[np.argsort(latency_ms[kept])]
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - begun_cpu
    print(f"{len(blocks):,} networks ranked: {wall_s:.2f} s, {cpu_s:.2f} s of one core")
    print(f"inside {asked.params / 1e6:g}M parameters and the device's memory: {len(order):,}")
    if len(order):
        every = space.blocks()
        best = space.arranged(every[index] for index in blocks[order[0]])
        print(f"the fastest of them, {latency_ms[order[0]]:.1f} ms a call: {layout(space, best)}")


if __name__ == "__main__":
    main()
