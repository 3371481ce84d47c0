"""A bundle of any network, as a search of a task of one's own leaves it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

import temporal_bundle
from nas.bundle.folder import check, mendable
from nas.bundle.runnable import Runnable, part_of_any
from search_spaces import InputError
from search_spaces.files.document import Json
from temporal_bundle import MANIFEST, NETWORK_FORMAT
from temporal_bundle.manifest import WEIGHTS


@dataclass(frozen=True)
class NetworkBundle:
    """A bundle whose files were found to be what its manifest says, and safe to load.

    Attributes:
        opened: as whoever does not know this toolkit opens it.
    """

    opened: temporal_bundle.NetworkBundle

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Open a bundle; nothing that it holds is run, and no weights are read yet.

        Raises:
            InputError: what is wrong with it.
        """
        with mendable():
            opened = temporal_bundle.open_network(path)
        check(opened.manifest, NETWORK_FORMAT, opened.path / MANIFEST)
        return cls(opened)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.opened.path

    @property
    def manifest(self) -> Json:
        """bundle.json, with fields that this version does not know."""
        return self.opened.manifest

    def weights_in_words(self) -> str:
        """What the weights are."""
        are = self.manifest["study"].get("weights", "the manifest does not say what they are")
        return f"as searched ({WEIGHTS}): {are}"

    def told(self) -> dict[str, str]:
        """Which weights a package of it holds, for its metadata."""
        return {
            "which": "searched",
            "file": WEIGHTS,
            "sha256": self.manifest["files"][WEIGHTS],
            "bundle": temporal_bundle.sha256(self.path / MANIFEST),
            "says": self.weights_in_words(),
        }

    def runnable(self) -> Runnable:
        """The network with its weights, and example inputs.

        Raises:
            InputError: weights that are not those of the network.
        """
        with mendable():
            module = self.opened.network(self.opened.weights())
            inputs = self.opened.example_inputs()
        names = tuple(each.name for each in self.opened.inputs)
        return Runnable(_Program(module), inputs, names, part_of_any)


class _Program(nn.Module):
    """A program of torch.export as a module: it has no modes, and raises where it is asked."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> Self:
        """As it was exported."""
        return self

    def forward(self, *inputs: Tensor) -> Any:
        """What the program answers."""
        return self.program(*inputs)


def is_network(path: Path) -> bool:
    """Whether a folder holds a bundle of any network, by the format that its manifest names."""
    try:
        with mendable():
            found = temporal_bundle.read_json(path / MANIFEST)
    except InputError:
        return False  # whoever opens it says what is wrong
    return found.get("format") == NETWORK_FORMAT
