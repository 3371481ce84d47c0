"""RESULTS.csv: every evaluated architecture in order, appended run by run; and what it belongs to.

RESULTS.json beside it holds the settings and which runs are finished. It is written after each
run's rows, so a process that is killed midway leaves rows that the next one removes.
"""

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from nas.problem.problem import Matrix
from nas.tables import choice_columns
from search_spaces import Architecture, InputError, SearchSpace
from search_spaces.files import document
from search_spaces.files.locking import lock
from search_spaces.files.targets import file_target, made_folder

FORMAT = "temporal-nas/benchmark"
MAJOR = 1
# What a file was begun with that says nothing of it.
FORMERLY = {"goal": "front", "region": {}}
LABELS = ("strategy", "seed", "trial")
Key = tuple[str, int]


@dataclass(frozen=True)
class Run:
    """One strategy with one seed.

    Args:
        strategy: its name.
        seed: of all that it drew.
        architectures: those that were evaluated, all different, in order; read back from a file,
            none.
        values: their objectives, (n, objectives), natural signs.
        own_ms: of the strategy a trial, in CPU time: other processes do not count.
    """

    strategy: str
    seed: int
    architectures: Sequence[Architecture]
    values: Matrix
    own_ms: float

    @property
    def key(self) -> Key:
        """What tells it from other runs."""
        return self.strategy, self.seed


