"""A bundle on disk, opened as a network of a search space: looked into, copied."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

import temporal_bundle
from nas.bundle.runnable import Runnable, part_of_video
from nas.costs.modules import clip_inputs
from search_spaces import Architecture, InputError, TemporalSpace
from search_spaces.files import document
from search_spaces.files.document import Json
from search_spaces.unet.temporal import read_space
from supernet import VideoUNet
from supernet.checkpoint import check_weights
from temporal_bundle import (
    FINETUNED,
    FINETUNED_FORMAT,
    FORMAT,
    MANIFEST,
    BundleError,
    ChosenWeights,
    Which,
)
from temporal_bundle.manifest import ARCHITECTURE, LATENCY, one_line

VIDEO_INPUTS = ("clip", "time", "context")
MOST_SHOWN = 60  # letters of a value that is refused
WHICH: dict[bool | None, Which] = {None: "best", True: "tuned", False: "searched"}


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were found to be what its manifest says, and safe to load.

    Attributes:
        opened: as whoever does not know this toolkit opens it.
    """

    opened: temporal_bundle.Bundle

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Open a bundle; nothing that it holds is run, and no weights are read yet.

        Raises:
            InputError: what is wrong with it: no bundle, a newer version, a missing or changed
                file, a program that is more than operations on tensors.
        """
        with mendable():
            opened = temporal_bundle.open_bundle(path)
        check(opened.manifest, FORMAT, opened.path / MANIFEST)
        if opened.finetuned is not None:
            check(opened.finetuned, FINETUNED_FORMAT, opened.path / FINETUNED)
        return cls(opened)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.opened.path

    @property
    def manifest(self) -> Json:
        """bundle.json, with fields that this version does not know."""
        return self.opened.manifest

    @property
    def finetuned(self) -> Json | None:
        """finetuned.json where a training package left one, else None."""
        return self.opened.finetuned

    @cached_property
    def made_with(self) -> Json:
        """What the clips that its weights learned from were made with, as far as it is known."""
        with mendable():
            return self.opened.made_with()

    @property
    def half_tuned(self) -> bool:
        """Whether tuned weights stand there without the finetuned.json that vouches for them."""
        return self.opened.half_tuned

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
            copy = Bundle.load(temporary).opened
        return Bundle(temporal_bundle.Bundle(Path(path), copy.manifest, copy.finetuned))

    @cached_property
    def latency(self) -> Json:
        """latency.json: the prediction with its bounds, slot by slot."""
        with mendable():
            return temporal_bundle.read_json(self.path / LATENCY)

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
        with mendable():
            temporal_bundle.read_json(self.path / ARCHITECTURE)  # a plain file of a plain size
        return self.space(space).read_architecture(self.path / ARCHITECTURE)

    def chosen(self, *, finetuned: bool | None = None) -> ChosenWeights:
        """Say which weights are meant; arguments and errors as in `weights()`."""
        with mendable():
            return self.opened.chosen(WHICH[finetuned])

    def weights_in_words(self, *, finetuned: bool | None = None) -> str:
        """Which weights are meant and what they are; arguments and errors as in `weights()`."""
        chosen = self.chosen(finetuned=finetuned)
        if chosen.which == "tuned":
            sampler = (self.finetuned or {})["sampler"]
            return (
                f"tuned ({chosen.file}), for {len(sampler['times'])} steps of {sampler['kind']!r}"
            )
        are = self.manifest["study"].get("weights", "the manifest does not say what they are")
        return f"as searched ({chosen.file}): {are}"

    def weights(self, *, finetuned: bool | None = None) -> dict[str, Tensor]:
        """The parameters by name, in float32 (gigabytes, perhaps).

        Args:
            finetuned: those that a training package left (True), those of the search (False), or
                the tuned ones where there are some (None).

        Raises:
            InputError: none were tuned, or not wholly; no whole file, NaN, or numbers beyond
                float16.
        """
        with mendable():
            return self.opened.weights(WHICH[finetuned])

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
            raise InputError(
                f"{self.path / MANIFEST}: no network has this space: {one_line(str(error))}"
            ) from None
        check_weights(network, weights, self.path / self.chosen(finetuned=finetuned).file)
        network.load_state_dict(weights, assign=True)
        return network.eval()

    def runnable(
        self, space: TemporalSpace | None = None, *, finetuned: bool | None = None
    ) -> Runnable:
        """The network with one clip for its input; arguments and errors as in `network()`."""
        network = self.network(space, finetuned=finetuned)
        return video_runnable(network, self.space(space))

    def denoiser(self, *, finetuned: bool | None = None, device: str = "cpu") -> nn.Module:
        """The network as whoever does not know this toolkit opens it, from denoiser.pt2."""
        with mendable():
            return self.opened.denoiser(self.opened.weights(WHICH[finetuned]), device)

    def features(self, *, finetuned: bool | None = None) -> nn.Module:
        """The down path, from features.pt2: (clip, time, context) to a tuple of stages."""
        with mendable():
            return self.opened.features(self.opened.weights(WHICH[finetuned]))


def video_runnable(network: VideoUNet, space: TemporalSpace) -> Runnable:
    """A video network with one clip for its input."""
    return Runnable(network, clip_inputs(space), VIDEO_INPUTS, part_of_video)


@contextmanager
def mendable() -> Iterator[None]:
    """Bad input is one error everywhere in this toolkit."""
    try:
        yield
    except BundleError as error:
        raise InputError(str(error)) from None


def check(manifest: Json, format_name: str, file: Path) -> None:
    """Hold a manifest against its schema, which says more than a reader needs."""
    mend = "tune again" if format_name == FINETUNED_FORMAT else "make it again"
    for error in _validator(format_name).iter_errors(manifest):
        where = one_line(".".join(map(str, error.absolute_path)) or "the document")
        raise InputError(f"{file}: {where[:MOST_SHOWN]}: {one_line(_said(error))}; {mend}")


def _said(error: Any) -> str:
    """What a validator says; its words begin with the value, which may be as long as a file."""
    value, words = repr(error.instance), str(error.message)
    return words.replace(value, f"{value[:MOST_SHOWN]}...") if len(value) > MOST_SHOWN else words


@lru_cache
def _validator(format_name: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(temporal_bundle.schema(format_name))
