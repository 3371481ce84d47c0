"""A diffusion transformer of one's own: its supernet trained, searched for a phone, converted.

    python -m examples.video_dit.run OUT
    python -m examples.video_dit.run OUT --steps 300 --trials 10    far too short: that it runs

OUT/run/report.html shows the winner's layers as a stack; OUT/winner.mlpackage is it as Core ML.
"""

import argparse
import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import nas
from examples.video_dit.costs import workload
from examples.video_dit.network import build
from examples.video_dit.space import SHAPE, SPACE
from examples.video_dit.supernet import Supernet
from examples.video_dit.training import STEPS, losses, trained
from nas.progress import Progress
from search_spaces import Architecture

LOOKS = (16, 32, 64, 128)  # clips: every network is seen on the first, the best on more


def task(supernet: Supernet) -> nas.Task:
    """The transformer: paths of the supernet judge, layers that were traced once are added up."""

    def loss(architecture: Architecture, clips: int = LOOKS[-1]) -> Tensor:
        return losses(supernet, architecture, clips)

    def weights(architecture: Architecture) -> dict[str, Any]:
        return dict(supernet.extract(architecture).state_dict())

    return nas.Task(
        SPACE,
        evaluate=loss,
        objectives=["validation_loss", "latency_ms"],
        build=build,
        shape=SHAPE,
        workload=workload,
        weights=weights,
        steps=4,
        fidelity={"clips": LOOKS},
        name="video transformer",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="iphone-15-pro")
    parser.add_argument("--latency-ms", default="75%", help="of four steps, or a share")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the supernet's training")
    parser.add_argument("--trials", type=int, default=36)
    given = parser.parse_args()
    progress = Progress()
    with progress.stage("train the supernet", given.steps) as advance:
        supernet = trained(given.out, given.steps, on_step=lambda done, _: advance(done))
    found = nas.search(
        given.out / "run",
        task(supernet.eval()),
        device=given.device,
        at_most={"latency_ms": given.latency_ms},
        trials=given.trials,
        resume=True,
    )
    check(found, supernet)
    package = given.out / "winner.mlpackage"
    words = ["export", str(given.out / "run" / "bundle"), "--to", "coreml", "--replace"]
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", "nas", *words, "--out", str(package)], check=True
    )


def check(found: nas.SearchResult, supernet: Supernet) -> None:
    """What the bundle holds answers as the supernet's path does."""
    from temporal_bundle.closeness import check_close

    bundle = nas.NetworkBundle.load(found.path / "bundle")
    inputs = bundle.opened.example_inputs()
    with torch.no_grad():
        path = functools.partial(supernet, architecture=found.winner.architecture)
        check_close(bundle.runnable().module(*inputs), path(*inputs))
    print(f"winner: {found.winner.architecture}")
    print(f"loss {found.winner.values[0]:.4f}, {found.winner.latency_ms:.3f} ms for four steps")


if __name__ == "__main__":
    main()
