"""Progress for people, on stderr: bars on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Advance = Callable[[int], None]
LINE_EVERY_S = 20.0


class Progress:
    """Says which stage is running, how much of it is done, and how many stages are left."""

    def __init__(self, stages: int = 1, stream: TextIO | None = None) -> None:
        self._stages = stages
        self._begun = 0
        self._stream = stream or sys.stderr

    def expect(self, stages: int) -> None:
        """Say how many stages there will be, where that is known only now."""
        self._stages = stages

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Advance]:
        """A stage of `total` steps; call what it yields with the number of finished steps."""
        self._begun += 1
        label = f"[{self._begun}/{self._stages}] {title}" if self._stages > 1 else title
        shown = self._bar(label, total) if self._stream.isatty() else self._lines(label, total)
        with shown as advance:
            yield advance

    def skip(self, title: str, why: str) -> None:
        """A stage that has nothing to do."""
        self._begun += 1
        self.say(f"[{self._begun}/{self._stages}] {title}: {why}")

    def say(self, text: str) -> None:
        """One line for people."""
        print(text, file=self._stream, flush=True)

    @contextmanager
    def _bar(self, label: str, total: int) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=Console(file=self._stream)) as bars:
            task = bars.add_task(label.replace("[", r"\["), total=total)
            yield lambda done: bars.update(task, completed=done)

    @contextmanager
    def _lines(self, label: str, total: int) -> Iterator[Advance]:
        begun = spoken = time.monotonic()
        self.say(label)

        def advance(done: int) -> None:
            nonlocal spoken
            now = time.monotonic()
            if now - spoken >= LINE_EVERY_S and 0 < done < total:
                spoken = now
                left_s = (now - begun) / done * (total - done)
                self.say(f"{label}: {done}/{total}, about {left_s:.0f} s left")

        yield advance
        self.say(f"{label}: done in {time.monotonic() - begun:.1f} s")


def counter(advance: Advance, start: int = 0) -> Callable[[], None]:
    """Counts steps one by one for what wants their number; to be called after each."""
    done = start
    advance(done)

    def count() -> None:
        nonlocal done
        done += 1
        advance(done)

    return count
