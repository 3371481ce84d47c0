"""What a path costs inside the supernet, against its own extracted network.

Evaluation, a training step, and what training holds in memory. One thread's CPU time; supernet and
network take turns, and the fastest of each counts, so that a busy machine touches both alike.

    python examples/benchmarks/supernet_overhead.py [--space NAME] [--paths N] [--rounds N]
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces import Architecture, TemporalSpace, load
from supernet import Supernet, VideoUNet
from supernet.flow_matching import Denoiser
from supernet.training.batches import Batch, squared_error
from supernet.training.recipes import extremes
from supernet.training.training import Randomness, Schedule, Trainer

CLIPS = 8
EVALUATION_TARGET, TRAINING_TARGET = 1.03, 1.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="moving_digits")
    parser.add_argument("--paths", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    space = load(arguments.space)
    assert isinstance(space, TemporalSpace)
    torch.manual_seed(0)
    supernet = Supernet(space)
    rng = np.random.default_rng(0)
    paths = [extremes(space)[0], *(space.sample(rng) for _ in range(arguments.paths - 1))]
    networks = [supernet.extract(path) for path in paths]
    batch = drawn(space)
    evaluation = evaluated(supernet, networks, paths, batch, arguments.rounds)
    training = trained(supernet, networks, paths, batch, arguments.rounds)
    print(f"{'':12}{'evaluation, ms':>30}{'training step, ms':>30}")
    print(f"{'path':12}" + f"{'network':>10}{'supernet':>10}{'ratio':>10}" * 2)
    for index, (alone, inside, step_alone, step_inside) in enumerate(
        zip(*evaluation, *training, strict=True)
    ):
        name = "largest" if index == 0 else f"random {index}"
        print(
            f"{name:12}{alone:10.2f}{inside:10.2f}{inside / alone:10.3f}"
            f"{step_alone:10.2f}{step_inside:10.2f}{step_inside / step_alone:10.3f}"
        )
    report("evaluation", *evaluation, EVALUATION_TARGET)
    report("training step", *training, TRAINING_TARGET)
    held(supernet, networks, paths, batch)


def drawn(space: TemporalSpace) -> Batch:
    unet = space.unet
    shape = (CLIPS, unet.in_channels, unet.frames, unet.height, unet.width)
    context_BLC = torch.randn(CLIPS, unet.context_tokens, unet.context_channels)
    return Batch(torch.randn(shape), torch.randn(shape), torch.rand(CLIPS), context_BLC)


def report(what: str, alone: Sequence[float], inside: Sequence[float], target: float) -> None:
    ratios = [b / a for a, b in zip(alone, inside, strict=True)]
    total = sum(inside) / sum(alone)
    print(
        f"{what}: {total:.3f} times the networks' own over all paths, "
        f"median {statistics.median(ratios):.3f}, worst {max(ratios):.3f} (target {target})"
    )


def evaluated(
    supernet: Supernet,
    networks: Sequence[VideoUNet],
    paths: Sequence[Architecture],
    batch: Batch,
    rounds: int,
) -> tuple[list[float], list[float]]:
    """Milliseconds of each network's forward pass, alone and inside the supernet."""
    supernet.eval()
    alone, inside = ([float("inf")] * len(paths) for _ in range(2))
    with torch.no_grad():
        for turn in range(rounds):
            for index, (network, path) in enumerate(zip(networks, paths, strict=True)):
                both: list[tuple[list[float], Denoiser]] = [
                    (alone, network.eval()),
                    (inside, supernet.path(path)),
                ]
                for times, denoiser in both if turn % 2 else reversed(both):
                    begun = time.process_time()
                    denoiser(batch.noisy, batch.time_B, batch.context_BLC)
                    times[index] = min(times[index], (time.process_time() - begun) * 1000)
    return alone, inside


def trained(
    supernet: Supernet,
    networks: Sequence[VideoUNet],
    paths: Sequence[Architecture],
    batch: Batch,
    rounds: int,
) -> tuple[list[float], list[float]]:
    """Milliseconds of a training step of each network, alone and inside the supernet.

    The supernet goes from path to path as in a training; a first lap makes the optimizer's state.
    """
    laps = rounds + 1
    own = [steps([network], laps, network, batch) for network in networks]
    shared = steps([supernet.path(path) for path in paths], laps * len(paths), supernet, batch)
    alone, inside = ([float("inf")] * len(paths) for _ in range(2))
    for lap in range(laps):
        for index in range(len(paths)):
            both = [(alone, own[index]), (inside, shared)]
            for times, stepped in both if lap % 2 else reversed(both):
                begun = time.process_time()
                next(stepped)
                if lap:
                    times[index] = min(times[index], (time.process_time() - begun) * 1000)
    return alone, inside


def steps(
    denoisers: Sequence[Denoiser], count: int, module: nn.Module, batch: Batch
) -> Iterator[tuple[int, float]]:
    """A training of so many steps that takes the denoisers in turn."""

    def losses(randomness: Randomness) -> Iterator[Tensor]:
        denoiser = denoisers[randomness.step % len(denoisers)]
        found = denoiser(batch.noisy, batch.time_B, batch.context_BLC)
        yield squared_error(found, batch.velocity)

    return Trainer(module, losses, Schedule(count, learning_rate=1e-6), seed=0).steps()


def held(
    supernet: Supernet,
    networks: Sequence[VideoUNet],
    paths: Sequence[Architecture],
    batch: Batch,
) -> None:
    """What a pass of each path holds, in MB: the operators it leaves out hold their weights."""
    print("held by a training pass, MB: network, supernet")
    weights = sum(p.nbytes for p in supernet.parameters()) / 1e6
    for index, (network, path) in enumerate(zip(networks, paths, strict=True)):
        own = sum(p.nbytes for p in network.parameters()) / 1e6
        saved, gradients = saved_and_gradients(network, network, batch)
        inside = saved_and_gradients(supernet, supernet.path(path), batch)
        print(
            f"path {index}: weights {own:.2f}, {weights:.2f}; activations {saved:.2f}, "
            f"{inside[0]:.2f}; gradients {gradients:.2f}, {inside[1]:.2f}"
        )


def saved_and_gradients(module: nn.Module, denoiser: Denoiser, batch: Batch) -> tuple[float, float]:
    """MB kept for the backward pass beside the weights, and MB of gradients after it."""
    known = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = denoiser(batch.noisy, batch.time_B, batch.context_BLC)
        loss = squared_error(found, batch.velocity)
    saved = sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in known)
    kept.clear()
    module.zero_grad()
    loss.backward()
    gradients = sum(p.grad.nbytes for p in module.parameters() if p.grad is not None)
    module.zero_grad()
    return saved / 1e6, gradients / 1e6


if __name__ == "__main__":
    main()
