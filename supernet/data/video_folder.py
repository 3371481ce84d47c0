"""Clips cut from a folder of videos: `nas search` takes the folder as its data.

Splits are those of `supernet.data.splits`. Only usable videos count. Every moment is equally
likely.
"""

import itertools
import math
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from search_spaces import AnyUNetShape, InputError
from supernet.data.clips import Clips, Places, random_places
from supernet.data.provenance import typical_rate
from supernet.data.splits import FILES_TO_SPLIT, Split, split_films
from supernet.data.video_files import BrokenVideoError, Video, open_video
from supernet.data.video_frames import WIDEST, Pictures, Pixels, read_frames

SUFFIXES = (
    *(".264", ".265", ".3g2", ".3gp", ".apng", ".asf", ".avi", ".divx", ".f4v", ".flv", ".gif"),
    *(".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg"),
    *(".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".qt", ".ts", ".vob", ".webm"),
    *(".wmv", ".y4m"),
)
STRETCH_CLIPS = 4  # so many clips' frames are decoded at a time, and at least
STRETCH_FRAMES = 64  # so many: key frames are often further apart than a clip is long,
STRETCH_MB = 64  # unless the pictures are large
REDRAWS = 1000


class SkippedVideoWarning(UserWarning):
    """A file, or a part of it, that no clip is taken from."""


@dataclass(frozen=True)
class VideoFolder:
    """The clips of one split of all videos below a folder; broken files are told of and skipped.

    Contexts are zeros: captions are read where films are encoded (`supernet.data.encoding`).

    Args:
        folder: searched recursively for files with a video's suffix; links are followed.
        shape: frames, height, width, and 1 channel (grey) or 3 (RGB).
        split: train cuts at a random place, validation and test in the middle.
        fps: frames a second of a clip; None takes every frame as it was filmed.
        cache_mb: how much decoded, already small film is kept in memory; one stretch at least.

    Raises:
        InputError: no such folder, or none of its videos can be used.
    """

    folder: Path
    shape: AnyUNetShape
    split: Split
    fps: float | None = None
    cache_mb: float = 512.0
    asked_by: ClassVar[str] = "nothing"

    def __post_init__(self) -> None:
        if self.shape.in_channels not in {1, 3}:
            raise InputError(
                f"{self.folder}: videos have 1 channel (grey) or 3 (RGB), and the space's U-Net "
                f"has {self.shape.in_channels}; make latents first: nas encode {self.folder} "
                f"`autoencoder=FILE` `size={self.shape.height}x{self.shape.width}` `out=LATENTS`, "
                "and give LATENTS as the data"
            )
        check_fps(self.fps)
        for line in self.skipped:
            warnings.warn(line, SkippedVideoWarning, stacklevel=3)
        if not self._stretches:
            raise InputError(
                f"{self.folder}: no video leaves {self.shape.frames} frames to the {self.split} "
                f"split; give longer videos, or at least {FILES_TO_SPLIT} of them"
            )

    @property
    def skipped(self) -> tuple[str, ...]:
        """Which files no clip can come from, and why; a line each."""
        return self._opened[1]

    @property
    def videos(self) -> tuple[Path, ...]:
        """The files that this split's clips come from."""
        return tuple(dict.fromkeys(stretch.video.path for stretch in self._stretches))

    @property
    def places(self) -> int:
        """At how many frames a clip may begin: so many are different."""
        return int(self._weights[-1])

    @property
    def frames_per_s(self) -> float | None:
        """Of a clip; of films that differ the median."""
        return self.fps or typical_rate(video.frames_per_s for video in self._opened[0])

    def clips(self, count: int, seed: int) -> Clips:
        """`count` clips that depend on the seed alone; a longer draw begins with a shorter one."""
        return self.clips_at(random_places(self.places, count, seed), seed)

    def clips_at(self, place_B: Places, seed: int) -> Clips:
        """Those that begin at these places; where they are cut out of the picture is the seed's."""
        drawn = [
            self._clip(int(place), np.random.default_rng((seed, number, 1)))
            for number, place in enumerate(place_B)
        ]
        x = torch.from_numpy(np.stack(drawn))
        x_BCTHW = x.permute(0, 4, 1, 2, 3).float() / 127.5 - 1
        context = torch.zeros(len(drawn), self.shape.context_tokens, self.shape.context_channels)
        return Clips(x_BCTHW.contiguous(), context)

    def _clip(self, place: int, rng: np.random.Generator) -> Pictures:
        """Frames (T, H, W, C) from a place on, or from a random one where that is damaged."""
        shape = self.shape
        for _ in range(REDRAWS):
            index = int(np.searchsorted(self._weights, place, side="right"))
            pictures = self._decoded(index)
            if pictures is None:
                place = int(rng.integers(self.places))
                continue
            first = int(self._weights[index]) - self._stretches[index].starts
            frame = min(place - first, len(pictures) - shape.frames)  # fewer may be decoded
            room = pictures.shape[1] - shape.height, pictures.shape[2] - shape.width
            top, left = room[0] // 2, room[1] // 2
            if self.split == "train":
                top, left = (int(rng.integers(pixels + 1)) for pixels in room)
            return pictures[
                frame : frame + shape.frames, top : top + shape.height, left : left + shape.width
            ]
        raise InputError(
            f"{self.folder}: nothing that was drawn from the {self.split} split can be decoded; "
            "take the damaged videos out"
        )

    def _decoded(self, index: int) -> Pictures | None:
        """A stretch's frames from memory or from its file; None where it is damaged."""
        memory = self._memory
        if index in memory.damaged:
            return None
        if (known := memory.get(index)) is not None:
            return known
        stretch = self._stretches[index]
        try:
            pictures = self._read(stretch)
        except BrokenVideoError as error:
            begin_s = stretch.video.start_s[stretch.first]
            line = f"{stretch.video.path}: from {begin_s:.1f} s on: {error}; skipped"
            warnings.warn(line, SkippedVideoWarning, stacklevel=4)
            memory.damaged.add(index)
            return None
        memory.keep(index, pictures)
        return pictures

    def _read(self, stretch: "_Stretch") -> Pictures:
        shape = self.shape
        pixels = Pixels(shape.height, shape.width, shape.in_channels)
        found = read_frames(stretch.video, stretch.first, stretch.stop, self.fps, pixels)
        if len(found) < shape.frames:
            raise BrokenVideoError(f"only {len(found)} frames can be decoded")
        return found

    @cached_property
    def _memory(self) -> "_Memory":
        return _Memory(int(self.cache_mb * 1e6))

    @cached_property
    def _opened(self) -> tuple[tuple[Video, ...], tuple[str, ...]]:
        """The usable videos, and a line for each file that is none."""
        return usable_videos(self.folder, self.shape.frames, self.fps)

    @cached_property
    def _stretches(self) -> tuple["_Stretch", ...]:
        return tuple(
            stretch
            for video, first, stop in split_films(self._opened[0], self.split)
            for stretch in self._cut(video, first, stop)
        )

    def _cut(self, video: Video, first: int, stop: int) -> Iterator["_Stretch"]:
        """Equal parts, each long enough for some clips and small enough for the memory."""
        frames = video.frames_at(self.fps, first, stop)
        if frames < self.shape.frames:
            return
        shape = self.shape
        largest = WIDEST * shape.height * shape.width * shape.in_channels
        room = int(STRETCH_MB * 1e6 / largest)
        wanted = max(2 * shape.frames, min(room, max(STRETCH_CLIPS * shape.frames, STRETCH_FRAMES)))
        parts = max(1, frames // wanted)
        edges = np.linspace(first, stop, parts + 1).round().astype(int).tolist()
        for begin, end in itertools.pairwise(edges):
            if (starts := video.frames_at(self.fps, begin, end) - shape.frames + 1) > 0:
                yield _Stretch(video, begin, end, starts)

    @cached_property
    def _weights(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Places where a clip may begin, summed up over the stretches."""
        return np.cumsum([stretch.starts for stretch in self._stretches])


@dataclass(frozen=True)
class _Stretch:
    """Frames `first` to `stop` of a file, decoded at one time."""

    video: Video
    first: int
    stop: int
    starts: int


@dataclass(frozen=True)
class _Memory:
    """The stretches used last, as many as fit; and which are damaged."""

    limit_bytes: int
    damaged: set[int] = field(default_factory=set)
    _kept: OrderedDict[int, Pictures] = field(default_factory=OrderedDict)

    def get(self, index: int) -> Pictures | None:
        if index in self._kept:
            self._kept.move_to_end(index)
        return self._kept.get(index)

    def keep(self, index: int, pictures: Pictures) -> None:
        self._kept[index] = pictures
        held = sum(kept.nbytes for kept in self._kept.values())
        while held > self.limit_bytes and len(self._kept) > 1:
            held -= self._kept.popitem(last=False)[1].nbytes


def usable_videos(
    folder: Path, frames: int, fps: float | None = None
) -> tuple[tuple[Video, ...], tuple[str, ...]]:
    """The videos below a folder that have so many frames, and a line for each file that is none.

    Raises:
        InputError: no such folder, no videos in it, or none that can be used.
    """
    found, skipped = video_files(folder)
    videos = []
    for path in found:
        try:
            video = open_video(path)
        except (BrokenVideoError, OSError) as error:
            skipped.append(f"{path}: {error}; skipped")
            continue
        if (own := video.frames_at(fps)) >= frames:
            videos.append(video)
        else:
            skipped.append(f"{path}: {own} frames, fewer than {frames}; skipped")
    if not videos:
        raise none_usable(folder, len(found), skipped)
    return tuple(videos), tuple(skipped)


def none_usable(folder: Path, videos: int, skipped: Sequence[str]) -> InputError:
    """What to say of a folder without a usable video: the last lines are of its videos."""
    if videos:
        first = skipped[-videos].removesuffix("; skipped")
        return InputError(f"{folder}: none of its {videos} videos can be used; the first: {first}")
    why = f"; {skipped[0]}" if skipped else ""
    return InputError(f"{folder}: holds no videos ({' '.join(SUFFIXES)}){why}")


def check_fps(fps: float | None) -> None:
    """Refuse a clock that stands still."""
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps must be above 0; found {fps}")


def video_files(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> tuple[list[Path], list[str]]:
    """Files with a video's suffix below a folder, and a line for each place that cannot be seen.

    Links are followed. A folder that is reached twice is searched once, which ends circles. Hidden
    files are passed over: macOS puts `._NAME` beside each on other disks.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of videos")
    found, unseen, links = list[Path](), list[str](), [folder]
    searched = set[tuple[int, int]]()

    def refused(error: OSError) -> None:
        unseen.append(f"{error.filename}: cannot be searched: {error.strerror}; skipped")

    while links:
        for place, folders, files in os.walk(links.pop(0), onerror=refused):
            own = Path(place).stat()
            if (own.st_dev, own.st_ino) in searched:
                folders.clear()
                continue
            searched.add((own.st_dev, own.st_ino))
            # Linked folders come last, so that what they lead to has its own name if it has one.
            links += sorted(Path(place, name) for name in folders if Path(place, name).is_symlink())
            for path in (Path(place, name) for name in files if not name.startswith(".")):
                if path.is_file() and path.name.lower().endswith(suffixes):
                    found.append(path)
                elif path.is_symlink() and not path.exists():
                    unseen.append(f"{path}: a link to nothing; skipped")
    return sorted(found), sorted(unseen)
