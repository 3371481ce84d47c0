"""What `nas encode` encodes: films in files of their own, with their captions, and shards."""

from dataclasses import dataclass
from pathlib import Path

from search_spaces import InputError
from supernet.data.captions import captions_of, have_captions
from supernet.data.shard_captions import ADVICE
from supernet.data.shards import COMPRESSED_SUFFIXES, SUFFIX, UNPACK, check_shard
from supernet.data.video_files import BrokenVideoError, open_video
from supernet.data.video_folder import SUFFIXES, none_usable, video_files


@dataclass(frozen=True)
class FilmFile:
    """A film in a file of its own, and its caption."""

    path: Path
    source: str  # below the folder of films
    caption: str | None = None

    def frames_at(self, fps: float | None) -> int:
        """How many can be used; 0 where it cannot be read."""
        try:
            return open_video(self.path).frames_at(fps)
        except (BrokenVideoError, OSError):
            return 0


@dataclass(frozen=True)
class Shard:
    """An archive of films with their captions."""

    path: Path
    source: str
    films: int


Source = FilmFile | Shard


@dataclass(frozen=True)
class Found:
    """What there is.

    Args:
        sources: films and shards in order.
        unseen: a line for each place that cannot be seen.
        captioned: whether there are captions, read or not.
        passed_over: a line for each shard that has captions of no film.
    """

    sources: list[Source]
    unseen: list[str]
    captioned: bool
    passed_over: list[str]

    @property
    def films(self) -> list[FilmFile]:
        """Those in files of their own."""
        return [source for source in self.sources if isinstance(source, FilmFile)]

    @property
    def has_shards(self) -> bool:
        """Whether only a reading tells what there is."""
        return len(self.films) < len(self.sources)


def find_sources(folder: Path, fps: float | None, *, captioned: bool) -> Found:
    """What there is below a folder; one film is opened to know that there is any.

    Raises:
        InputError: no such folder, nothing in it that can be used, damaged captions or shards, or
            no caption at all where films have to have some.
    """
    paths, unseen = video_files(folder, (*SUFFIXES, SUFFIX, *COMPRESSED_SUFFIXES))
    films, shards = list[Path](), list[Path]()
    for path in paths:
        if path.name.lower().endswith(COMPRESSED_SUFFIXES):
            unseen.append(f"{path}: is compressed; {UNPACK}; skipped")
        else:
            (shards if path.suffix.lower() == SUFFIX else films).append(path)
    texts = captions_of(folder, films) if captioned else {}
    held = [check_shard(path, SUFFIXES, captioned=captioned) for path in shards]
    sources: list[Source] = [
        Shard(path, str(path.relative_to(folder)), own.films)
        for path, own in zip(shards, held, strict=True)
    ]
    sources += [FilmFile(path, str(path.relative_to(folder)), texts.get(path)) for path in films]
    found = Found(
        sorted(sources, key=lambda source: source.path), unseen,
        captioned=captioned or any(s.captioned for s in held) or have_captions(folder, films),
        passed_over=[own.passed_over for own in held if own.passed_over is not None],
    )  # fmt: skip
    if not shards:
        _check_usable(folder, found, fps)
    count = len(films) + sum(own.films for own in held)
    if captioned and count and not any(texts.values()) and not any(s.captioned for s in held):
        raise none_captioned(folder, count, found)
    return found


def none_captioned(folder: Path, count: int, found: Found) -> InputError:
    """The refusal of films of which not one has a caption, and where captions are looked for."""
    advice = "put NAME.txt beside each, or metadata.csv with file_name and text"
    if found.has_shards:
        advice = f"{advice}; {ADVICE}" if found.films else ADVICE
    return InputError(f"{folder}: none of its {count} films has a caption; {advice}")


def _check_usable(folder: Path, found: Found, fps: float | None) -> None:
    """Refuse films of which none can be opened; the first that can is enough."""
    said = []
    for film in found.films:
        try:
            if open_video(film.path).frames_at(fps):
                return
            said.append(f"{film.path}: 0 frames, fewer than 1; skipped")
        except (BrokenVideoError, OSError) as error:
            said.append(f"{film.path}: {error}; skipped")
    raise none_usable(folder, len(said), [*found.unseen, *said])
