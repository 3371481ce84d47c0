"""RESULTS.csv: every evaluated architecture in order, appended run by run; and what it belongs to.

RESULTS.json beside it holds the settings and which runs are finished. It is written after each
run's rows, so a process that is killed midway leaves rows that the next one removes.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
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

    @property
    def finished(self) -> set[Key]:
        """The runs that are whole."""
        return set(self._finished)

    def append(self, run: Run) -> None:
        """Add a run: all of its rows, or none."""
        found = zip(run.architectures, np.asarray(run.values).tolist(), strict=True)
        rows = [
            {"strategy": run.strategy, "seed": run.seed, "trial": trial}
            | choice_columns(self._space, architecture)
            | dict(zip(self._objectives, values, strict=True))
            for trial, (architecture, values) in enumerate(found)
        ]
        text = pd.DataFrame(rows, columns=self._columns).to_csv(index=False, header=False)
        self._write(text.encode())
        self._finished[run.key] = {"trials": len(rows), "own_ms": round(run.own_ms, 4)}
        self._save()

    def runs(self) -> list[Run]:
        """All finished runs, as the file has them."""
        frame = pd.read_csv(
            self.path, dtype={"strategy": str}, usecols=[*LABELS, *self._objectives]
        )
        found = []
        begins = 0
        for key, run in self._finished.items():
            rows = frame.iloc[begins : begins + run["trials"]]
            begins += run["trials"]
            if not ((rows["strategy"] == key[0]) & (rows["seed"] == key[1])).all():
                raise self._changed()
            values = rows[self._objectives].to_numpy(dtype=np.float64)
            found.append(Run(*key, (), values, run["own_ms"]))
        return found

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
        before = found.get("settings", {})
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
            (str(run["strategy"]), int(run["seed"])): {k: run[k] for k in ("trials", "own_ms")}
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
