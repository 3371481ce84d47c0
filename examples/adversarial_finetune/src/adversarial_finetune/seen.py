"""Which clips were looked at, number by number, so that this is not done again: it may take hours.

They are known again by their index, and by the size and the time of change of each file. Contexts
of one folder may be those of several splits; they are looked at once, too.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adversarial_finetune.checkpoint import replacing
from adversarial_finetune.layout import Layout
from adversarial_finetune.rows import Rows

FILE = "checked.json"  # in a run's folder
_here = set[str]()  # by this process
_rows_here = set[str]()  # contexts alone


def stamp(layout: Layout) -> str:
    """What unchanged files are known by."""
    rows = (layout.clips, layout.contexts.rows, layout.labels)
    files = sorted({shard.file for each in rows for shard in each.shards})
    return _hashed([layout.digest, [(file.name, *_state(file)) for file in files]])


def rows_are_new(rows: Rows) -> bool:
    """Whether this process has not yet looked at rows, which another split may share."""
    return _rows_stamp(rows) not in _rows_here


def mark_rows(rows: Rows) -> None:
    """Note that it has."""
    _rows_here.add(_rows_stamp(rows))


def _rows_stamp(rows: Rows) -> str:
    shards = [(str(each.file), each.rows, each.sha256, *_state(each.file)) for each in rows.shards]
    return _hashed([rows.tensor, shards])


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _hashed(found: object) -> str:
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def was_seen(layout: Layout, run: Path | None) -> bool:
    """Whether this process, or the run that it goes on with, has looked at all of them."""
    return stamp(layout) in _here | _noted(run)


@contextmanager
def seeing(layout: Layout) -> Iterator[None]:
    """Note that this process has, once the body did; by what the files were before."""
    before = stamp(layout)
    yield
    _here.add(before)


def keep(layouts: Iterable[Layout], run: Path) -> None:
    """Note it in a run's folder, for processes that go on with it."""
    looked_at = sorted(set(map(stamp, layouts)) & (_here | _noted(run)))
    with replacing(run / FILE) as temporary:
        temporary.write_text(json.dumps(looked_at) + "\n", encoding="utf-8")


def _noted(run: Path | None) -> set[str]:
    try:
        found = json.loads((run / FILE).read_text(encoding="utf-8")) if run else []
    except (OSError, ValueError):
        return set()
    return {each for each in found if isinstance(each, str)} if isinstance(found, list) else set()
