"""A run folder: what a search was asked, what it has done so far, and where its files stand."""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nas.budget import Budget
from search_spaces import InputError, document
from supernet.pretraining import TrainingPlan

FORMAT = "temporal-nas/run"
MAJOR = 1


@dataclass(frozen=True)
class Settings:
    """What a search is asked to do; a resumed run must be asked the same."""

    space: str = "moving_digits"
    device: str = "host"
    budget: Budget = field(default_factory=Budget)
    trials: int = 40
    strategy: str = "cost-aware"
    supernet: str | None = None
    recipe: str = "uniform"
    plan: TrainingPlan = field(default_factory=TrainingPlan)
    validation_clips: int = 128
    test_clips: int = 512
    calibration_networks: int = 24
    unseen_networks: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("trials", "validation_clips", "test_clips"):
            if getattr(self, name) < 1:
                raise InputError(f"{name.replace('_', '-')} must be at least 1")
        for name in ("calibration_networks", "unseen_networks"):
            if getattr(self, name) < 2:
                raise InputError(f"{name.replace('_', '-')} must be at least 2")
        for name in ("image_steps", "video_steps", "image_clips", "video_clips"):
            if getattr(self.plan, name) < 1:
                raise InputError(f"{name.replace('_', '-')} must be at least 1")


class RunFolder:
    """The files of one run, and its `run.json`."""

    def __init__(self, path: Path, settings: Settings, *, resume: bool) -> None:
        self.path = path
        self.settings = settings
        self.seconds: dict[str, float] = {}
        self.results: dict[str, Any] = {}
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file, not a run folder")
        occupied = path.exists() and any(path.iterdir())
        if occupied and not resume:
            raise InputError(
                f"{path}: exists; go on with it by --resume, or choose another folder for --out"
            )
        self.is_new = not (path / "run.json").exists()
        if not self.is_new:
            self._read()
        elif occupied and not (path / ".lock").exists():
            raise InputError(f"{path}: is no run folder (it has no run.json); choose another")

    def file(self, name: str) -> Path:
        """A file of the run."""
        return self.path / name

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; the lock goes when the process does, however it ends."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self.file(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.path}: another process is running this search") from None
            yield

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add to the seconds that a stage took, over all resumes."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begun
            self.save()

    def save(self) -> None:
        """Write run.json."""
        content = {
            "format": FORMAT,
            "version": f"{MAJOR}.0",
            "settings": _plain(self.settings),
            "versions": versions(),
            "seconds": self.seconds,
            "results": self.results,
        }
        document.write_atomically(self.file("run.json"), document.dumps(content))

    def _read(self) -> None:
        found = document.read(self.file("run.json"), FORMAT, MAJOR)
        wanted = _plain(self.settings)
        before = found.get("settings", {})
        for name in wanted:
            if before.get(name) != wanted[name]:
                raise InputError(
                    f"{self.path}: was begun with {name} {before.get(name)!r}, not "
                    f"{wanted[name]!r}; resume it with the same settings, or choose another folder"
                )
        self.seconds = dict(found.get("seconds", {}))
        self.results = dict(found.get("results", {}))


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    import platform
    from importlib.metadata import version

    names = ("temporal-nas", "torch", "optuna", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _plain(settings: Settings) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return plain
