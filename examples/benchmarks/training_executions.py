"""What bf16, recomputed activations and compiled blocks gain or cost on this machine.

One path of the supernet after another, a step of every way in turn; the fastest of each counts.

    python examples/benchmarks/training_executions.py [--space NAME] [--paths N] [--rounds N]
"""

import argparse
import copy
import time
from collections.abc import Iterator

import numpy as np
import torch
from supernet_overhead import drawn, saved_and_gradients
from torch import Tensor

from search_spaces import Architecture, TemporalSpace, load
from supernet import Supernet
from supernet.training.batches import Batch, path_loss
from supernet.training.execution import Execution, executed
from supernet.training.training import Randomness, Schedule, Trainer

WAYS = {
    "float32": Execution(),
    "bf16": Execution(bf16=True),
    "checkpointing": Execution(checkpointing=True),
    "compiled": Execution(compiled=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="moving_digits")
    parser.add_argument("--paths", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    space = load(asked.space)
    assert isinstance(space, TemporalSpace)
    torch.manual_seed(0)
    supernet, batch = Supernet(space), drawn(space)
    rng = np.random.default_rng(0)
    paths = [space.sample(rng) for _ in range(asked.paths)]
    count = (asked.rounds + 1) * len(paths)
    trainings = {
        way: steps(copy.deepcopy(supernet), paths, count, batch, way) for way in asked.ways
    }
    first_s = {}
    for way, training in trainings.items():
        begun = time.perf_counter()
        for _ in paths:
            next(training)
        first_s[way] = time.perf_counter() - begun
    best_ms = {way: [float("inf")] * len(paths) for way in asked.ways}
    for _ in range(asked.rounds):
        for index in range(len(paths)):
            for way, training in trainings.items():
                begun = time.process_time()
                next(training)
                ms = (time.process_time() - begun) * 1000
                best_ms[way][index] = min(best_ms[way][index], ms)
    plain = sum(best_ms[asked.ways[0]])
    for way in asked.ways:
        print(
            f"{way:14} {sum(best_ms[way]) / len(paths):8.1f} ms a step, "
            f"{sum(best_ms[way]) / plain:5.2f} of {asked.ways[0]}; "
            f"first {len(paths)} steps {first_s[way]:6.1f} s; "
            f"{kept_mb(supernet, paths[0], batch, WAYS[way]):6.2f} MB kept for the way back"
        )


def steps(
    supernet: Supernet, paths: list[Architecture], count: int, batch: Batch, way: str
) -> Iterator[tuple[int, float]]:
    """A training of so many steps that takes the paths in turn."""

    def losses(randomness: Randomness) -> Iterator[Tensor]:
        yield path_loss(supernet, batch, paths[randomness.step % len(paths)])

    schedule = Schedule(count, learning_rate=1e-6)
    return Trainer(supernet, losses, schedule, seed=0, execution=WAYS[way]).steps()


def kept_mb(supernet: Supernet, path: Architecture, batch: Batch, way: Execution) -> float:
    with executed(supernet, way), way.precision():
        saved, _ = saved_and_gradients(supernet, supernet.path(path), batch)
    return saved


if __name__ == "__main__":
    main()
