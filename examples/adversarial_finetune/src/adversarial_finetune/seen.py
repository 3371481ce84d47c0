"""Which clips were looked at, number by number, so that this is not done again: it may take hours.

They are known again by their index, and by the size and the time of change of each file.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adversarial_finetune.checkpoint import replacing
from adversarial_finetune.layout import Layout

FILE = "checked.json"  # in a run's folder
_here = set[str]()  # by this process


def stamp(layout: Layout) -> str:
    """What unchanged files are known by."""
    rows = (layout.clips, layout.contexts.rows, layout.labels)
    files = sorted({shard.file for each in rows for shard in each.shards})
    stats = [(file.name, found.st_size, found.st_mtime_ns)
             for file in files for found in [file.stat()]]  # fmt: skip
    return hashlib.sha256(json.dumps([layout.digest, stats]).encode()).hexdigest()


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
