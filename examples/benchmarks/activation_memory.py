"""Two ways to keep few activations in a training step of a bundle's network, beside keeping all.

    python examples/benchmarks/activation_memory.py BUNDLE

`--checkpointing` of adversarial-finetune (segments of the exported program, computed again), and
torch.compile with an activation budget (torch._functorch.config.activation_memory_budget), which
chooses by itself what to compute again. Prints the megabytes that a forward pass keeps for the
backward pass, the seconds of both together, and what it took to begin. Needs a C++ compiler.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch._functorch.config
from torch import Tensor

from adversarial_finetune.segments import segmented
from temporal_bundle import open_bundle

Way = Callable[..., Any]


def main() -> None:
    """Each way on the same clips, in turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budgets", type=float, nargs="*", default=(1.0, 0.5, 0.2))
    given = parser.parse_args()
    bundle = open_bundle(given.bundle)
    torch.manual_seed(0)
    shape, asked = bundle.clip_shape, bundle.context_shape
    inputs = (
        torch.randn(given.clips, *shape),
        torch.rand(given.clips),
        torch.rand(given.clips, *asked),
    )
    module = bundle.denoiser(bundle.weights("searched"), "cpu")
    ways: dict[str, Way] = {"all kept": module, "checkpointing": segmented(module)}
    begun = dict.fromkeys(ways, 0.0)
    for budget in given.budgets:
        name = f"compiled, budget {budget:g}"
        ways[name], begun[name] = compiled(module, budget, inputs)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, way in ways.items():
            taken[name].append(seconds(way, inputs))
    print(f"{given.clips} clips {shape}; medians of {given.rounds} rounds")
    print(f"{'':24}{'kept, MB':>12}{'a step, s':>12}{'to begin, s':>12}")
    for name, way in ways.items():
        numbers = f"{median(taken[name]):>12.3f}{begun[name]:>12.1f}"
        print(f"{name:24}{kept_mb(way, inputs):>12.1f}{numbers}")


def compiled(
    module: torch.nn.Module, budget: float, inputs: tuple[Tensor, ...]
) -> tuple[Way, float]:
    """The module, compiled for a share of its activations, and the seconds that took."""
    start = time.perf_counter()
    torch._dynamo.reset()  # noqa: SLF001
    with torch._functorch.config.patch(activation_memory_budget=budget):  # noqa: SLF001
        way: Way = torch.compile(module)
        seconds(way, inputs)
    return way, time.perf_counter() - start


def seconds(way: Way, inputs: tuple[Tensor, ...]) -> float:
    """Of a pass forward and back."""
    start = time.perf_counter()
    way(*inputs).square().mean().backward()
    return time.perf_counter() - start


def kept_mb(way: Way, inputs: tuple[Tensor, ...]) -> float:
    """What a forward pass keeps, each memory counted once; weights and inputs aside."""
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, torch.nn.Parameter):
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        answer = way(*inputs)
    del answer
    return sum(found.values()) / 1e6


if __name__ == "__main__":
    main()
