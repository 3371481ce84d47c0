"""Clips of latents that `nas encode` made, which `nas search` takes as its data.

A folder holds `latents.json`, a safetensors file for each video with `latents` (frames, channels,
height, width) in float16, and the small autoencoder that made them, where it was one of ours: it
shows what networks generate. Where it was told to keep pixels, `pixels` says in which colours, and
"latents" are those, in [-1, 1]. Where films had captions, their token states are beside them
(`supernet.data.encoded_captions`), and are the clips' contexts; else contexts are zeros. Frames and
states are read from the files as clips need them, so that a long film takes no memory. Splits are
those of `supernet.data.splits`, as of the videos themselves.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from safetensors import SafetensorError, safe_open
from torch import Tensor

from search_spaces import AnyUNetShape, InputError
from search_spaces.files.document import Json, read
from supernet.autoencoders.autoencoder import ImageAutoencoder, load_autoencoder
from supernet.autoencoders.pixel_space import COLOURS
from supernet.data.clips import Clips, Places, random_places
from supernet.data.encoded_captions import EncodedCaptions
from supernet.data.provenance import typical_rate
from supernet.data.splits import FILES_TO_SPLIT, Split, split_films
from supernet.data.whole_files import NamedFile, named_file, whole_file

INDEX, FORMAT, MAJOR = "latents.json", "temporal-nas/latents", 1
AUTOENCODER = "autoencoder.safetensors"
TENSOR, PIXELS = "latents", "pixels"
CHUNK_LATENTS = 16_384  # decoded at a time: 4 frames of 64 x 64


@dataclass(frozen=True)
class LatentFilm:
    """The latents of one video."""

    file: NamedFile
    digest: str  # of the video
    frames: int
    caption: int | None = None  # its number among the folder's

    def slice(self, first: int, stop: int) -> Tensor:
        """Frames `first` to `stop` (frames, C, H, W) in float32."""
        path = self.file.whole()
        try:
            with safe_open(path, framework="pt") as file:
                part: Tensor = file.get_slice(TENSOR)[first:stop]
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: can no longer be read: {error}") from None
        return part.float()


@dataclass(frozen=True)
class LatentFolder:
    """The clips of one split of a folder of latents.

    All files are looked at when it is opened: that they are there, and not cut off. Bytes that were
    changed since are refused when the file is first drawn from.

    Args:
        folder: as `nas encode` wrote it.
        shape: frames, channels, height and width, which must be those of the latents.
        split: which films, or which time ranges of a few films.

    Raises:
        InputError: no such folder, damaged files, latents of another shape, or too few frames.
    """

    folder: Path
    shape: AnyUNetShape
    split: Split

    def __post_init__(self) -> None:
        index, shape = self._index, self.shape
        own = (shape.in_channels, shape.height, shape.width)
        found = tuple(_size(index, name, self.folder) for name in ("channels", "height", "width"))
        if found != own:
            raise InputError(
                f"{self.folder}: {self._what} of {_spelt(found)} (channels x height x width), and "
                f"the space's U-Net takes {_spelt(own)}; {self._mend(found, own)}"
            )
        if not self._places:
            raise InputError(
                f"{self.folder}: no film leaves {shape.frames} frames to the {self.split} "
                f"split; give longer videos, or at least {FILES_TO_SPLIT} of them"
            )
        self._check_captions()
        _ = self._autoencoder  # previews come at the end of a search: too late for a refusal

    @property
    def films(self) -> tuple[LatentFilm, ...]:
        """What this split's clips come from."""
        return tuple(film for film, _, _ in self._places)

    @property
    def places(self) -> int:
        """At how many frames a clip may begin: so many are different."""
        return int(self._weights[-1])

    def clips(self, count: int, seed: int) -> Clips:
        """`count` clips that depend on the seed alone; a longer draw begins with a shorter one."""
        return self.clips_at(random_places(self.places, count, seed), seed)

    def clips_at(self, place_B: Places, seed: int) -> Clips:
        """Those that begin at these places, whatever the seed: nothing else is random."""
        shape = self.shape
        drawn = [self._clip(int(place)) for place in place_B]
        x_BTCHW = torch.stack([frames for frames, _ in drawn])
        context = torch.zeros(len(drawn), shape.context_tokens, shape.context_channels)
        if (captions := self._captions) is not None:
            numbers = [film.caption for _, film in drawn]
            context = torch.stack([captions.states(n) for n in numbers if n is not None])
        return Clips(x_BTCHW.transpose(1, 2).contiguous(), context)

    def caption(self, context_LC: Tensor) -> str:
        """The caption whose states a context is; empty where it is none's."""
        captions = self._captions
        number = None if captions is None else captions.number_of(context_LC)
        return "" if captions is None or number is None else captions.text(number)

    def empty_context(self) -> Tensor | None:
        """States of the empty caption (tokens, channels); None where there are no captions."""
        return None if self._captions is None else self._captions.empty

    def autoencoder(self) -> Json | None:
        """What the latents were made by; None where an older index says not how it scales them."""
        told = self._index.get("autoencoder")
        if not isinstance(told, dict):
            return None
        names = ("name", "sha256", "scaling", "shift")
        lately = ("distilled", "encodes", "shows")
        found = {name: told[name] for name in (*names, *lately) if name in told}
        return found if found.keys() >= set(names) else None

    def text_encoder(self) -> Json:
        """What the captions were encoded by."""
        told = None if self._captions is None else self._captions.index.get("text_encoder")
        return told if isinstance(told, dict) else {}

    @property
    def asked_by(self) -> str:
        """Captions, or nothing."""
        return "nothing" if self._captions is None else "captions"

    @property
    def frames_per_s(self) -> float | None:
        """Of a clip; of films that differ the median."""
        films = self._index["files"]
        return self._index.get("fps") or typical_rate(film.get("fps") for film in films)

    def decode(self, x_BCTHW: Tensor) -> Tensor:
        """Pixels in [-1, 1] of clips (B, 3, T, H, W), or the latents where no decoder is here."""
        if self._autoencoder is None:
            return x_BCTHW
        x_NCHW = rearrange(x_BCTHW, "b c t h w -> (b t) c h w")
        chunk = max(1, CHUNK_LATENTS // (self.shape.height * self.shape.width))
        parts = (x_NCHW[first : first + chunk] for first in range(0, len(x_NCHW), chunk))
        decoded = torch.cat([self._autoencoder.decode(part) for part in parts])
        return rearrange(decoded, "(b t) c h w -> b c t h w", b=len(x_BCTHW))

    def _clip(self, place: int) -> tuple[Tensor, LatentFilm]:
        """Frames (T, C, H, W) from a place on, and the film that they are of."""
        chosen = int(np.searchsorted(self._weights, place, side="right"))
        film, _, stop = self._places[chosen]
        back = int(self._weights[chosen]) - place  # 1 for the part's last place
        begin = stop - self.shape.frames + 1 - back
        return film.slice(begin, begin + self.shape.frames), film

    @cached_property
    def _places(self) -> tuple[tuple[LatentFilm, int, int], ...]:
        """The parts of films that are long enough for a clip."""
        films = [film for film in self._films if film.frames >= self.shape.frames]
        parts = split_films(films, self.split)
        return tuple(part for part in parts if part[2] - part[1] >= self.shape.frames)

    @cached_property
    def _weights(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Places where a clip may begin, summed up over the parts."""
        starts = [stop - first - self.shape.frames + 1 for _, first, stop in self._places]
        return np.cumsum(starts)

    @cached_property
    def _index(self) -> Json:
        return read(self.folder / INDEX, FORMAT, MAJOR)

    @cached_property
    def _films(self) -> list[LatentFilm]:
        where = self.folder / INDEX
        listed = self._index.get("files")
        if not isinstance(listed, list) or not listed:
            raise InputError(f"{where}: names no files")
        films = []
        for entry in listed:
            file = named_file(self.folder, entry, INDEX)
            size = tuple(self._index[name] for name in ("channels", "height", "width"))
            digest, frames = entry.get("video_digest"), entry.get("frames")
            if _held(file) != (frames, *size) or not isinstance(digest, str):
                raise InputError(
                    f"{file.path}: holds other latents than {INDEX} says; encode again"
                )
            films.append(LatentFilm(file, digest, frames, self._caption_of(entry)))
        return films

    def _caption_of(self, entry: Json) -> int | None:
        if self._captions is None:
            return None
        number = entry.get("caption")
        if type(number) is not int or not 0 <= number < len(self._captions):
            raise InputError(
                f"{self.folder / INDEX}: {entry['file']} has a caption that is not there; encode "
                "again"
            )
        return number

    @cached_property
    def _captions(self) -> EncodedCaptions | None:
        entry = self._index.get("captions")
        if entry is None:
            return None
        return EncodedCaptions.open(whole_file(self.folder, entry, INDEX).parent)

    def _check_captions(self) -> None:
        """Refuse token states that the network cannot attend to."""
        shape, captions = self.shape, self._captions
        if captions is None:
            return
        own, found = (
            (shape.context_tokens, shape.context_channels),
            (captions.tokens, captions.width),
        )
        if own != found:
            raise InputError(
                f"{self.folder}: captions are {found[0]} tokens of {found[1]} channels, and the "
                f"space's U-Net attends to {own[0]} of {own[1]}; encode again with a text encoder "
                "of that width, or take a space of context_tokens "
                f"{found[0]} and context_channels {found[1]}"
            )

    @cached_property
    def _autoencoder(self) -> ImageAutoencoder | None:
        found = self._index.get("autoencoder")
        if not isinstance(found, dict) or found.get("file") is None:
            return None
        path = whole_file(self.folder, found, INDEX)
        autoencoder = load_autoencoder(path)
        if autoencoder.channels != self.shape.in_channels:
            raise InputError(
                f"{path}: makes {autoencoder.channels} channels, and not these latents"
            )
        return autoencoder

    @property
    def _what(self) -> str:
        return "pixels" if PIXELS in self._index else "latents"

    def _mend(self, found: tuple[int, ...], own: tuple[int, ...]) -> str:
        if found[0] != own[0]:
            colours = COLOURS.get(own[0])
            coder = f"`pixels={colours}`" if colours else f"an autoencoder of {own[0]} channels"
            return f"encode again with {coder}, or take a space of in_channels {found[0]}"
        return (
            f"encode again with `size={own[1]}x{own[2]}`, or take a space of "
            f"height {found[1]} and width {found[2]}"
        )


def _size(index: Json, name: str, folder: Path) -> int:
    found = index.get(name)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise InputError(f"{folder / INDEX}: {name} must be a whole number from 1; found {found!r}")
    return found


def _spelt(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


@cache  # the three splits ask for the same files
def _held(file: NamedFile) -> tuple[int, ...]:
    try:
        with safe_open(file.path, framework="pt") as opened:
            return tuple(opened.get_slice(TENSOR).get_shape())
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{file.path}: holds no latents: {error}") from None
