"""A package has as many parameters as its network, however they are stored."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import latency
from latency import read_package
from latency.coreml.convert import convert, save
from latency.coreml.quiet import import_coremltools
from nas.testing.operators import randomised

X = torch.randn(1, 8, 8, 8)


class Network(nn.Module):
    """Weights with and without a bias, norms with statistics, and a table that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 64, 3), nn.BatchNorm2d(64)
        self.plain, self.last = nn.Linear(64, 96, bias=False), nn.Linear(96, 128)
        self.place = nn.Parameter(torch.randn(1, 96))
        self.register_buffer("table", torch.arange(128.0).cos()[None])

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(F.silu(self.conv(x))).mean((2, 3))
        out: Tensor = self.last(self.plain(h) + self.place) + self.table
        return out


def numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def settings(kind: str, **values: Any) -> Any:
    optimize = importlib.import_module("coremltools.optimize.coreml")
    config = getattr(optimize, f"Op{kind}Config")(weight_threshold=200, **values)
    return optimize.OptimizationConfig(config)


def palettised(model: Any, bits: int = 4, **values: Any) -> Any:
    optimize = importlib.import_module("coremltools.optimize.coreml")
    joint = {"joint_compression": values.pop("joint", False)}
    wanted = settings("Palettizer", mode="uniform", nbits=bits, **values)
    return optimize.palettize_weights(model, wanted, **joint)


def quantised(model: Any, *, joint: bool = False, **values: Any) -> Any:
    optimize = importlib.import_module("coremltools.optimize.coreml")
    wanted = settings("LinearQuantizer", **values)
    return optimize.linear_quantize_weights(model, wanted, joint_compression=joint)


def pruned(model: Any) -> Any:
    optimize = importlib.import_module("coremltools.optimize.coreml")
    wanted = settings("MagnitudePruner", target_sparsity=0.7)
    return optimize.prune_weights(model, wanted)


ENCODINGS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "float16": ("iOS17", lambda model: model),
    "1 bit": ("iOS17", lambda model: palettised(model, 1)),
    "6 bits": ("iOS17", lambda model: palettised(model, 6)),
    "4 bits": ("iOS18", palettised),
    "grouped": (
        "iOS18",
        lambda model: palettised(model, granularity="per_grouped_channel", group_size=16),
    ),
    "scaled": ("iOS18", lambda model: palettised(model, enable_per_channel_scale=True)),
    "int8": ("iOS17", lambda model: quantised(model, mode="linear")),
    "int4 blocks": (
        "iOS18",
        lambda model: quantised(model, dtype="int4", granularity="per_block", block_size=32),
    ),
    "sparse": ("iOS17", pruned),
    "sparse palette": ("iOS18", lambda model: palettised(pruned(model), joint=True)),
    "sparse int8": ("iOS18", lambda model: quantised(pruned(model), joint=True)),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_of_every_encoding(name: str, tmp_path: Path) -> None:
    target, encode = ENCODINGS[name]
    network = randomised(Network()).eval()
    encode(convert(network, [X], target)).save(str(tmp_path / "a.mlpackage"))
    found = read_package(tmp_path / "a.mlpackage")
    assert found.parameters == numbers(network) == latency.trace(network, X).parameters
    assert (found.weight_bytes < 2 * numbers(network)) == (name != "float16")


@pytest.mark.parametrize("precision", ["FLOAT32", "FLOAT16"])
def test_of_every_precision_and_converter(precision: str, tmp_path: Path) -> None:
    ct, network = import_coremltools(), randomised(Network()).eval()
    with torch.no_grad():
        script = torch.jit.trace(network, X)
    model = ct.convert(
        script,
        inputs=[ct.TensorType(shape=X.shape)],
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=getattr(ct.precision, precision),
        skip_model_load=True,
    )
    model.save(str(tmp_path / "a.mlpackage"))
    found = read_package(tmp_path / "a.mlpackage")
    assert found.parameters == numbers(network)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(100, 64), nn.Linear(64, 100, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.table(tokens))
        return out


def test_of_tied_weights_once(tmp_path: Path) -> None:
    ct, tokens = import_coremltools(), torch.zeros(1, 7, dtype=torch.int32)
    program = torch.export.export(Tied(), (tokens,)).run_decompositions({})
    inputs = [ct.TensorType("tokens", tokens.shape, dtype=np.int32)]
    target = ct.target.iOS18
    model = ct.convert(
        program, inputs=inputs, minimum_deployment_target=target, skip_model_load=True
    )
    for index, encoded in enumerate((model, palettised(model))):
        encoded.save(str(tmp_path / f"{index}.mlpackage"))
        assert read_package(tmp_path / f"{index}.mlpackage").parameters == 6400


def test_of_what_has_none(tmp_path: Path) -> None:
    save(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), [X], tmp_path / "a.mlpackage")
    assert read_package(tmp_path / "a.mlpackage").parameters == 0
