"""Videos to latents, once and for all, and captions to token states: what `nas encode` does.

Each video becomes one file in a folder beside the one that is wanted. A folder that was left
unfinished is gone on with, video by video; it takes its name when it is whole.
"""

import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from search_spaces import InputError
from search_spaces.files.document import Json, dumps, read, replace_folder, write_atomically
from search_spaces.files.locking import lock
from search_spaces.files.targets import folder_target
from supernet.autoencoders.fingerprint import encoded_picture, shown_blocks
from supernet.autoencoders.opening import autoencoder_sha256
from supernet.autoencoders.pixel_space import PixelSpace
from supernet.checkpoint import file_sha256
from supernet.data import encoded_captions
from supernet.data.caption_encoding import CaptionEncoding, CaptionPlan, Spread
from supernet.data.captions import CaptionWarning
from supernet.data.encoded_captions import EMPTY, EncodedCaptions
from supernet.data.encoding_settings import differing
from supernet.data.film_encoding import (
    SKIP,
    Advance,
    Coding,
    Encoded,
    coder_of,
    encode_source,
    mark_of,
)
from supernet.data.film_sources import FilmFile, Found, Shard, Source, find_sources, none_captioned
from supernet.data.latents import AUTOENCODER, FORMAT, INDEX, MAJOR, PIXELS
from supernet.data.video_folder import SkippedVideoWarning, check_fps

SETTINGS, LOCK = "settings.json", ".lock"  # of an unfinished folder
LARGEST = 1024  # latents high or wide: beyond any U-Net, and a likely slip for pixels
OF_LATENTS = " (the size is of the latents, not of the pixels)"
NAMED = 3  # films without a caption that are named
COUNTED = 200  # films whose frames are counted before, to show how far it is


# Begins to show progress: what of, of how many; and what to call with those that are done.
Stage = Callable[[str, int], AbstractContextManager[Advance]]


