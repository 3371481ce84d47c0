"""Reshapes and transposes of each temporal operator, once it is a Core ML package.

    python examples/benchmarks/operator_forms.py [--channels 64] [--pixels 16]

A block at one clip, as in a network. Of each: with coremltools alone, and rewritten first by
latency/graph_passes; beside it what the same operator took before operators were written for
Core ML. A group norm alone is 2 reshapes of each.
"""

import argparse
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from latency.coreml.convert import export_program
from latency.coreml.lint import RESHAPES
from latency.coreml.package import open_package
from latency.coreml.packaging import write_package
from latency.coreml.quiet import import_coremltools
from nas.costs.modules import block_inputs, block_run
from nas.testing.operators import randomised
from search_spaces import KERNEL, NONE, SEPARABLE_CONV3D, WIDTH, UNetShape, temporal_space
from search_spaces.shipped.moving_digits import OPERATORS
from supernet.networks.supernet import largest

# Reshapes and transposes as they were, printed by this file without the rewriting.
BEFORE = {
    "conv1d": (6, 2),
    "conv3d": (4, 2),
    "separable_conv3d": (6, 2),
    "self_attention1d": (10, 6),
    "self_attention3d": (13, 8),
    "cross_attention1d": (13, 6),
    "cross_attention3d": (13, 6),
}


def moves(package: Path) -> tuple[int, int, int, float]:
    """Reshapes, transposes, operations in all, and MB that the first two write."""
    calls = open_package(package).calls
    counts = Counter("reshape" if c.type in RESHAPES else c.type for c in calls)
    moved = [c for c in calls if c.type in RESHAPES or c.type == "transpose"]
    written = sum(value.bytes for call in moved for value in call.outputs)
    return counts["reshape"], counts["transpose"], len(calls), written / 1e6


def convert_plainly(run: torch.nn.Module, inputs: tuple[torch.Tensor, ...], path: Path) -> None:
    """As coremltools does on its own."""
    ct = import_coremltools()
    program = torch.export.export(run, inputs).run_decompositions({})
    ct.convert(
        program,
        inputs=[ct.TensorType(shape=tuple(x.shape), dtype=np.float16) for x in inputs],
        outputs=[ct.TensorType(dtype=np.float16)],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    ).save(str(path))


def main() -> None:
    """Convert each operator twice, and print."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--pixels", type=int, default=16)
    given = parser.parse_args()
    shape = UNetShape(
        in_channels=4,
        channels=(given.channels, given.channels),
        frames=17,
        height=given.pixels,
        width=given.pixels,
        context_tokens=7,
        context_channels=24,
    )
    print(
        "reshapes/transposes, operations, MB moved   before     coremltools alone        rewritten"
    )
    for operator in (*OPERATORS, SEPARABLE_CONV3D.elastic(KERNEL, WIDTH)):
        if not operator.module:
            continue
        space = temporal_space("forms", shape, (NONE, operator))
        run = block_run(space.slots[0], largest(operator))
        assert run is not None
        run, inputs = randomised(run), block_inputs(space, space.slots[0])
        with tempfile.TemporaryDirectory() as folder:
            plain, rewritten = (Path(folder) / f"{name}.mlpackage" for name in ("plain", "new"))
            convert_plainly(run, inputs, plain)
            write_package(export_program(run, inputs), rewritten)
            found = [moves(package) for package in (plain, rewritten)]
        before = "/".join(map(str, BEFORE.get(operator.name, ("-",))))
        columns = (f"{r:3}/{t:<3} {n:3} {mb:7.2f} MB" for r, t, n, mb in found)
        print(f"{operator.name:40} {before:>9} {'    '.join(columns)}")


if __name__ == "__main__":
    main()
