"""A run folder: what a search was asked, what it has done so far, and where its files stand."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nas.costs.limits import DEFAULT_OBJECTIVES, Budget
from nas.run.studies import FORMAT, MAJOR
from nas.study.storage_url import check_url, public_url
from search_spaces import InputError
from search_spaces.files import document
from search_spaces.files.locking import lock
from search_spaces.shipped.loading import twin_of
from supernet.training.pretraining import TrainingPlan

NO_TWIN = "none"
SEARCH = "search"  # the stage from which on the budget is settled
# What earlier versions did by default, where that was another thing.
FORMERLY: dict[str, Any] = {
    "recipe": "fair",
    "plan.image_steps": 400,
    "plan.image_clips": 8,
    "plan.video_steps": 760,
    "plan.video_clips": 8,
    "plan.optimizer": "adamw",
    "plan.learning_rate": 2e-3,
}


@dataclass(frozen=True)
class Settings:
    """What a search is asked to do; a resumed run must be asked the same."""

    space: str = "moving_digits"
    device: str = "host"
    other_devices: tuple[str, ...] = ()
    energy: str | None = None  # a device that was calibrated on millijoules
    objectives: tuple[str, ...] = DEFAULT_OBJECTIVES
    budget: Budget = field(default_factory=Budget)
    trials: int = 36
    strategy: str = "cost-aware"
    warm_start: int = 0  # so many networks first that scores of blocks alone arrange
    # A narrow space of the same choices, in which quality is searched; None for the space's own
    # where it has one, `none` to train at full size.
    twin: str | None = None
    backbone: str | None = None  # a folder of diffusers: the image U-Net that the space describes
    supernet: str | None = None
    recipe: str = "uniform"
    plan: TrainingPlan = field(default_factory=TrainingPlan)
    validation_clips: int = 128
    finalists: int = 4  # raced against each other after the search; 1 for no race
    finalist_clips: int = 1024  # of each, at most
    winner_steps: int = 450  # the winner is trained on by itself; 0 for the supernet's weights
    test_clips: int = 384
    metrics: tuple[str, ...] = ()  # of a user's own, on what the compared networks generate
    calibration_networks: int = 24
    unseen_networks: int = 24
    seed: int = 0

    @property
    def learned_space(self) -> str | None:
        """The twin in which quality is searched; None where it is the space itself."""
        if self.twin is None:
            return twin_of(self.space)
        return None if self.twin == NO_TWIN else self.twin

    @property
    def trains_winner(self) -> bool:
        """Whether the winner is trained on by itself: not where it is larger than what is here."""
        return self.winner_steps > 0 and self.learned_space is None

    @property
    def scores_blocks(self) -> bool:
        """Whether blocks are scored before anything is evaluated."""
        return self.strategy == "exact" or self.warm_start > 0

    def __post_init__(self) -> None:
        for name in ("trials", "finalists"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}=` must be at least 1")
        for name in ("warm_start", "winner_steps"):
            if getattr(self, name) < 0:
                raise InputError(f"`{name}=` must be at least 0")
        several = ("calibration_networks", "unseen_networks")  # one tells nothing of its error
        for name in (*several, "validation_clips", "test_clips", "finalist_clips"):
            if getattr(self, name) < 2:
                raise InputError(f"`{name}=` must be at least 2")
        for name in ("image_steps", "video_steps", "image_clips", "video_clips"):
            if getattr(self.plan, name) < 1:
                raise InputError(f"`{name}=` must be at least 1")


class RunFolder:
    """The files of one run, and its `run.json`."""

    def __init__(
        self, path: Path, settings: Settings, storage: str | None, *, resume: bool
    ) -> None:
        if storage is not None:
            check_url(storage)
        self.path = path
        self.settings = settings
        self.storage = storage
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
            if new and held <= {".lock", "run.json"}:
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
        return {**_flat(_plain(Settings())), **FORMERLY, **begun}

    def _as_begun(self, settings: Settings) -> Settings:
        """Settings with the defaults of the version that began the run.

        Who asks for today's defaults has chosen nothing: an earlier run goes on as it was begun.
        """
        begun = self._begun(document.read(self.file("run.json"), FORMAT, MAJOR))
        asked = _flat(_plain(settings))
        defaults = _flat(_plain(Settings()))
        kept = {
            name: former
            for name, former in FORMERLY.items()
            if asked[name] == defaults[name] and begun[name] == former
        }
        plan = {n.removeprefix("plan."): v for n, v in kept.items() if n.startswith("plan.")}
        rest = {n: v for n, v in kept.items() if not n.startswith("plan.")}
        return replace(settings, plan=replace(settings.plan, **plan), **rest)


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    import platform
    from importlib.metadata import version

    names = ("temporal-nas", "torch", "optuna", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _plain(settings: Settings) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return plain


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their whole names, as `plan.video_steps`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {}
        flat.update(inner or {prefix + name: value})
    return flat