class Results:
    """The file that a benchmark fills, and what is in it already."""

    def __init__(self, path: Path, space: SearchSpace, objectives: Sequence[str]) -> None:
        self.path = path
        self._space = space
        self._objectives = list(objectives)
        self._settings: Mapping[str, Any] = {}
        self._finished: dict[Key, dict[str, Any]] = {}
        self._bytes = 0
        self._rows: pd.DataFrame | None = None  # as the file has them; None: to be read

    @classmethod
    @contextmanager
    def opened(
        cls,
        path: Path,
        space: SearchSpace,
        objectives: Sequence[str],
        settings: Mapping[str, Any],
    ) -> Iterator[Self]:
        """Go on with a file, or begin it, and keep other processes out meanwhile.

        Raises:
            InputError: it was begun with other settings, was changed since, or is none of ours.
        """
        if taken := [each.name for each in space.choices if each.name in LABELS]:
            raise InputError(
                f"choice {taken[0]!r} of space {space.name!r} bears the name of a column of the "
                f"results ({', '.join(LABELS)}); rename it"
            )
        results = cls(path, space, objectives)
        results._settings = json.loads(json.dumps(settings))
        made_folder(path, file_target(path))
        new = [each for each in (path, results.note) if not each.exists()]
        try:
            with results._locked():
                yield results
        except InputError:
            if not results._finished:  # nothing is left of what was refused
                for each in new:
                    each.unlink(missing_ok=True)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.path.open("ab") as held:
            lock(held, f"{self.path}: another process is writing it")
            self._begin()
            yield

    @property
    def note(self) -> Path:
        """The settings, and which runs are finished."""
        return self.path.with_suffix(".json")

    def finished(self, trials: int) -> set[Key]:
        """The runs that have so many trials, or that ended before because there were no more."""
        return {
            key for key, run in self._finished.items() if max(run["trials"], run["asked"]) >= trials
        }

    def of_other_source(self, sources: Mapping[str, str]) -> set[Key]:
        """The runs of strategies whose source was another, by the names of strategies."""
        return {
            key
            for key, run in self._finished.items()
            if run["source"] is not None and run["source"] != sources.get(key[0], run["source"])
        }

    def forget(self, keys: Collection[Key]) -> None:
        """Remove runs. A process that is killed meanwhile loses the others, too: they run again."""
        if not keys:
            return
        frame = pd.read_csv(self.path, dtype=str, keep_default_na=False)
        rows = zip(frame["strategy"], frame["seed"], strict=True)
        kept = frame[[(strategy, int(seed)) not in keys for strategy, seed in rows]]
        finished = {key: run for key, run in self._finished.items() if key not in keys}
        self._finished, self._bytes = {}, 0
        self._save()
        self._write(kept.to_csv(index=False).encode())
        self._finished = finished
        self._save()

    def append(self, run: Run, asked: int, source: str | None = None) -> None:
        """Add a run, or what a longer one has beyond the run that is there: all of it, or nothing.

        Args:
            run: from its first trial on.
            asked: how many trials it was to have.
            source: a digest of the strategy's; None where nobody knows it.

        Raises:
            InputError: it began otherwise than the run that is there.
        """
        values = np.asarray(run.values)
        before = self._values(run.key) if run.key in self._finished else values[:0]
        if not np.array_equal(values[: len(before)], before):
            raise InputError(
                f"{self.path}: strategy {run.strategy!r} began otherwise with seed {run.seed} than "
                "when it was run before, so that its run cannot go on; choose another `out=`"
            )
        found = zip(run.architectures, values.tolist(), strict=True)
        rows = [
            {"strategy": run.strategy, "seed": run.seed, "trial": trial}
            | choice_columns(self._space, architecture)
            | dict(zip(self._objectives, row, strict=True))
            for trial, (architecture, row) in enumerate(found)
            if trial >= len(before)
        ]
        text = pd.DataFrame(rows, columns=self._columns).to_csv(index=False, header=False)
        self._write(text.encode() if rows else b"")
        self._finished[run.key] = {
            "trials": len(values),
            "asked": asked,
            "source": source,
            "own_ms": round(run.own_ms, 4),
        }
        self._save()

    def runs(self, trials: int | None = None) -> list[Run]:
        """All finished runs, as the file has them; of each so many trials, or all."""
        return [
            Run(*key, (), self._values(key)[:trials], run["own_ms"])
            for key, run in self._finished.items()
        ]

    def _values(self, key: Key) -> Matrix:
        """The objectives of a finished run, by trial."""
        frame = self._frame()
        rows = frame[(frame["strategy"] == key[0]) & (frame["seed"] == key[1])]
        if rows["trial"].tolist() != list(range(self._finished[key]["trials"])):
            raise self._changed()
        return rows[self._objectives].to_numpy(dtype=np.float64)

    def _frame(self) -> pd.DataFrame:
        if self._rows is None:
            columns = [*LABELS, *self._objectives]
            self._rows = pd.read_csv(self.path, dtype={"strategy": str}, usecols=columns)
        return self._rows

    @property
    def _columns(self) -> list[str]:
        return [*LABELS, *(choice.name for choice in self._space.choices), *self._objectives]

    def _begin(self) -> None:
        if self.note.exists():
            self._read()
        elif self.path.stat().st_size:
            raise InputError(
                f"{self.path}: exists, with no {self.note.name} of nas bench beside it; choose "
                "another `out=`"
            )
        else:
            self._save()
        if self._bytes == 0:
            self._write(pd.DataFrame(columns=self._columns).to_csv(index=False).encode())
            self._save()

    def _read(self) -> None:
        found = document.read(self.note, FORMAT, MAJOR)
        before = FORMERLY | found.get("settings", {})
        for name, wanted in self._settings.items():
            if before.get(name) != wanted:
                raise InputError(
                    f"{self.path}: was begun with {name} {_short(before.get(name))}, not "
                    f"{_short(wanted)}; go on with the same, or choose another `out=`"
                )
        self._bytes = int(found.get("bytes", 0))
        if self.path.stat().st_size < self._bytes:
            raise self._changed()
        with self.path.open("r+b") as stream:  # rows of a run that was cut off
            stream.truncate(self._bytes)
        self._finished = {
            (str(run["strategy"]), int(run["seed"])): {
                "trials": run["trials"],
                "asked": run.get("asked", before.get("trials", run["trials"])),
                "source": run.get("source"),
                "own_ms": run["own_ms"],
            }
            for run in found.get("runs", ())
        }

    def _changed(self) -> InputError:
        return InputError(
            f"{self.path}: was changed since nas bench wrote it; remove it and {self.note.name}, "
            "or choose another `out=`"
        )

    def _write(self, data: bytes) -> None:
        with self.path.open("r+b") as stream:
            stream.seek(self._bytes)
            stream.write(data)
            stream.truncate()
            stream.flush()
            os.fsync(stream.fileno())
        self._bytes += len(data)
        self._rows = None

    def _save(self) -> None:
        runs = [
            {"strategy": strategy, "seed": seed, **run}
            for (strategy, seed), run in self._finished.items()
        ]
        content = {
            "format": FORMAT,
            "version": f"{MAJOR}.0",
            "settings": self._settings,
            "bytes": self._bytes,
            "runs": runs,
        }
        document.write_atomically(self.note, document.dumps(content))


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
