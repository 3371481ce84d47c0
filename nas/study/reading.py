"""Reading a study that another search keeps: nothing is written, and no writer is kept waiting."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import optuna
from optuna.study import StudyDirection

from nas.study.storage import connect_settings
from nas.study.storage_url import check_url, public_url, reason_of, sqlite_file
from search_spaces import InputError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class StudyRead:
    """A study as its storage holds it.

    Args:
        maximized: its objectives by name, and of which more is better.
        trials: in their order.
    """

    maximized: dict[str, bool]
    trials: "list[FrozenTrial]"


def study_read(url: str, name: str) -> StudyRead | None:
    """A study by its name; None where the storage holds none of that name.

    Raises:
        InputError: the storage cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check_url(url)
    try:
        with _opened(url) as storage:
            study = optuna.load_study(study_name=name, storage=storage)
            maximized = [each == StudyDirection.MAXIMIZE for each in study.directions]
            names = study.metric_names or []
            return StudyRead(
                dict(zip(names, maximized, strict=False)), study.get_trials(deepcopy=False)
            )
    except KeyError:
        return None
    except Exception as error:  # drivers of databases raise errors of their own
        raise InputError(
            f"storage {public_url(url)}: cannot be read: {reason_of(error, url)}"
        ) from None


@contextmanager
def _opened(url: str) -> Iterator[optuna.storages.RDBStorage]:
    storage = optuna.storages.RDBStorage(
        _only_read(url), engine_kwargs=connect_settings(url), skip_table_creation=True
    )
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _only_read(url: str) -> str:
    """The URL that opens a file of SQLite to be read; what is at rest is left without a trace."""
    path: Path | None = sqlite_file(url)
    if path is None:
        return url
    if not path.exists():
        raise FileNotFoundError("no such file")
    at_rest = not path.with_name(f"{path.name}-wal").exists()
    mode = "immutable=1" if at_rest else "mode=ro"
    return f"sqlite:///file:{quote(str(path.resolve()))}?{mode}&uri=true"
