"""Videos to latents, once and for all: what `nas encode` does.

Each video becomes one file in a folder beside the one that is wanted. A folder that was left
unfinished is gone on with, video by video; it takes its name when it is whole.
"""

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from search_spaces import InputError
from search_spaces.files.document import Json, dumps, read, replace_folder, write_atomically
from search_spaces.files.targets import folder_target
from supernet import checkpoint
from supernet.autoencoders.contract import Autoencoder
from supernet.autoencoders.opening import autoencoder_sha256, open_autoencoder
from supernet.checkpoint import file_sha256
from supernet.data.latents import AUTOENCODER, FORMAT, INDEX, MAJOR, TENSOR
from supernet.data.video_files import BrokenVideoError, Video
from supernet.data.video_folder import SkippedVideoWarning, check_fps, usable_videos
from supernet.data.video_frames import Pictures, Pixels, stream_frames

SETTINGS = "settings.json"  # of an unfinished folder
LARGEST = 1024  # latents high or wide: beyond any U-Net, and a likely slip for pixels
CHUNK_PIXELS = 2**18  # encoded at a time: a frame of 512 x 512

Advance = Callable[[int], None]


@dataclass(frozen=True)
class _Film:
    """A video, and where its latents go."""

    video: Video
    source: str  # below the folder of videos
    fps: float | None

    @property
    def name(self) -> str:
        told = hashlib.sha256(f"{self.source}\n{self.video.digest}".encode()).hexdigest()
        readable = re.sub(r"[^\w.-]", "_", self.video.path.stem)[:60]
        return f"{readable}.{told[:12]}.safetensors"

    @property
    def frames_per_s(self) -> float:
        if self.fps is not None:
            return self.fps
        seconds = self.video.stop_s - self.video.start_s[0]
        return round(self.video.frames / seconds, 6) if seconds > 0 else 0.0

    def entry(self, path: Path) -> Json:
        """As the index lists it."""
        with safe_open(path, framework="pt") as file:
            frames = file.get_slice(TENSOR).get_shape()[0]
        return {
            "file": self.name, "sha256": file_sha256(path), "source": self.video.path.name,
            "video_digest": self.video.digest, "frames": frames, "fps": self.frames_per_s,
        }  # fmt: skip


