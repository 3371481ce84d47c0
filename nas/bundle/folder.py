"""A bundle on disk: opened, looked into, copied."""

import json
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from nas.bundle.manifest import FINETUNED, MANIFEST, check_json_file, read_finetuned, read_manifest
from nas.bundle.program_archive import HostileProgramError, checked, open_program
from search_spaces import Architecture, InputError, TemporalSpace
from search_spaces.files import document
from search_spaces.files.document import Json
from search_spaces.unet.temporal import read_space
from supernet import VideoUNet
from supernet.checkpoint import check_weights

ARCHITECTURE, WEIGHTS, LATENCY = "architecture.json", "weights.safetensors", "latency.json"
PROGRAMS = ("denoiser.pt2", "features.pt2")
FINETUNED_WEIGHTS = "finetuned.safetensors"
LARGEST_FLOAT16 = 65504.0
NUMBERS = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were found to be what its manifest says, and safe to load.

    Attributes:
        path: the folder.
        manifest: bundle.json, with fields that this version does not know.
        finetuned: finetuned.json where a training package left one, else None.
    """

    path: Path
    manifest: Json
    finetuned: Json | None = None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Open a bundle; nothing that it holds is run, and no weights are read yet.

        Raises:
            InputError: what is wrong with it: no bundle, a newer version, a missing or changed
                file, a program that is more than operations on tensors.
        """
        folder = Path(path)
        bundle = cls(folder, read_manifest(folder), read_finetuned(folder))
        for name in PROGRAMS:
            try:
                checked(folder / name)
            except HostileProgramError as error:
                raise InputError(str(error)) from None
        return bundle

    def save(self, path: str | Path) -> "Bundle":
        """Copy the bundle, fields and files that this version does not know included.

        Raises:
            InputError: something changed since it was opened.
            OSError: no room, or no right to write; nothing is left then.
        """
        files = [MANIFEST, *self.manifest["files"]]
        if self.finetuned is not None:
            files += [FINETUNED, *self.finetuned["files"]]
        with document.replacing_folder(Path(path)) as temporary:
            for name in files:
                shutil.copyfile(self.path / name, temporary / name)
            copy = Bundle.load(temporary)
        return replace(copy, path=Path(path))

    @cached_property
    def latency(self) -> Json:
        """latency.json: the prediction with its bounds, slot by slot."""
        return self._json(LATENCY)

    def space(self, own: TemporalSpace | None = None) -> TemporalSpace:
        """The space of the network.

        Args:
            own: the same space, where operators are a user's own: a bundle may name code, and none
                that it names is run.

        Raises:
            InputError: no such space, or another one than the given one.
        """
        where, content = self.path / MANIFEST, self.manifest["study"]["space"]
        if own is not None:
            if content != json.loads(json.dumps(own.to_json())):
                raise InputError(f"{where}: was made for another space than the given {own.name!r}")
            return own
        found = read_space(content, f"{where}: space")
        if not isinstance(found, TemporalSpace):
            raise InputError(f"{where}: holds no space of a video network; make the bundle again")
        return found

    def architecture(self, space: TemporalSpace | None = None) -> Architecture:
        """What the network is; `space` as in `space()`."""
        check_json_file(self.path / ARCHITECTURE)
        return self.space(space).read_architecture(self.path / ARCHITECTURE)

    def weights(self, *, finetuned: bool | None = None) -> dict[str, Tensor]:
        """The parameters by name, in float32 (gigabytes, perhaps).

        Args:
            finetuned: those that a training package left (True), those of the search (False), or
                the tuned ones where there are some (None).

        Raises:
            InputError: none were tuned, no whole file, NaN, or numbers beyond float16.
        """
        if finetuned and self.finetuned is None:
            raise InputError(f"{self.path}: holds no tuned weights; fine-tune it first")
        take = self.finetuned is not None if finetuned is None else finetuned
        return _read_weights(self.path / (FINETUNED_WEIGHTS if take else WEIGHTS))

    def network(
        self, space: TemporalSpace | None = None, *, finetuned: bool | None = None
    ) -> VideoUNet:
        """The network as this toolkit builds it; arguments as in `space()` and `weights()`.

        Raises:
            InputError: weights that are not those of the architecture.
        """
        architecture = self.architecture(space)
        weights = self.weights(finetuned=finetuned)
        try:
            with torch.device("meta"):  # a shape that somebody made up costs no memory
                network = VideoUNet(self.space(space), architecture)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            said = " ".join(str(error).split())[:200]
            raise InputError(f"{self.path / MANIFEST}: no network has this space: {said}") from None
        check_weights(network, weights, self.path / WEIGHTS)
        network.load_state_dict(weights, assign=True)
        return network.eval()

    def denoiser(self, *, finetuned: bool | None = None) -> nn.Module:
        """The network as whoever does not know this toolkit opens it, from denoiser.pt2."""
        return self._program(PROGRAMS[0], finetuned)

    def features(self, *, finetuned: bool | None = None) -> nn.Module:
        """The down path, from features.pt2: (clip, time, context) to a tuple of stages."""
        return self._program(PROGRAMS[1], finetuned)

    def _program(self, name: str, finetuned: bool | None) -> nn.Module:
        try:
            module = open_program(self.path / name)
        except HostileProgramError as error:
            raise InputError(str(error)) from None
        weights, own = self.weights(finetuned=finetuned), module.state_dict()
        if name != PROGRAMS[0]:  # a part of the network
            weights = {each: tensor for each, tensor in weights.items() if each in own}
        check_weights(module, weights, self.path / name)
        module.load_state_dict(weights, assign=True)
        return module

    def _json(self, name: str) -> Json:
        path = self.path / name
        check_json_file(path)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: not valid JSON: {error}") from None
        if not isinstance(found, dict):
            raise InputError(f"{path}: expected a JSON object")
        return found


def _read_weights(file: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    kinds: dict[str, str] = {}
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                kinds[name] = tensors.get_slice(name).get_dtype()
                found[name] = tensors.get_tensor(name).float()
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: not a whole safetensors file: {said}") from None
    for name, tensor in found.items():
        if kinds[name] not in NUMBERS:
            raise InputError(f"{file}: {name[:80]!r} is of {kinds[name]}, not {NUMBERS}")
        if not (tensor.abs() <= LARGEST_FLOAT16).all():  # which is no NaN either
            raise InputError(
                f"{file}: tensor {name!r} holds NaN, or numbers beyond float16's "
                f"{LARGEST_FLOAT16:g}; train again"
            )
    return found
