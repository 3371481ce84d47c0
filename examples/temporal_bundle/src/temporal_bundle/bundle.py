"""A bundle on disk: checked, then opened by torch and safetensors alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from temporal_bundle.errors import BundleError
from temporal_bundle.made_with import made_with
from temporal_bundle.manifest import (
    DENOISER,
    FEATURES,
    FINETUNED,
    FINETUNED_FORMAT,
    FORMAT,
    MANIFEST,
    TUNED_WEIGHTS,
    WEIGHTS,
    Json,
    one_line,
    read_manifest,
    sha256,
)
from temporal_bundle.program_archive import checked, open_program
from temporal_bundle.weights import Weights, assign, read_weights

Which = Literal["best", "tuned", "searched"]  # best: the tuned weights where there are some
FOLDER = "bundle"  # of a bundle in the folder of the search that left it


@dataclass(frozen=True)
class ChosenWeights:
    """Which weights of a bundle are meant, and how they are known again."""

    which: Literal["tuned", "searched"]
    file: str
    sha256: str
    bundle: str  # sha256 of bundle.json

    def to_json(self) -> dict[str, str]:
        """For manifests and reports."""
        return {
            "which": self.which,
            "file": self.file,
            "sha256": self.sha256,
            "bundle": self.bundle,
        }


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were found to be what its manifest says, and safe to load.

    Attributes:
        path: the folder.
        manifest: bundle.json, with fields that this version does not know.
        finetuned: finetuned.json where a training package left one, else None.
        half_tuned: whether tuned weights stand there without the finetuned.json that vouches for
            them.
    """

    path: Path
    manifest: Json
    finetuned: Json | None = None
    half_tuned: bool = False

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

    def made_with(self, which: Which = "best") -> Json:
        """What the clips were made with that the weights learned from, as far as that is known.

        Tuned weights learned from those of the search, too.

        Raises:
            BundleError: a manifest says something else than that.
        """
        study = self.manifest.get("study")
        found = made_with(study if isinstance(study, dict) else {}, self.path / MANIFEST)
        if which == "searched" or self.finetuned is None:
            return found
        return found | made_with(self.finetuned, self.path / FINETUNED)

    def chosen(self, which: Which = "best") -> ChosenWeights:
        """Say which weights are meant.

        Raises:
            BundleError: tuned ones that are not there, or were half written.
        """
        if which != "searched" and self.half_tuned:
            raise BundleError(
                f"{self.path}: holds {TUNED_WEIGHTS} without {FINETUNED}, so the tuning was not "
                f"written whole: tune again, or remove {TUNED_WEIGHTS}, or ask for the weights "
                "that were searched"
            )
        if which == "tuned" and self.finetuned is None:
            raise BundleError(f"{self.path}: holds no tuned weights; fine-tune it first")
        if which == "searched" or self.finetuned is None:
            digest = self.manifest["files"][WEIGHTS]
            return ChosenWeights("searched", WEIGHTS, digest, self.digest)
        digest = self.finetuned["files"][TUNED_WEIGHTS]
        return ChosenWeights("tuned", TUNED_WEIGHTS, digest, self.digest)

    def weights(self, which: Which = "best") -> Weights:
        """The parameters by name, in float32 (gigabytes, perhaps).

        Raises:
            BundleError: as `chosen` and `read_weights`.
        """
        return read_weights(self.path / self.chosen(which).file)

    def denoiser(self, weights: Weights, device: str = "cpu") -> nn.Module:
        """The network: (clips, times, contexts) to velocities; its parameters are trainable.

        Raises:
            BundleError: weights of another network.
        """
        module = self._program(DENOISER, weights, device)
        if extra := sorted(weights.keys() - module.state_dict().keys()):
            raise BundleError(
                f"{self.path / DENOISER}: the weights have {len(extra)} tensors too many, first "
                f"{one_line(extra[0])!r}: they are another network's"
            )
        return module

    def features(self, weights: Weights, device: str = "cpu") -> nn.Module:
        """The frozen down path: (clips, times, contexts) to (B, C, T, H, W) of each stage.

        Raises:
            BundleError: weights of another network.
        """
        return self._program(FEATURES, weights, device).requires_grad_(False)

    def try_out(self, x_BCTHW: Tensor, context_BLC: Tensor) -> None:
        """Ask both programs for a clip or a few, before anything is trained with them.

        Raises:
            BundleError: they take no such clips, or answer otherwise than the manifest says.
        """
        weights, time_B = self.weights("searched"), torch.full((len(x_BCTHW),), 0.5)
        for name, module, wanted in (
            (DENOISER, self.denoiser(weights), (x_BCTHW.shape[1],)),
            (FEATURES, self.features(weights), self.feature_channels),
        ):
            try:
                with torch.no_grad():
                    found = module(x_BCTHW, time_B, context_BLC)
            except (RuntimeError, AssertionError) as error:
                raise BundleError(
                    f"{self.path / name}: takes no clips of {tuple(x_BCTHW.shape)}: "
                    f"{one_line(str(error))}"
                ) from None
            answers = [found] if isinstance(found, Tensor) else found
            if (channels := tuple(each.shape[1] for each in answers)) != wanted:
                raise BundleError(
                    f"{self.path / name}: answers with channels {channels}, not {wanted}"
                )

    def _program(self, name: str, weights: Weights, device: str) -> nn.Module:
        module = open_program(self.path / name, device)
        assign(module, weights, device, self.path / name)
        return module


