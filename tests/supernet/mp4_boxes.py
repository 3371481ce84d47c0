"""MP4 files of kinds that cutters and phones write: their boxes, changed by hand."""

import struct
from collections.abc import Sequence
from pathlib import Path

PARENTS = {b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl"}
Boxes = list[tuple[bytes, "bytes | Boxes"]]


def read_boxes(data: bytes) -> Boxes:
    """Names and contents, those of parents as boxes again."""
    boxes: Boxes = []
    while data:
        size, name = struct.unpack(">I4s", data[:8])
        inner = data[8 : size or len(data)]
        boxes.append((name, read_boxes(inner) if name in PARENTS else inner))
        data = data[size or len(data) :]
    return boxes


def written(boxes: Boxes) -> bytes:
    """The bytes of boxes."""
    parts = []
    for name, inner in boxes:
        held = inner if isinstance(inner, bytes) else written(inner)
        parts.append(struct.pack(">I4s", 8 + len(held), name) + held)
    return b"".join(parts)


def child(boxes: Boxes, *names: bytes) -> Boxes:
    """The boxes within the first of each name."""
    for name in names:
        found = next(inner for own, inner in boxes if own == name)
        assert not isinstance(found, bytes)
        boxes = found
    return boxes


def put(boxes: Boxes, name: bytes, content: bytes | Boxes) -> None:
    """Replace a box, or put it first."""
    for place, (own, _) in enumerate(boxes):
        if own == name:
            boxes[place] = name, content
            return
    boxes.insert(0, (name, content))


def edit(path: Path, edits: Sequence[tuple[float, float]], frames_per_s: int = 25) -> None:
    """Show (first frame, frames) of a film one after the other; a first frame of -1 is a pause."""
    boxes = read_boxes(path.read_bytes())
    moov = child(boxes, b"moov")
    header = next(inner for name, inner in moov if name == b"mvhd")
    media = next(inner for name, inner in child(moov, b"trak", b"mdia") if name == b"mdhd")
    assert isinstance(header, bytes)
    assert isinstance(media, bytes)
    ticks, film_ticks = (struct.unpack(">I", box[12:16])[0] for box in (header, media))
    before = next((inner for n, inner in child(moov, b"trak", b"edts") if n == b"elst"), None)
    assert isinstance(before, bytes)
    delay = struct.unpack(">i", before[12:16])[
        0
    ]  # of the first frame, for those that are reordered
    entries = [
        struct.pack(
            ">IiI", round(count * ticks / frames_per_s),
            -1 if first < 0 else delay + round(first * film_ticks / frames_per_s), 1 << 16,
        )
        for first, count in edits
    ]  # fmt: skip
    content = struct.pack(">II", 0, len(entries)) + b"".join(entries)
    put(child(moov, b"trak", b"edts"), b"elst", content)
    path.write_bytes(written(boxes))
