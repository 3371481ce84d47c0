"""The journal of a measurement: its visits, a line each, in a file beside the table to come.

Each line is on the disk before the next visit begins, so a killed measurement has lost at most the
visit that it was at. A line that was cut off is dropped.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from latency.sources.visits import Visit
from search_spaces import InputError
from search_spaces.files.document import Json, check
from search_spaces.files.locking import lock

FORMAT = "temporal-nas/measurement"
MAJOR = 1


def journal_path(table: Path) -> Path:
    """Where the journal of a table stands until the table is whole."""
    return table.with_name(f"{table.name}.partial.jsonl")


class Journal:
    """The visits so far; keeps other processes out while it is open."""

    def __init__(self, path: Path, settings: Json, *, forget_others: bool = False) -> None:
        """Open a journal, or begin one.

        Args:
            path: the file.
            settings: what is measured, and how; text and numbers. All of it must be equal when a
                measurement goes on.
            forget_others: begin anew where the settings differ.

        Raises:
            InputError: begun with other settings, damaged, or another process is at it.
        """
        self.path = path
        self.visits: list[Visit] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("a+b")
        try:
            lock(self._stream, f"{path}: another process is at this measurement")
            whole = self._read(settings, forget_others=forget_others)
            self._stream.truncate(whole)
            if whole == 0:
                header = {"format": FORMAT, "version": f"{MAJOR}.0", "settings": settings}
                self._write(header)
        except BaseException:
            self._stream.close()
            raise

    @property
    def done(self) -> set[tuple[str, int]]:
        """The visits that need not be made again."""
        return {visit.key for visit in self.visits}

    def append(self, visit: Visit) -> None:
        """Store a visit for good."""
        self._write(asdict(visit))
        self.visits.append(visit)

    def remove(self) -> None:
        """The table is whole: nothing is left to go on with."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def _write(self, content: Json) -> None:
        self._stream.write(json.dumps(content, allow_nan=False).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _read(self, settings: Json, *, forget_others: bool) -> int:
        """Take in what is there; returns how many bytes of it are whole lines."""
        self._stream.seek(0)
        content = self._stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.splitlines()
        if not lines:
            return 0
        before = check(self._parsed(lines[0], 1), FORMAT, MAJOR, str(self.path)).get("settings")
        if difference := _difference(before, settings):
            if forget_others:
                return 0
            raise InputError(
                f"{self.path}: was begun with {difference}; go on with the same, or remove the "
                "file to begin anew"
            )
        self.visits = [self._visit(line, number) for number, line in enumerate(lines[1:], start=2)]
        return len(whole)

    def _visit(self, line: bytes, number: int) -> Visit:
        entry = self._parsed(line, number)
        try:
            samples = tuple(float(sample) for sample in entry["samples_ms"])
            at_s = None if entry.get("at_s") is None else float(entry["at_s"])
            return Visit(
                str(entry["job"]), int(entry["round"]), samples, dict(entry["notes"]), at_s
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(number, repr(error)) from None

    def _parsed(self, line: bytes, number: int) -> Json:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._damaged(number, str(error)) from None
        if not isinstance(entry, dict):
            raise self._damaged(number, "not an object")
        return entry

    def _damaged(self, number: int, why: str) -> InputError:
        return InputError(
            f"{self.path}, line {number}: damaged ({why}); remove the file to begin anew"
        )


def _difference(before: object, now: Json) -> str:
    """What differs, in words; empty if nothing does."""
    if not isinstance(before, dict):
        return "no settings"
    for name in [*now, *before]:
        if before.get(name) != now.get(name):
            return f"{name} {before.get(name)!r}, not {now.get(name)!r}"
    return ""
