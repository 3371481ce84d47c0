"""Clips of latents that `nas encode` made, which `nas search` takes as its data.

A folder holds `latents.json`, a safetensors file for each video with `latents` (frames, channels,
height, width) in float16, and the small autoencoder that made them, where it was one of ours: it
shows what networks generate. Frames are read from the files as clips need them, so that a long film
takes no memory. Splits are those of `supernet.data.splits`, as of the videos themselves.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from safetensors import SafetensorError, safe_open
from torch import Tensor

from search_spaces import AnyUNetShape, InputError
from search_spaces.files.document import Json, read
from search_spaces.files.git_lfs import refuse_pointer
from supernet.autoencoders.autoencoder import ImageAutoencoder, load_autoencoder
from supernet.checkpoint import file_sha256
from supernet.data.clips import Clips
from supernet.data.splits import FILES_TO_SPLIT, Split, split_films

INDEX, FORMAT, MAJOR = "latents.json", "temporal-nas/latents", 1
AUTOENCODER = "autoencoder.safetensors"
TENSOR = "latents"
CHUNK_LATENTS = 16_384  # decoded at a time: 4 frames of 64 x 64


@dataclass(frozen=True)
class LatentFilm:
    """The latents of one video."""

    path: Path
    digest: str  # of the video
    frames: int

    def slice(self, first: int, stop: int) -> Tensor:
        """Frames `first` to `stop` (frames, C, H, W) in float32."""
        try:
            with safe_open(self.path, framework="pt") as file:
                part: Tensor = file.get_slice(TENSOR)[first:stop]
        except (OSError, SafetensorError) as error:
            raise InputError(f"{self.path}: can no longer be read: {error}") from None
        return part.float()


@dataclass(frozen=True)
class LatentFolder:
    """The clips of one split of a folder of latents.

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
                f"{self.folder}: latents of {_spelt(found)} (channels x height x width), and the "
                f"space's U-Net takes {_spelt(own)}; {self._mend(found, own)}"
            )
        if not self._places:
            raise InputError(
                f"{self.folder}: no film leaves {shape.frames} frames to the {self.split} "
                f"split; give longer videos, or at least {FILES_TO_SPLIT} of them"
            )
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
        shape = self.shape
        drawn = [self._clip(np.random.default_rng((seed, number))) for number in range(count)]
        context = torch.zeros(count, shape.context_tokens, shape.context_channels)
        return Clips(torch.stack(drawn).transpose(1, 2).contiguous(), context)

    def decode(self, x_BCTHW: Tensor) -> Tensor:
        """Pixels in [-1, 1] of clips (B, 3, T, H, W), or the latents where no decoder is here."""
        if self._autoencoder is None:
            return x_BCTHW
        x_NCHW = rearrange(x_BCTHW, "b c t h w -> (b t) c h w")
        chunk = max(1, CHUNK_LATENTS // (self.shape.height * self.shape.width))
        parts = (x_NCHW[first : first + chunk] for first in range(0, len(x_NCHW), chunk))
        decoded = torch.cat([self._autoencoder.decode(part) for part in parts])
        return rearrange(decoded, "(b t) c h w -> b c t h w", b=len(x_BCTHW))

    def _clip(self, rng: np.random.Generator) -> Tensor:
        """Frames (T, C, H, W) of a random place."""
        point = int(rng.random() * self._weights[-1])
        chosen = int(np.searchsorted(self._weights, point, side="right"))
        film, _, stop = self._places[chosen]
        back = int(self._weights[chosen]) - point  # 1 for the part's last place
        begin = stop - self.shape.frames + 1 - back
        return film.slice(begin, begin + self.shape.frames)

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
            path = _whole(self.folder, entry)
            size = tuple(self._index[name] for name in ("channels", "height", "width"))
            digest, frames = entry.get("video_digest"), entry.get("frames")
            if _held(path) != (frames, *size) or not isinstance(digest, str):
                raise InputError(f"{path}: holds other latents than {INDEX} says; encode again")
            films.append(LatentFilm(path, digest, frames))
        return films

    @cached_property
    def _autoencoder(self) -> ImageAutoencoder | None:
        found = self._index.get("autoencoder")
        if not isinstance(found, dict) or found.get("file") is None:
            return None
        path = _whole(self.folder, found)
        autoencoder = load_autoencoder(path)
        if autoencoder.channels != self.shape.in_channels:
            raise InputError(
                f"{path}: makes {autoencoder.channels} channels, and not these latents"
            )
        return autoencoder

    def _mend(self, found: tuple[int, ...], own: tuple[int, ...]) -> str:
        if found[0] != own[0]:
            return f"take an autoencoder of {own[0]} channels, or a space of {found[0]}"
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


def _whole(folder: Path, entry: Any) -> Path:
    """The file that an entry of the index names, which is there and is what it was."""
    name = entry.get("file") if isinstance(entry, dict) else None
    if not isinstance(name, str) or Path(name).name != name:
        raise InputError(f"{folder / INDEX}: {str(name)[:60]!r} is no name of a file beside it")
    path = folder / name
    refuse_pointer(path)
    try:
        found = path.stat()
        same = _sha256((path, found.st_size, found.st_mtime_ns)) == entry.get("sha256")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, though {INDEX} names it; encode again") from None
    if not same:
        raise InputError(f"{path}: was changed since it was written; encode again")
    return path


@lru_cache(maxsize=100_000)  # the three splits ask for the same files
def _sha256(file: tuple[Path, int, int]) -> str:
    return file_sha256(file[0])


def _held(path: Path) -> tuple[int, ...]:
    try:
        with safe_open(path, framework="pt") as file:
            return tuple(file.get_slice(TENSOR).get_shape())
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path}: holds no latents: {error}") from None
