"""Captions of films in a folder: what each shows, in words.

A caption is the text of `NAME.txt` beside a film, or a row of `metadata.csv` or `metadata.jsonl`
(columns `file_name` and `text`, as Hugging Face's video folders have it) in the film's folder or in
one above it. Runs of spaces and lines are one space; all else stays as it was written. An empty
caption says nothing, and counts as none.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from search_spaces import InputError
from search_spaces.files.git_lfs import refuse_pointer

CSV, JSONL = "metadata.csv", "metadata.jsonl"
FILE_NAME, TEXT = "file_name", "text"
MOST_BYTES = 100_000  # of a text beside a film: a caption is a few lines


class CaptionWarning(UserWarning):
    """Films without captions, and captions that are too long or passed over."""


def captions_of(folder: Path, films: Sequence[Path]) -> dict[Path, str | None]:
    """The caption of each film below a folder; None for a film that has none.

    Raises:
        InputError: metadata that cannot be read, that names a file twice, one that is not there or
            one outside its folder; a film with two captions; a text that is no text.
    """
    folders = {place for film in films for place in _up_to(folder, film.parent)}
    rows: dict[Path, list[tuple[str, Path]]] = {}
    for place in sorted(folders):
        metadata = _metadata(place)
        for film, text in _rows(metadata) if metadata else ():
            rows.setdefault(film, []).append((text, metadata or place))
    return {film: _one(film, [*rows.get(film, ()), *_beside(film)]) for film in films}


def have_captions(folder: Path, films: Sequence[Path]) -> bool:
    """Whether there seem to be captions for films below a folder; none is read."""
    return any(
        (place / name).is_file()
        for place in {place for film in films for place in _up_to(folder, film.parent)}
        for name in (CSV, JSONL)
    ) or any(_text_beside(film) is not None for film in films)


def plain(text: str, where: str) -> str:
    """A text on one line, without spaces around it; InputError for half a character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: is no Unicode text: {error.reason}") from None
    return " ".join(text.split())


def _one(film: Path, found: list[tuple[str, Path]]) -> str | None:
    """The one caption among those that a film has, the empty ones aside."""
    said = {text: where for text, where in found if text}
    if len(said) > 1:
        first, second, *_ = said.values()
        raise InputError(f"{film}: has two captions, by {first} and {second}; keep one")
    return next(iter(said), None)


def _beside(film: Path) -> Iterator[tuple[str, Path]]:
    path = _text_beside(film)
    if path is None:
        return
    refuse_pointer(path)
    if (size := path.stat().st_size) > MOST_BYTES:
        raise InputError(f"{path}: is no caption: has {size} bytes, more than {MOST_BYTES}")
    yield plain(_read(path), str(path)), path


def _text_beside(film: Path) -> Path | None:
    """Cameras that write B.MP4 are followed by B.TXT."""
    names = (film.with_suffix(suffix) for suffix in (".txt", ".TXT"))
    return next((path for path in names if path.is_file()), None)


def _up_to(folder: Path, place: Path) -> Iterator[Path]:
    """A place below a folder, and those above it up to that folder."""
    yield place
    if place != folder and place.is_relative_to(folder):
        yield from _up_to(folder, place.parent)


def _metadata(place: Path) -> Path | None:
    found = [path for path in (place / CSV, place / JSONL) if path.is_file()]
    if len(found) > 1:
        raise InputError(f"{place}: has both {CSV} and {JSONL}; keep one")
    return found[0] if found else None


def _rows(path: Path) -> Iterator[tuple[Path, str]]:
    """Each file that metadata names, with its text."""
    refuse_pointer(path)
    lines = _csv_rows(path) if path.name == CSV else _jsonl_rows(path)
    seen: dict[PurePosixPath, int] = {}
    for line, name, text in lines:
        where = f"{path}: line {line}"
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"{where}: has no {FILE_NAME}")
        own = PurePosixPath(name)
        if own.is_absolute() or ".." in own.parts:
            raise InputError(f"{where}: {name[:60]!r} is no file below the folder of {path.name}")
        if (before := seen.setdefault(own, line)) != line:
            raise InputError(f"{where}: names {name[:60]!r} again, as line {before} does")
        film = path.parent / own
        if "\0" in name or not film.is_file():
            raise InputError(f"{where}: no such file: {name[:60]!r}")
        if text is not None and not isinstance(text, str):
            raise InputError(f"{where}: {TEXT} must be a text; found {repr(text)[:40]}")
        yield film, plain(text or "", where)


def _csv_rows(path: Path) -> Iterator[tuple[int, object, object]]:
    reader = csv.DictReader(
        io.StringIO(_read(path), newline=""), strict=True, skipinitialspace=True
    )
    try:
        reader.fieldnames = _columns(path, reader.fieldnames or [])
        for row in reader:
            if None in row:
                raise InputError(
                    f"{path}: line {reader.line_num} has more fields than the header; put the text "
                    "in quotes"
                )
            yield reader.line_num, row[FILE_NAME], row[TEXT]
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: not CSV: {error}") from None


def _columns(path: Path, header: Sequence[str]) -> list[str]:
    """Their names, once those that are needed are there; people put spaces after commas."""
    columns = [name.strip() for name in header]
    for name in (FILE_NAME, TEXT):
        if name not in columns:
            raise InputError(
                f"{path}: lacks the column {name!r}; has {', '.join(columns) or 'none'}"
            )
        if columns.count(name) > 1:
            raise InputError(f"{path}: has the column {name!r} twice; take one out")
    return columns


def _jsonl_rows(path: Path) -> Iterator[tuple[int, object, object]]:
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number}: not JSON: {error}") from None
        if not isinstance(row, dict) or TEXT not in row:
            raise InputError(
                f"{path}: line {number}: must be an object with {FILE_NAME} and {TEXT}"
            )
        yield number, row.get(FILE_NAME), row[TEXT]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8: {error}") from None
