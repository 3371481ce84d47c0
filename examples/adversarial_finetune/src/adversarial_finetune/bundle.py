"""A bundle of temporal-nas, version 1, opened by torch and safetensors alone.

Its README says what the files are. Everything is checked before anything is loaded: hashes, names,
and that the programs are operations on tensors and nothing else.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from adversarial_finetune.errors import InputError
from adversarial_finetune.program_archive import HostileProgramError, checked, open_program

FORMAT, MAJOR = "temporal-nas/bundle", 1
MANIFEST, WEIGHTS = "bundle.json", "weights.safetensors"
DENOISER, FEATURES = "denoiser.pt2", "features.pt2"
MOST_BYTES = 4 * 2**20  # of bundle.json
MOST_CLIPS = 4096  # that a program takes
FILE_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,99}", re.ASCII)
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Bundle:
    """A bundle that was found whole and safe to load."""

    path: Path
    manifest: dict[str, Any]

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """Channels, frames, height and width of a clip."""
        network = self.manifest["network"]
        _, channels, _, height, width = network["inputs"]["x_BCTHW"]
        return channels, network["frames"], height, width

    @property
    def context_shape(self) -> tuple[int, int]:
        """Tokens and channels of a context."""
        _, tokens, channels = self.manifest["network"]["inputs"]["context_BLC"]
        return tokens, channels

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """Channels of each stage of the down path."""
        return tuple(self.manifest["network"]["features"])

    @property
    def digest(self) -> str:
        """sha256 of bundle.json, and so of all that it lists."""
        return sha256(self.path / MANIFEST)

    def weights(self) -> Weights:
        """The parameters that the search left, in float32."""
        return read_weights(self.path / WEIGHTS)

    def denoiser(self, weights: Weights, device: str = "cpu") -> nn.Module:
        """The network: (clips, times, contexts) to velocities; its parameters are trainable."""
        return self._program(DENOISER, weights, device)

    def features(self, weights: Weights, device: str = "cpu") -> nn.Module:
        """The frozen down path: (clips, times, contexts) to (B, C, T, H, W) of each stage."""
        return self._program(FEATURES, weights, device).requires_grad_(False)

    def try_out(self, x_BCTHW: Tensor, context_BLC: Tensor) -> None:
        """Ask both programs for a clip or a few, before anything is trained with them.

        Raises:
            InputError: they take no such clips, or answer otherwise than the manifest says.
        """
        weights, time_B = self.weights(), torch.full((len(x_BCTHW),), 0.5)
        for name, module, wanted in (
            (DENOISER, self.denoiser(weights), (x_BCTHW.shape[1],)),
            (FEATURES, self.features(weights), self.feature_channels),
        ):
            try:
                with torch.no_grad():
                    found = module(x_BCTHW, time_B, context_BLC)
            except (RuntimeError, AssertionError) as error:
                said = " ".join(str(error).split())[:200]
                raise InputError(
                    f"{self.path / name}: takes no clips of {tuple(x_BCTHW.shape)}: {said}"
                ) from None
            answers = [found] if isinstance(found, Tensor) else found
            if (channels := tuple(each.shape[1] for each in answers)) != wanted:
                raise InputError(
                    f"{self.path / name}: answers with channels {channels}, not {wanted}"
                )

    def _program(self, name: str, weights: Weights, device: str) -> nn.Module:
        where = self.path / name
        try:
            module = open_program(where, device)
        except HostileProgramError as error:
            raise InputError(str(error)) from None
        own = module.state_dict()
        taken = {each: weights[each] for each in own if each in weights}
        for each, tensor in own.items():
            if each not in taken or taken[each].shape != tensor.shape:
                found = tuple(taken[each].shape) if each in taken else "no such tensor"
                raise InputError(
                    f"{where}: wants {each!r} of shape {tuple(tensor.shape)}, the weights have "
                    f"{found}: they are another network's"
                )
        if name == DENOISER and (extra := sorted(weights.keys() - own.keys())):
            raise InputError(
                f"{where}: the weights have {len(extra)} tensors too many, first {extra[0]!r}: "
                "they are another network's"
            )
        fresh = {each: _placed(tensor, device) for each, tensor in taken.items()}
        module.load_state_dict(fresh, strict=True, assign=True)
        return module


def _placed(tensor: Tensor, device: str) -> Tensor:
    """A copy on a device; weights of 2D convolutions with channels last, which compute faster."""
    layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
    return tensor.detach().to(device, copy=True, memory_format=layout)


def open_bundle(path: Path) -> Bundle:
    """Open a bundle.

    Raises:
        InputError: what is wrong with it, before anything of it is loaded.
    """
    file = path / MANIFEST
    manifest = _read_json(file)
    _check_version(manifest, file)
    files = manifest.get("files")
    needed = {WEIGHTS, DENOISER, FEATURES}
    if not isinstance(files, dict) or not needed <= files.keys():
        raise InputError(f"{file}: files must list sha256 of {', '.join(sorted(needed))}")
    for name, digest in files.items():
        check_file(path, name, digest, file)
    bundle = Bundle(path, manifest)
    _check_network(bundle, file)
    for name in (DENOISER, FEATURES):
        try:
            checked(path / name)
        except HostileProgramError as error:
            raise InputError(str(error)) from None
    return bundle


def read_weights(file: Path) -> Weights:
    """Tensors of a safetensors file, in float32.

    Raises:
        InputError: no whole file, or numbers that are none.
    """
    try:
        with safe_open(file, framework="pt") as tensors:
            found = {name: tensors.get_tensor(name).float() for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: not a whole safetensors file: {said}") from None
    for name, tensor in found.items():
        if not torch.isfinite(tensor).all():
            raise InputError(f"{file}: tensor {name!r} holds NaN or infinity")
    return found


def sha256(file: Path) -> str:
    """Of a file of any size."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_file(folder: Path, name: str, digest: object, where: Path) -> None:
    """Refuse a file that is missing, changed, or somewhere else.

    Raises:
        InputError: which, and why.
    """
    file = folder / name
    if not FILE_NAME.fullmatch(name):
        raise InputError(f"{where}: {name[:80]!a} is no file name")
    if file.is_symlink() or not file.is_file():
        raise InputError(f"{file}: no such file, though {where.name} lists it")
    if sha256(file) != digest:
        raise InputError(f"{file}: was changed since {where.name} was written")


def _read_json(file: Path) -> dict[str, Any]:
    if file.is_symlink() or not file.is_file():
        raise InputError(f"{file}: no such file; give the folder of a bundle")
    if file.stat().st_size > MOST_BYTES:
        raise InputError(f"{file}: larger than any bundle needs")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not valid JSON: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"{file}: is no {FORMAT}")
    return found


def _check_version(manifest: dict[str, Any], file: Path) -> None:
    version = str(manifest.get("version"))
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) != MAJOR:
        raise InputError(f"{file}: version {version[:20]}, and this package reads {MAJOR}.x")


def _check_network(bundle: Bundle, file: Path) -> None:
    try:
        sizes = (*bundle.clip_shape, *bundle.context_shape, *bundle.feature_channels)
        said = bundle.manifest["network"]["predicts"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: network is not as version 1 has it ({error!r})") from None
    if not all(isinstance(size, int) and size > 0 for size in sizes) or said != "velocity":
        raise InputError(f"{file}: network is not as version 1 has it")
