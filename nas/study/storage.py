"""Optuna's storages, opened so that a study in one survives what kills its driver.

SQLite writes ahead (WAL), which commits with one synced write in place of several. It syncs at
checkpoints only (synchronous=NORMAL): a killed process loses nothing, as what it wrote is with
the operating system; a power failure may cost the last trials, and never the file.
"""

from pathlib import Path
from typing import Any

import optuna

from nas.study.storage_url import check_url, mend_of, public_url, reason_of, sqlite_file
from search_spaces import InputError
from search_spaces.files.targets import file_target

LOCKED_S = 30  # wait so long for another process that writes to the same SQLite file
CONNECT_S = 10  # and for a server to answer


class StorageError(OSError):
    """The storage failed in the middle of a study; what is finished there is safe."""


def opened(url: str) -> optuna.storages.RDBStorage:
    """The storage at a URL, its tables made where there are none.

    Raises:
        InputError: it cannot be reached, read or written, or is of another version of Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check_url(url)
    path = sqlite_file(url)
    try:
        if path is not None:
            sqlite(path)
        storage = optuna.storages.RDBStorage(url, engine_kwargs=connect_settings(url))
        if path is not None:
            _write_ahead(storage)
    except Exception as error:  # drivers of databases raise errors of their own
        raise InputError(
            f"storage {public_url(url)}: cannot be opened: {reason_of(error, url)}"
            + mend_of(error, url)
        ) from None
    return storage


def sqlite(path: Path) -> str:
    """The storage URL of a SQLite file, which is made where there is none.

    Its tables are made beside it and renamed into place: a process that is killed while Optuna
    makes them leaves no half of a database behind.
    """
    path = file_target(path)
    if not path.exists():
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{new}")
        storage.remove_session()
        storage.engine.dispose()
        new.replace(path)
    return f"sqlite:///{path}"


def connect_settings(url: str) -> dict[str, Any]:
    """How the engine of a URL connects."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": LOCKED_S}}
    # A connection that the server has dropped meanwhile is replaced before it is used.
    settings: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("postgresql"):
        settings["connect_args"] = {"connect_timeout": CONNECT_S}
    return settings


def _write_ahead(storage: optuna.storages.RDBStorage) -> None:
    from sqlalchemy import event

    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    event.listen(storage.engine, "connect", prepare)
    storage.remove_session()
    storage.engine.dispose()  # connections from before were not prepared
