"""One film to latents: a file a film, made wherever a worker is.

A film is a file of its own, or a sample of a shard, which is put on the disk for as long as it is
read. What is there already is not encoded again.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from search_spaces import InputError
from search_spaces.files.document import Json, dumps, write_atomically
from supernet import checkpoint
from supernet.autoencoders.contract import Autoencoder
from supernet.autoencoders.opening import open_autoencoder
from supernet.autoencoders.pixel_space import PixelSpace
from supernet.checkpoint import file_sha256
from supernet.data.film_sources import FilmFile, Shard, Source
from supernet.data.latents import TENSOR
from supernet.data.shards import samples
from supernet.data.video_files import BrokenVideoError, Video, open_video, reason, video_digest
from supernet.data.video_folder import SUFFIXES
from supernet.data.video_frames import Pictures, Pixels, stream_frames

CHUNK_PIXELS = 2**18  # encoded at a time: a frame of 512 x 512
RGB = 3  # channels of frames, as autoencoders take them
SKIP = "skip"  # what to do with a film without a caption

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Coding:
    """How films become latents, as every worker must know it.

    Args:
        autoencoder: a file or folder as of `open_autoencoder`, or pixels as they are.
        sha256: of it, or what else tells it from others.
        height: of the latents.
        width: likewise.
        fps: frames a second; None takes every frame as it was filmed.
        accelerator: "cpu" or "cuda".
        uncaptioned: "zeros" or "skip"; None where captions do not count.
    """

    autoencoder: Path | PixelSpace
    sha256: str
    height: int
    width: int
    fps: float | None
    accelerator: str
    uncaptioned: str | None = None


@lru_cache(maxsize=1)  # a worker encodes many films
def coder_of(coding: Coding) -> Autoencoder:
    """The autoencoder, where it computes."""
    coder = open_autoencoder(coding.autoencoder)
    coder.to(torch.device(coding.accelerator))
    return coder


@dataclass(frozen=True)
class Encoded:
    """What came of a source: entries of the index with their captions, and what to tell of.

    `marks` tell what was encoded from other films and shards.
    """

    films: list[tuple[Json, str | None]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    uncaptioned: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Film:
    """A film as it is read now."""

    path: Path
    source: str  # what it is, wherever it is read
    told: str  # to people
    named: str  # in the index
    caption: str | None

    def file_name(self, digest: str) -> str:
        told = hashlib.sha256(f"{self.source}\n{digest}".encode()).hexdigest()
        readable = re.sub(r"[^\w.-]", "_", PurePosixPath(self.source).stem)[:60]
        return f"{readable}.{told[:12]}.safetensors"


def mark_of(source: Source) -> str | None:
    """What tells a film with its caption, or a shard, from others; None where it cannot be read."""
    try:
        if isinstance(source, Shard):
            return file_sha256(source.path)
        return _mark(_film(source).file_name(video_digest(source.path)), source.caption)
    except OSError:
        return None


def _mark(name: str, caption: str | None) -> str:
    """Of a film, by its latents' name, which alone tells it where it has no caption."""
    return name if caption is None else hashlib.sha256(f"{name}\n{caption}".encode()).hexdigest()


def encode_source(
    coding: Coding,
    folder: Path,
    source: Source,
    *,
    frames: Advance | None = None,
    films: Advance | None = None,
) -> Encoded:
    """Encode what a source holds and the folder does not, each film whole or up to its damage.

    Args:
        coding: how.
        folder: where latents go.
        source: a film or a shard.
        frames: called with the finished frames of a film in a file of its own.
        films: called with the finished films of a shard.

    Raises:
        InputError: a shard that is damaged, or latents that are not finite.
    """
    if isinstance(source, FilmFile):
        found = _encode_films(coding, folder, iter([_film(source)]), frames)
        found.marks.extend(_mark(entry["file"], caption) for entry, caption in found.films)
        return found
    digest = file_sha256(source.path)  # a caption may be all that was changed
    told = f"{source.source}\n{digest}"
    note = folder / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.shard.json"
    if note.exists():
        found = Encoded(**json.loads(note.read_text(encoding="utf-8")))
        if found.marks and all((folder / entry["file"]).exists() for entry, _ in found.films):
            return found
    found = _encode_films(coding, folder, _unpacked(source, folder, films), None)
    found.marks.append(digest)
    write_atomically(note, dumps(vars(found)))
    return found


def _film(film: FilmFile) -> _Film:
    return _Film(film.path, film.source, str(film.path), film.path.name, film.caption)


def _unpacked(shard: Shard, folder: Path, report: Advance | None) -> Iterator[_Film]:
    """Each film of a shard, on the disk until the next is asked for, when it counts as finished."""
    for number, sample in enumerate(samples(shard.path, SUFFIXES), start=1):
        suffix = PurePosixPath(sample.name).suffix
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".film-", suffix=suffix) as file:
            file.write(sample.film)
            file.flush()
            source, told = f"{shard.source}/{sample.name}", f"{shard.path}: {sample.name}"
            yield _Film(Path(file.name), source, told, source, sample.caption)
        if report is not None:
            report(number)