@dataclass(frozen=True)
class Encoding:
    """The latents of every frame of every video below a folder.

    Frames are made just large enough to cover height x width latents, and their middle is taken.
    What cannot be read, or from where on, is told of as a `SkippedVideoWarning`.

    Args:
        videos: searched as by `VideoFolder`.
        autoencoder: a file or folder as of `open_autoencoder`.
        height: of the latents, not of the pixels.
        width: likewise.
        fps: frames a second; None takes every frame as it was filmed.
        accelerator: "cpu" or "cuda".

    Raises:
        InputError: nothing to encode, a size that is none, an autoencoder that does not open, or
            no such device here.
    """

    videos: Path
    autoencoder: Path
    height: int
    width: int
    fps: float | None = None
    accelerator: str = "cpu"

    def __post_init__(self) -> None:
        check_fps(self.fps)
        if self.accelerator != "cpu" and not torch.cuda.is_available():
            raise InputError("there is no GPU here that torch can use; encode on the CPU")
        if not (1 <= self.height <= LARGEST and 1 <= self.width <= LARGEST):
            raise InputError(
                f"latents must be 1 to {LARGEST} high and wide; found {self.height} x "
                f"{self.width} (the size is of the latents, not of the pixels)"
            )
        _ = self._coder, self._films  # refused now, or never

    @property
    def frames(self) -> int:
        """How many there are to encode, as the files say."""
        return sum(film.video.frames_at(self.fps) for film in self._films)

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the frames that are encoded."""
        return self.height * self._coder.factor, self.width * self._coder.factor

    def run(self, out: Path, advance: Advance | None = None) -> Json:
        """Write the folder `out`, or go on where it was left; what its `latents.json` holds.

        Args:
            out: as `LatentFolder` opens it.
            advance: called with the number of finished frames.

        Raises:
            InputError: `out` holds something else, or no frame of any video can be decoded.
        """
        if out.exists():
            return self._made_before(out)
        for line in self._opened[1]:
            warnings.warn(line, SkippedVideoWarning, stacklevel=2)
        unfinished = unfinished_path(out)
        _begin(unfinished, self._settings)
        try:
            entries = self._encode(unfinished, advance)
        except InputError:
            if not any(unfinished.glob("*.safetensors")):
                shutil.rmtree(unfinished)
            raise
        index = self._index(entries)
        if own := index["autoencoder"]["file"]:
            shutil.copyfile(self.autoencoder, unfinished / own)
        write_atomically(unfinished / INDEX, dumps(index))
        kept = {entry["file"] for entry in entries} | {own, INDEX}
        for other in unfinished.iterdir():  # settings, and what is left of videos that are gone
            if other.name not in kept:
                other.unlink()
        replace_folder(unfinished, out)
        return index

    def _encode(self, folder: Path, advance: Advance | None) -> list[Json]:
        """Encode what is not yet there; an entry of the index for each film with latents."""
        entries, done = [], 0
        for film in self._films:
            path = folder / film.name
            if not path.exists():
                begun = done

                def report(frames: int, begun: int = begun) -> None:
                    if advance is not None:
                        advance(begun + frames)

                size = self.height, self.width
                damage = _encode_film(film, self._coder, self._device, size, path, report)
                if damage is not None:
                    warnings.warn(f"{film.video.path}: {damage}; skipped", SkippedVideoWarning, 3)
            done += film.video.frames_at(self.fps)
            if advance is not None:
                advance(done)
            if path.exists():
                entries.append(film.entry(path))
        if not entries:
            count = len(self._films)
            raise InputError(f"{self.videos}: none of its {count} videos can be decoded")
        return entries

    def _index(self, entries: list[Json]) -> Json:
        own = None if self.autoencoder.is_dir() else AUTOENCODER
        return {
            "format": FORMAT, "version": f"{MAJOR}.0", "channels": self._coder.channels,
            "height": self.height, "width": self.width, "factor": self._coder.factor,
            "fps": self.fps, "files": entries,
            "autoencoder": {
                "name": self.autoencoder.resolve().name,
                "sha256": self._settings["autoencoder"], "file": own,
            },
        }  # fmt: skip

    def _made_before(self, out: Path) -> Json:
        """What stands there, if it is what would be made."""
        index = read(out / INDEX, FORMAT, MAJOR) if (out / INDEX).is_file() else {}
        try:
            found = {"autoencoder": index["autoencoder"]["sha256"]}
            found |= {name: index[name] for name in ("height", "width", "fps")}
            listed = {entry["file"] for entry in index["files"]}
        except (KeyError, TypeError):
            raise InputError(
                f"{out}: exists, and holds no latents; choose another `out=`"
            ) from None
        # Of a film without a whole frame there is nothing.
        if found != self._settings or not listed <= {film.name for film in self._films}:
            raise InputError(
                f"{out}: holds latents of other videos or settings; choose another `out=`"
            )
        return index

    @cached_property
    def _coder(self) -> Autoencoder:
        coder = open_autoencoder(self.autoencoder)
        coder.to(self._device)
        return coder

    @property
    def _device(self) -> torch.device:
        return torch.device(self.accelerator)

    @cached_property
    def _opened(self) -> tuple[tuple[Video, ...], tuple[str, ...]]:
        return usable_videos(self.videos, 1, self.fps)

    @cached_property
    def _films(self) -> list[_Film]:
        return [
            _Film(video, str(video.path.relative_to(self.videos)), self.fps)
            for video in self._opened[0]
        ]

    @cached_property
    def _settings(self) -> Json:
        return {
            "autoencoder": autoencoder_sha256(self.autoencoder), "height": self.height,
            "width": self.width, "fps": self.fps,
        }  # fmt: skip


def unfinished_path(out: Path) -> Path:
    """Where latents are kept until all are there: beside what `out` is or leads to."""
    out = folder_target(out)
    return out.with_name(f"{out.name}.unfinished")


def _begin(unfinished: Path, settings: Json) -> None:
    """The folder to work in, of these settings and no others."""
    wanted = dumps({"format": FORMAT, "version": f"{MAJOR}.0", **settings})
    path = unfinished / SETTINGS
    if not path.exists():
        unfinished.mkdir(parents=True, exist_ok=True)
        write_atomically(path, wanted)
    elif path.read_text(encoding="utf-8") != wanted:
        raise InputError(
            f"{unfinished}: was begun with other settings; go on with those, or remove it to "
            "start over"
        )


def _encode_film(
    film: _Film,
    coder: Autoencoder,
    device: torch.device,
    size: tuple[int, int],
    path: Path,
    report: Advance,
) -> str | None:
    """Write a film's latents up to its first damage, which is returned in words."""
    height, width = (side * coder.factor for side in size)
    video, raw = film.video, path.with_suffix(".raw")
    pictures = stream_frames(video, 0, video.frames, film.fps, Pixels(height, width, 3))
    chunk = max(1, CHUNK_PIXELS // (height * width))
    frames, damage = 0, None
    try:
        with raw.open("wb") as file:  # not in memory: a film may be long
            while damage is None:
                taken, damage = _take(pictures, chunk)
                if not taken:
                    break
                x_NCHW = _middle(taken, (height, width)).to(device)
                latents = coder.encode(x_NCHW).half().cpu().contiguous()
                if not torch.isfinite(latents).all():
                    raise InputError(
                        f"{film.source}: its latents are not finite; take another autoencoder"
                    )
                file.write(latents.numpy().tobytes())
                frames += len(taken)
                report(frames)
        if frames:
            shape = (frames, coder.channels, *size)
            held = torch.from_file(str(raw), size=int(np.prod(shape)), dtype=torch.float16)
            # One entry: safetensors writes several in any order, and hashes would differ.
            told = json.dumps({"source": video.path.name, "fps": film.frames_per_s})
            metadata = {checkpoint.METADATA_KEY: told}
            checkpoint.write_safetensors(path, {TENSOR: held.view(shape)}, metadata)
    finally:
        raw.unlink(missing_ok=True)
    if damage is not None and frames:
        shown_s = frames / film.fps if film.fps else video.end_s(frames) - video.start_s[0]
        return f"from {shown_s:.1f} s on: {damage}"
    return damage


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
    """The middle of each frame, (frames, 3, H, W) in [-1, 1]."""
    top, left = ((taken[0].shape[axis] - side) // 2 for axis, side in enumerate(pixels))
    cut = np.stack([p[top : top + pixels[0], left : left + pixels[1]] for p in taken])
    x_NCHW = torch.from_numpy(cut).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x_NCHW.contiguous()
