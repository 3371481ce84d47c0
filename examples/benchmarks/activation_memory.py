"""Two ways to keep few activations in a training step of a bundle's network, beside keeping all.

    python examples/benchmarks/activation_memory.py BUNDLE

`--checkpointing` of adversarial-finetune (segments of the exported program, computed again), and
torch.compile with an activation budget (torch._functorch.config.activation_memory_budget), which
chooses by itself what to compute again. Prints the megabytes that a forward pass keeps for the
backward pass, the seconds of both together, and what it took to begin. Needs a C++ compiler.
"""

import argparse
import time
from collections.abc import Callable, Iterable
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
    """Each way on the same clips."""
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
    print(f"{given.clips} clips {shape}; medians of {given.rounds} rounds")
    print(f"{'':24}{'kept, MB':>12}{'a step, s':>12}{'to begin, s':>12}")
    tell("all kept", module, module, inputs, given.rounds)
    tell("checkpointing", segmented(module), module, inputs, given.rounds)
    for budget in given.budgets:
        torch._dynamo.reset()  # noqa: SLF001  # it would take the code of the last budget
        with torch._functorch.config.patch(activation_memory_budget=budget):  # noqa: SLF001
            tell(
                f"compiled, budget {budget:g}", torch.compile(module), module, inputs, given.rounds
            )


def tell(
    name: str, way: Way, module: torch.nn.Module, inputs: tuple[Tensor, ...], rounds: int
) -> None:
    """A line of one way; what it takes to begin is the first round beyond the others."""
    first, *taken = (seconds(way, inputs) for _ in range(rounds + 1))
    step_s = median(taken)
    numbers = f"{step_s:>12.3f}{max(0.0, first - step_s):>12.1f}"
    print(f"{name:24}{kept_mb(way, inputs, module.parameters()):>12.1f}{numbers}", flush=True)


def seconds(way: Way, inputs: tuple[Tensor, ...]) -> float:
    """Of a pass forward and back."""
    start = time.perf_counter()
    way(*inputs).square().mean().backward()
    return time.perf_counter() - start


def kept_mb(way: Way, inputs: tuple[Tensor, ...], weights: Iterable[Tensor]) -> float:
    """What a forward pass keeps, each memory counted once; weights and inputs aside."""
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        answer = way(*inputs)
    del answer
    for tensor in (*inputs, *weights):
        found.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(found.values()) / 1e6


if __name__ == "__main__":
    main()