def one_by_one(work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Do tasks here."""
    for number, task in enumerate(tasks):
        yield number, work(task)


@dataclass(frozen=True)
class Encoding:
    """The latents of every frame of every video below a folder.

    Frames are made just large enough to cover height x width latents, and their middle is taken.
    What cannot be read, or from where on, is told of as a `SkippedVideoWarning`.

    Args:
        videos: searched as by `VideoFolder`, and for shards (`.tar`).
        autoencoder: a file or folder as of `open_autoencoder`; `PixelSpace` keeps small pictures
            as they are, for a network of pixels.
        height: of the latents, not of the pixels.
        width: likewise.
        fps: frames a second; None takes every frame as it was filmed.
        accelerator: "cpu" or "cuda".
        captions: what becomes of captions; None passes them over.

    Raises:
        InputError: nothing to encode, a size that is none, an autoencoder or a text encoder that
            does not open, captions or shards that are damaged, or no such device here.
    """

    videos: Path
    autoencoder: Path | PixelSpace
    height: int
    width: int
    fps: float | None = None
    accelerator: str = "cpu"
    captions: CaptionPlan | None = None

    def __post_init__(self) -> None:
        check_fps(self.fps)
        if self.accelerator != "cpu" and not torch.cuda.is_available():
            raise InputError("there is no GPU here that torch can use; encode on the CPU")
        if not (1 <= self.height <= LARGEST and 1 <= self.width <= LARGEST):
            pixels = isinstance(self.autoencoder, PixelSpace)
            what, hint = ("pictures", "") if pixels else ("latents", OF_LATENTS)
            raise InputError(
                f"{what} must be 1 to {LARGEST} high and wide; found {self.height} x "
                f"{self.width}{hint}"
            )
        _ = coder_of(self._coding), self._found, self._settings  # refused now, or never

    @property
    def sources(self) -> list[Source]:
        """The films and shards to encode, in order."""
        return self._found.sources

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the frames that are encoded."""
        factor = coder_of(self._coding).factor
        return self.height * factor, self.width * factor

    def run(
        self,
        out: Path,
        stage: Stage = lambda *_: nullcontext(lambda _: None),
        spread: Spread = one_by_one,
    ) -> Json:
        """Write the folder `out`, or go on where it was left; what its `latents.json` holds.

        Args:
            out: as `LatentFolder` opens it.
            stage: shows progress: in frames, or, where those are not counted or others do the work,
                in films; then in captions.
            spread: who does the work, a source or a few captions at a time.

        Raises:
            InputError: `out` holds something else, another process works at it, no frame of any
                video can be decoded, or no film has a caption.
        """
        if out.exists():
            return self._made_before(out)
        for line in self._found.unseen:
            warnings.warn(line, SkippedVideoWarning, stacklevel=2)
        for line in self._found.passed_over:
            warnings.warn(line, CaptionWarning, stacklevel=2)
        if self._found.captioned and self.captions is None:
            warnings.warn(
                f"{self.videos}: has captions, which are passed over; `text_encoder=FOLDER` "
                "encodes them, too", CaptionWarning, stacklevel=2,
            )  # fmt: skip
        unfinished = unfinished_path(out)
        _begin(unfinished, self._settings)
        with (unfinished / LOCK).open("w") as stream:
            lock(stream, f"{unfinished}: another process is encoding into it; let it finish")
            return self._finish(unfinished, out, stage, spread)

    def _finish(self, unfinished: Path, out: Path, stage: Stage, spread: Spread) -> Json:
        try:
            found = self._encode(unfinished, stage, spread)
        except InputError:
            if not any(unfinished.glob("*.safetensors")):
                shutil.rmtree(unfinished)
            raise
        index = self._index(found)
        kept = {entry["file"] for entry in index["files"]} | {INDEX}
        if self._captions is not None:
            self._tell(found.uncaptioned)
            shards = self._write_captions(unfinished, index, found, stage, spread)
            kept |= {encoded_captions.INDEX, *(shard["file"] for shard in shards)}
        if isinstance(self.autoencoder, Path) and self.autoencoder.is_file():
            shutil.copyfile(self.autoencoder, unfinished / AUTOENCODER)
            kept.add(AUTOENCODER)
        write_atomically(unfinished / INDEX, dumps(index))
        for other in unfinished.iterdir():  # settings, and what is left of videos that are gone
            if other.name not in kept:
                other.unlink()
        replace_folder(unfinished, out)
        return index

    def _encode(self, folder: Path, stage: Stage, spread: Spread) -> Encoded:
        """Encode what is not yet there, and put together what came of all sources, in order."""
        sources, found = self.sources, dict[int, Encoded]()
        here = spread is one_by_one  # others do not say how far they are with a source
        in_frames = here and not self._found.has_shards and len(sources) <= COUNTED
        if in_frames:
            sizes = [film.frames_at(self.fps) for film in self._found.films]
        else:
            sizes = [source.films if isinstance(source, Shard) else 1 for source in sources]
        with stage(self._title, sum(sizes)) as advance:
            done = 0

            def report(finished: int) -> None:
                advance(done + finished)

            work = partial(encode_source, self._coding, folder)
            if here:
                work = partial(work, **{"frames" if in_frames else "films": report})
            for number, encoded in spread(work, sources):
                found[number] = encoded
                for line in encoded.skipped:
                    warnings.warn(line, SkippedVideoWarning, stacklevel=5)
                done += sizes[number]
                advance(done)
        both = Encoded()
        for number in range(len(sources)):
            both.films.extend((dict(entry), text) for entry, text in found[number].films)
            both.uncaptioned.extend(found[number].uncaptioned)
            both.marks.extend(found[number].marks)
        skips = self.captions is not None and self.captions.uncaptioned == SKIP
        asked_for = any(text for _, text in both.films)
        if both.uncaptioned and not asked_for and (both.films or skips):
            raise none_captioned(self.videos, len(both.uncaptioned), self._found)
        if not both.films:
            count = len(sources)
            raise InputError(f"{self.videos}: none of its {count} videos can be decoded")
        return both

    def _write_captions(
        self, folder: Path, index: Json, found: Encoded, stage: Stage, spread: Spread
    ) -> list[Json]:
        """Encode each caption once, and note in the index which is whose; the shards."""
        assert self._captions is not None
        texts = dict.fromkeys(text for _, text in found.films if text is not None)
        numbers: dict[str | None, int] = {text: at for at, text in enumerate(texts, start=1)}
        for entry, text in found.films:
            entry["caption"] = numbers.get(text, EMPTY)
        with stage("encode captions", len(texts) + 1) as advance:
            made = self._captions.write(folder, list(texts), spread, advance)
        own = encoded_captions.INDEX
        index["captions"] = {"file": own, "sha256": file_sha256(folder / own)}
        if made["cut"]:
            warnings.warn(
                f"{self.videos}: {made['cut']} of {len(texts)} captions have more than the "
                f"{made['tokens']} tokens that the text encoder takes; their ends were cut off",
                CaptionWarning, stacklevel=5,
            )  # fmt: skip
        shards: list[Json] = made["shards"]
        return shards

    def _tell(self, uncaptioned: list[str]) -> None:
        if not uncaptioned:
            return
        assert self.captions is not None
        skips = self.captions.uncaptioned == SKIP
        what = "skipped" if skips else "they get the empty caption's context"
        more = f" and {len(uncaptioned) - NAMED} more" if len(uncaptioned) > NAMED else ""
        warnings.warn(
            f"{self.videos}: {len(uncaptioned)} films have no caption; {what}: "
            f"{', '.join(uncaptioned[:NAMED])}{more}",
            CaptionWarning, stacklevel=5,
        )  # fmt: skip

    def _index(self, found: Encoded) -> Json:
        coder = coder_of(self._coding)
        told: Json = {}  # names of files say which films they are of, not which captions and shards
        if self.captions is not None or self._found.has_shards:
            told["sources"] = found.marks
        minor = 2 if isinstance(self.autoencoder, PixelSpace) else int(self.captions is not None)
        return {
            "format": FORMAT, "version": f"{MAJOR}.{minor}", "channels": coder.channels,
            "height": self.height, "width": self.width, "factor": coder.factor,
            "fps": self.fps, "files": [entry for entry, _ in found.films], **told,
            **self._told_of_autoencoder(),
        }  # fmt: skip

    def _told_of_autoencoder(self) -> Json:
        path, coder = self.autoencoder, coder_of(self._coding)
        if isinstance(path, PixelSpace):
            return {PIXELS: path.colours, "autoencoder": None}
        latents = encoded_picture(coder)
        return {
            "autoencoder": {
                "name": path.resolve().name, "sha256": self._settings["autoencoder"],
                "file": None if path.is_dir() else AUTOENCODER,
                "scaling": coder.scaling, "shift": coder.shift, "distilled": coder.distilled,
                "encodes": latents, "shows": shown_blocks(coder, latents),
            }
        }  # fmt: skip

    def _made_before(self, out: Path) -> Json:
        """What stands there, if it is what would be made."""
        index = read(out / INDEX, FORMAT, MAJOR) if (out / INDEX).is_file() else {}
        try:
            found = {"autoencoder": index.get(PIXELS) or index["autoencoder"]["sha256"]}
            found |= {name: index[name] for name in ("height", "width", "fps")}
            if isinstance(index.get("sources"), str):
                raise InputError(
                    f"{out}: was encoded by an older version, which did not note what of; encode "
                    "again elsewhere (`out=`)"
                )
            listed = set(index.get("sources") or [entry["file"] for entry in index["files"]])
            if "captions" in index:
                captions = EncodedCaptions.open(out).index
                found["text_encoder"] = captions["text_encoder"]["sha256"]
                found |= {name: captions[name] for name in ("uncaptioned", "shard_mb")}
        except (KeyError, TypeError):
            raise InputError(
                f"{out}: exists, and holds no latents; choose another `out=`"
            ) from None
        here = {mark: source for source in self.sources if (mark := mark_of(source)) is not None}
        if found != self._settings:
            raise InputError(
                f"{out}: was made {differing(found, self._settings)}; choose another `out=`"
            )
        if not listed <= here.keys():
            raise InputError(
                f"{out}: is of videos or captions that {self.videos} no longer has; choose another "
                "`out=`"
            )
        new = [source for mark, source in here.items() if mark not in listed]
        if new := [source for source in new if self._gives_latents(source)]:
            raise InputError(
                f"{self.videos}: has {len(new)} films or shards that {out} lacks, the first: "
                f"{new[0].source}; choose another `out=`"
            )
        return index

    def _gives_latents(self, source: Source) -> bool:
        """Whether a source that is new is none that was left out, or would be."""
        if not isinstance(source, FilmFile):
            return True
        skips = self.captions is not None and self.captions.uncaptioned == SKIP
        return not (skips and source.caption is None) and source.frames_at(self.fps) > 0

    @property
    def _title(self) -> str:
        if isinstance(self.autoencoder, PixelSpace):
            return f"keep frames of {_spelt(self.pixels)} pixels, {self.autoencoder.colours}"
        latents = _spelt((self.height, self.width))
        return f"encode frames of {_spelt(self.pixels)} pixels to latents of {latents}"

    @cached_property
    def _coding(self) -> Coding:
        return Coding(
            self.autoencoder, autoencoder_sha256(self.autoencoder), self.height, self.width,
            self.fps, self.accelerator, self.captions.uncaptioned if self.captions else None,
        )  # fmt: skip

    @cached_property
    def _captions(self) -> CaptionEncoding | None:
        return CaptionEncoding.begin(self.captions, self.accelerator) if self.captions else None

    @cached_property
    def _found(self) -> Found:
        return find_sources(self.videos, self.fps, captioned=self.captions is not None)

    @cached_property
    def _settings(self) -> Json:
        settings: Json = {
            "autoencoder": self._coding.sha256, "height": self.height, "width": self.width,
            "fps": self.fps,
        }  # fmt: skip
        if self.captions is not None and self._captions is not None:
            settings["text_encoder"] = self._captions.sha256
            settings["uncaptioned"] = self.captions.uncaptioned
            settings["shard_mb"] = self.captions.shard_mb
        return settings


def _spelt(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


def unfinished_path(out: Path) -> Path:
    """Where latents are kept until all are there: beside what `out` is or leads to."""
    out = folder_target(out)
    return out.with_name(f"{out.name}.unfinished")


def _begin(unfinished: Path, settings: Json) -> None:
    """The folder to work in, of these settings and no others."""
    wanted = {"format": FORMAT, "version": f"{MAJOR}.0", **settings}
    path = unfinished / SETTINGS
    if unfinished.exists() and not unfinished.is_dir():
        raise InputError(f"{unfinished}: is no folder, and encoding needs one there; move it away")
    if not path.exists():
        unfinished.mkdir(parents=True, exist_ok=True)
        write_atomically(path, dumps(wanted))
    elif (found := read(path, FORMAT, MAJOR)) != wanted:
        raise InputError(
            f"{unfinished}: was begun {differing(found, wanted)}; go on with that, or remove it to "
            "start over"
        )