def _encode_films(
    coding: Coding, folder: Path, films: Iterator[_Film], report: Advance | None
) -> Encoded:
    found = Encoded()
    for film in films:
        if coding.uncaptioned and film.caption is None:
            found.uncaptioned.append(film.told)
            if coding.uncaptioned == SKIP:
                continue
        try:
            digest = video_digest(film.path)
            path = folder / film.file_name(digest)
            video = None if path.exists() else _opened(film.path, coding.fps)
        except (BrokenVideoError, OSError) as error:
            found.skipped.append(f"{film.told}: {reason(error)}; skipped")
            continue
        damage = _encode(coding, film, video, path, report) if video else None
        if damage is not None:
            found.skipped.append(f"{film.told}: {damage}; skipped")
        if path.exists():
            found.films.append((_entry(path, film, digest), film.caption))
    return found


def _opened(path: Path, fps: float | None) -> Video:
    """A film that has a frame."""
    video = open_video(path)
    if video.frames_at(fps) < 1:
        raise BrokenVideoError("0 frames, fewer than 1")
    return video


def _entry(path: Path, film: _Film, digest: str) -> Json:
    """As the index lists it."""
    with safe_open(path, framework="pt") as file:
        frames = file.get_slice(TENSOR).get_shape()[0]
        told = json.loads(file.metadata()[checkpoint.METADATA_KEY])
    return {
        "file": path.name, "sha256": file_sha256(path), "source": film.named,
        "video_digest": digest, "frames": frames, "fps": told["fps"],
    }  # fmt: skip


def _encode(
    coding: Coding, film: _Film, video: Video, path: Path, report: Advance | None
) -> str | None:
    """Write a film's latents up to its first damage, which is returned in words."""
    coder = coder_of(coding)
    size = coding.height, coding.width
    height, width = (side * coder.factor for side in size)
    colours = coder.channels if isinstance(coder, PixelSpace) else RGB
    pictures = stream_frames(video, 0, video.frames, coding.fps, Pixels(height, width, colours))
    chunk = max(1, CHUNK_PIXELS // (height * width))
    frames, damage = 0, None
    with _raw(path) as raw:  # not in memory: a film may be long
        with raw.open("wb") as file:
            while damage is None:
                taken, damage = _take(pictures, chunk)
                if not taken:
                    break
                x_NCHW = _middle(taken, (height, width)).to(torch.device(coding.accelerator))
                latents = coder.encode(x_NCHW).half().cpu().contiguous()
                if not torch.isfinite(latents).all():
                    raise InputError(
                        f"{film.told}: its latents are not finite; take another autoencoder"
                    )
                file.write(latents.numpy().tobytes())
                frames += len(taken)
                if report is not None:
                    report(frames)
        if frames:
            shape = (frames, coder.channels, *size)
            held = torch.from_file(str(raw), size=int(np.prod(shape)), dtype=torch.float16)
            # One entry: safetensors writes several in any order, and hashes would differ.
            told = json.dumps({"source": film.named, "fps": coding.fps or video.frames_per_s})
            metadata = {checkpoint.METADATA_KEY: told}
            checkpoint.write_safetensors(path, {TENSOR: held.view(shape)}, metadata)
    if damage is not None and frames:
        shown_s = frames / coding.fps if coding.fps else video.end_s(frames) - video.start_s[0]
        return f"from {shown_s:.1f} s on: {damage}"
    return damage


@contextmanager
def _raw(path: Path) -> Iterator[Path]:
    """A file of this process's own beside what it becomes: another may do the same work."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}.") as file:
        yield Path(file.name)


def _take(pictures: Iterator[Pictures], count: int) -> tuple[list[Pictures], str | None]:
    """The next frames, and the damage that ended them early."""
    taken: list[Pictures] = []
    try:
        for picture in pictures:
            taken.append(picture)
            if len(taken) == count:
                break
    except BrokenVideoError as error:
        return taken, str(error)
    return taken, None


def _middle(taken: list[Pictures], pixels: tuple[int, int]) -> Tensor:
    """The middle of each frame, (frames, colours, H, W) in [-1, 1].

    A pixel's colours lie side by side (`torch.channels_last`), as films have them: convolutions on
    a CPU are faster so (`examples/benchmarks/encode_throughput.py`).
    """
    top, left = ((taken[0].shape[axis] - side) // 2 for axis, side in enumerate(pixels))
    cut = np.stack([p[top : top + pixels[0], left : left + pixels[1]] for p in taken])
    return torch.from_numpy(cut).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
