"""A run folder: what a search was asked, what it has done so far, and where its files stand."""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nas.run.settings import SearchSettings
from nas.run.studies import FORMAT, MAJOR
from nas.study.storage_url import check_url, public_url
from search_spaces import InputError
from search_spaces.files import document
from search_spaces.files.locking import lock

# What a run leaves that was refused before anything was evaluated.
OF_NOTHING_DONE = frozenset(
    {".lock", "run.json", "earlier.json", "study.db", "study.db-wal", "study.db-shm"}
)
SEARCH = "search"  # the stage from which on the budget is settled


class RunFolder:
    """The files of one run, and its `run.json`."""

    def __init__(
        self,
        path: Path,
        settings: SearchSettings,
        storage: str | None,
        *,
        resume: bool,
        only_read: bool = False,
    ) -> None:
        if storage is not None:
            check_url(storage)
        self.path = path
        self.settings = settings
        self.storage = storage
        self.only_read = only_read  # nothing of it is written
        self.holds_trials = False  # whether something was evaluated, which must not be lost
        # Storages may be shared, so a run's studies carry a name that no other run has.
        self.study = f"{path.resolve().name} {uuid.uuid4().hex[:8]}"
        self.seconds: dict[str, float] = {}
        self.results: dict[str, Any] = {}
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file, not a run folder")
        if (path / "bundle.json").exists():
            raise InputError(f"{path}: is a bundle, which a search left; give a run folder")
        occupied = path.exists() and any(path.iterdir())
        if occupied and not resume:
            raise InputError(
                f"{path}: exists; go on with it by `resume=True`, or choose another folder "
                "for `out=`"
            )
        if occupied and not (self.file("run.json").exists() or self.file(".lock").exists()):
            raise InputError(f"{path}: is no run folder (it has no run.json); choose another")
        if self.file("run.json").exists():
            self.settings = self._as_begun(settings)

    def file(self, name: str) -> Path:
        """A file of the run."""
        return self.path / name

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Read what was done before, and keep other processes out meanwhile.

        The lock goes when the process does, however it ends. A folder that was made for a run
        which is refused at once goes too, so that the same command can be given again, mended.

        Raises:
            InputError: the run was begun with other settings, or another process is at it.
        """
        new = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with self._locked():
                yield
        except InputError:
            held = {path.name for path in self.path.iterdir()}
            if new and not self.holds_trials and held <= OF_NOTHING_DONE:
                for name in held:
                    self.file(name).unlink()
                self.path.rmdir()
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.file(".lock").open("w") as held:
            lock(held, f"{self.path}: another process is running this search")
            if self.file("run.json").exists():
                self._read()
            self.save()
            yield

    @contextmanager
    def timed(self, stage: str, *, again: bool = False) -> Iterator[None]:
        """Add to the seconds of a stage, over all resumes; `again`: it always starts over."""
        begun = time.monotonic()
        before = 0.0 if again else self.seconds.get(stage, 0.0)
        try:
            yield
        finally:
            self.seconds[stage] = before + time.monotonic() - begun
            self.save()

    @property
    def _public_storage(self) -> str | None:
        return None if self.storage is None else public_url(self.storage)

    def save(self) -> None:
        """Write run.json."""
        if self.only_read:
            return
        content = {
            "format": FORMAT,
            "version": f"{MAJOR}.0",
            "settings": _plain(self.settings),
            "storage": self._public_storage,
            "study": self.study,
            "versions": versions(),
            "seconds": self.seconds,
            "results": self.results,
        }
        document.write_atomically(self.file("run.json"), document.dumps(content))

    def _read(self) -> None:
        found = document.read(self.file("run.json"), FORMAT, MAJOR)
        self.seconds = dict(found.get("seconds", {}))
        self.results = dict(found.get("results", {}))
        self.study = str(found.get("study", self.study))
        was, wanted = self._begun(found), _flat(self._asked())
        if SEARCH not in self.seconds:  # nothing was evaluated under the budget yet
            was |= {n: value for n, value in wanted.items() if n.startswith("budget.")}
        for name, value in wanted.items():
            if was.get(name) != value:
                raise InputError(
                    f"{self.path}: was begun with {name} {was.get(name)}, not {value}; "
                    "resume it with the same settings, or choose another folder"
                )

    def _asked(self) -> dict[str, Any]:
        return {**_plain(self.settings), "storage": self._public_storage}

    def _begun(self, found: dict[str, Any]) -> dict[str, Any]:
        """What the run was begun with, by whole names; what it does not say it did by default."""
        begun = _flat({**found.get("settings", {}), "storage": found.get("storage")})
        if begun.pop("budget.fixed_ms", 0.0):
            raise InputError(
                f"{self.path}: was begun with a fixed time, which is now `parts=NAME=MS`; choose "
                "another folder"
            )
        settings = type(self.settings)
        return {**_flat(_plain(settings())), **settings.formerly, **begun}

    def _as_begun(self, settings: SearchSettings) -> SearchSettings:
        """Settings with the defaults of the version that began the run.

        Who asks for today's defaults has chosen nothing: an earlier run goes on as it was begun.
        """
        begun = self._begun(document.read(self.file("run.json"), FORMAT, MAJOR))
        asked = _flat(_plain(settings))
        defaults = _flat(_plain(type(settings)()))
        for name, former in settings.formerly.items():
            if asked[name] == defaults[name] and begun[name] == former:
                settings = _changed(settings, name.split("."), former)
        return settings


def _changed(settings: Any, path: Sequence[str], value: Any) -> Any:
    """Settings with the value at a path, as `plan.video_steps`, replaced."""
    name, *rest = path
    return replace(
        settings, **{name: _changed(getattr(settings, name), rest, value) if rest else value}
    )


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    import platform
    from importlib.metadata import version

    names = ("temporal-nas", "torch", "optuna", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _plain(settings: SearchSettings) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return plain


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their whole names, as `plan.video_steps`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {}
        flat.update(inner or {prefix + name: value})
    return flat