def open_bundle(path: str | Path) -> Bundle:
    """Open a bundle; nothing that it holds is run, and no weights are read yet.

    Raises:
        BundleError: what is wrong with it: no bundle, a newer version, a missing or changed file, a
            program that is more than operations on tensors, tuned weights of another bundle.
    """
    folder = Path(path)
    _check_folder(folder)
    manifest, finetuned = read_manifest(folder / MANIFEST, FORMAT), _read_finetuned(folder)
    half = finetuned is None and (folder / TUNED_WEIGHTS).exists()
    bundle = Bundle(folder, manifest, finetuned, half)
    _check_network(bundle)
    for name in (DENOISER, FEATURES):
        checked(folder / name)
    return bundle


def _check_folder(folder: Path) -> None:
    """Say where the bundle is, where something beside it was given."""
    if (folder / MANIFEST).exists() or (folder / MANIFEST).is_symlink():
        return
    inside = folder / FOLDER
    if (inside / MANIFEST).is_file():
        raise BundleError(f"{folder}: is the folder of a search; give its bundle, {inside}")
    if folder.is_file() and (folder.parent / MANIFEST).is_file():
        raise BundleError(f"{folder}: is a file; give the bundle's folder, {folder.parent}")
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; give that of a bundle")
    raise BundleError(
        f"{folder}: is no bundle, as it lacks {MANIFEST}; give the folder {FOLDER} of a finished "
        "search"
    )


def _read_finetuned(folder: Path) -> Json | None:
    """finetuned.json, with its weights as it says, where there is one.

    Raises:
        BundleError: it is damaged, or another bundle's; with what to do about it.
    """
    file = folder / FINETUNED
    if not file.exists() and not file.is_symlink():
        return None
    mend = f"; or remove {FINETUNED} and {TUNED_WEIGHTS}, and the bundle is as it was searched"
    try:
        found = read_manifest(file, FINETUNED_FORMAT)
    except BundleError as error:
        raise BundleError(f"{error}{mend}") from None
    if found.get("bundle") != sha256(folder / MANIFEST):
        raise BundleError(f"{file}: was tuned from another bundle than the one beside it{mend}")
    return found


def _check_network(bundle: Bundle) -> None:
    file = bundle.path / MANIFEST
    try:
        sizes: tuple[Any, ...] = (
            *bundle.clip_shape,
            *bundle.context_shape,
            *bundle.feature_channels,
        )
        said = bundle.manifest["network"]["predicts"]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{file}: network: is not as version 1 has it ({one_line(repr(error))})"
        ) from None
    whole = all(type(size) is int and size > 0 for size in sizes)
    if not whole or not bundle.feature_channels or said != "velocity":
        raise BundleError(f"{file}: network: is not as version 1 has it")
