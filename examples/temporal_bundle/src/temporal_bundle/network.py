"""A bundle of any network: checked, then opened by torch and safetensors alone."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from temporal_bundle.errors import BundleError
from temporal_bundle.manifest import (
    MANIFEST,
    NETWORK,
    NETWORK_FORMAT,
    WEIGHTS,
    Json,
    one_line,
    read_manifest,
)
from temporal_bundle.program_archive import checked, open_program
from temporal_bundle.weights import Weights, assign, read_weights

MOST_NUMBERS = 2**31  # of an input; a manifest is somebody else's


@dataclass(frozen=True)
class NetworkInput:
    """An input of a network, in the order of its arguments."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class NetworkBundle:
    """A network that a search of somebody's own task left, found to be safe to load.

    Attributes:
        path: the folder.
        manifest: bundle.json, with fields that this version does not know.
        inputs: how the network is called.
    """

    path: Path
    manifest: Json
    inputs: tuple[NetworkInput, ...]

    def weights(self) -> Weights:
        """The parameters and buffers by name.

        Raises:
            BundleError: as `read_weights`.
        """
        return read_weights(self.path / WEIGHTS)

    def network(self, weights: Weights, device: str = "cpu") -> nn.Module:
        """The network, at the sizes of its inputs.

        Raises:
            BundleError: weights of another network.
        """
        module = open_program(self.path / NETWORK, device)
        assign(module, weights, device, self.path / NETWORK)
        return module

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Random inputs; whole numbers and truth values are 0."""
        found = []
        for each in self.inputs:
            dtype = getattr(torch, each.dtype)
            zeros = torch.zeros(each.shape, dtype=dtype)
            found.append(torch.randn(each.shape).to(dtype) if dtype.is_floating_point else zeros)
        return tuple(found)


def open_network(path: str | Path) -> NetworkBundle:
    """Open a bundle of a network; nothing that it holds is run, and no weights are read yet.

    Raises:
        BundleError: what is wrong with it, as of `open_bundle`.
    """
    folder = Path(path)
    manifest = read_manifest(folder / MANIFEST, NETWORK_FORMAT)
    inputs = tuple(_input(each, folder) for each in _listed(manifest, folder))
    checked(folder / NETWORK)
    return NetworkBundle(folder, manifest, inputs)


def _listed(manifest: Json, folder: Path) -> list[object]:
    network = manifest.get("network")
    found = network.get("inputs") if isinstance(network, dict) else None
    if not isinstance(found, list) or not found:
        raise BundleError(f"{folder / MANIFEST}: network lists no inputs")
    return found


def _input(entry: object, folder: Path) -> NetworkInput:
    try:
        assert isinstance(entry, dict)
        name, dtype = str(entry["name"]), str(entry["dtype"])
        shape = tuple(int(size) for size in entry["shape"])
    except (AssertionError, KeyError, TypeError, ValueError):
        raise BundleError(
            f"{folder / MANIFEST}: {one_line(str(entry))[:80]!r} is no input of a network"
        ) from None
    numbers = 1
    for size in shape:
        numbers *= size
    known = isinstance(getattr(torch, dtype, None), torch.dtype)
    if not known or min(shape, default=1) < 1 or numbers > MOST_NUMBERS:
        raise BundleError(f"{folder / MANIFEST}: no input is {one_line(str(entry))[:80]!r}")
    return NetworkInput(name, shape, dtype)
