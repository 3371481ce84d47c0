"""The worked example of a cell: its space, its networks, and the public table of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

import latency
from examples.nas_bench_201.network import CELLS, SPACE, build
from search_spaces import read_table


def test_the_networks_are_of_the_published_size() -> None:
    """The largest has 1.53M parameters and 220 MFLOPs (multiplications and additions as one)."""
    largest = build()
    assert round(sum(p.numel() for p in largest.parameters()) / 1e6, 2) == 1.53
    flops = latency.trace(largest, torch.zeros(1, 3, 32, 32)).flops
    assert flops / 2e6 == pytest.approx(220, rel=0.01)
    assert largest.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_dead_edges_are_not_built_and_no_path_gives_zeros() -> None:
    dead = SPACE.architecture({"edge0": "nor_conv_3x3", **dict.fromkeys(NAMES[1:], "none")})
    assert dead == SPACE.architecture(dict.fromkeys(NAMES, "none"))
    cell = build(dead).get_submodule("stages.0")
    assert not list(cell.parameters())
    assert not cell(torch.randn(1, 16, 4, 4)).any()
    direct = SPACE.architecture(
        {"edge0": "nor_conv_3x3", "edge3": "skip_connect"}
        | dict.fromkeys(("edge1", "edge2", "edge4", "edge5"), "none")
    )
    x_NCHW = torch.randn(1, 16, 4, 4)
    assert torch.equal(build(direct).get_submodule(f"stages.{CELLS - 1}")(x_NCHW), x_NCHW)


def test_spellings_of_one_network_have_one_error(shared_data: Path) -> None:
    """In the public table they differ by the noise of training alone."""
    table = read_table(shared_data / "nb201.csv.gz", SPACE)
    error = table.metric("cifar100_error_pct").to_numpy()
    of_network: dict[object, list[float]] = {}
    for architecture, found in zip(table.architectures, error, strict=True):
        of_network.setdefault(architecture, []).append(float(found))
    assert len(of_network) == SPACE.size == 9445
    inside = sum(np.var(found) * len(found) for found in of_network.values()) / len(error)
    assert inside < 0.001 * error.var()


NAMES = SPACE.graphs[0].choices
