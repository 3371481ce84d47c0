"""Optuna's storages, opened so that a study in one survives what kills its driver.

SQLite writes ahead (WAL), which commits with one synced write in place of several. It syncs at
checkpoints only (synchronous=NORMAL): a killed process loses nothing, as what it wrote is with
the operating system; a power failure may cost the last trials, and never the file.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import optuna

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
    try:
        path = _sqlite_file(url)
        if path is not None and path.parent.is_dir():
            sqlite(path)
        storage = optuna.storages.RDBStorage(url, engine_kwargs=_settings(url))
        if path is not None:
            _write_ahead(storage)
    except Exception as error:  # drivers of databases raise errors of their own
        hint = ""
        if isinstance(error, ImportError):
            hint = (
                "; its driver is not installed (PostgreSQL: pip install 'temporal-nas[postgresql]')"
            )
        raise InputError(
            f"storage {public_url(url)}: cannot be opened: {reason_of(error, url)}{hint}"
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


def public_url(url: str) -> str:
    """A storage URL without its credentials."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"


def reason_of(error: BaseException, url: str) -> str:
    """What went wrong at the bottom, in a line without credentials."""
    while (cause := getattr(error, "orig", None) or error.__cause__) is not None:
        error = cause
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return text


def _secrets(url: str) -> list[str]:
    """What in a URL must not be shown: what stands before the host, and values after it."""
    rest = url.partition("://")[2]
    before, _, after = rest.rpartition("@")
    found = [before, *before.split(":")[1:], *re.findall(r"=([^&]*)", after)]
    spelled = {secret for each in found for secret in (each, unquote(each)) if secret}
    return sorted(spelled, key=len, reverse=True)


def _sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for other databases and for one in memory."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    return Path(match[1]) if match and match[1] != ":memory:" else None


def _settings(url: str) -> dict[str, Any]:
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
