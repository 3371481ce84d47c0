"""optuna-dashboard on the study of a run, with the run's pictures beside the trials.

Pictures are artifacts of the study, kept in the run folder (`artifacts/`).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from nas.run.studies import FORMAT, MAJOR, STUDIES, study_name
from nas.study.storage import opened
from nas.study.storage_url import sqlite_file
from search_spaces import InputError
from search_spaces.files import document

if TYPE_CHECKING:
    from optuna import Study
    from optuna.artifacts import FileSystemArtifactStore
    from optuna.storages import RDBStorage

PICTURES = ("pareto.png", "layout.png", "stack.png", "bundle/preview.gif")
LOCAL = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Dashboard:
    """A server that is bound to its address and not yet serving."""

    url: str
    server: WSGIServer

    def serve(self) -> None:
        """Answer until the process is told to stop."""
        try:
            self.server.serve_forever()
        finally:
            self.server.server_close()


def dashboard(run: Path, host: str, port: int, storage_url: str | None = None) -> Dashboard:
    """A dashboard on a run's study.

    Args:
        run: the run's folder.
        host: to listen on.
        port: to listen on; 0 for any that is free.
        storage_url: where its studies are, with the password; by default as run.json says, else
            study.db in the folder.

    Raises:
        InputError: no run, no study in it yet, a port that is taken, or optuna-dashboard is not
            installed.
    """
    application = _application()
    begun = _begun(run)
    storage = _storage_of(run, begun, storage_url)
    study = _loaded(storage, study_name(str(begun.get("study")), STUDIES[0]), run)
    store = _with_pictures(run, study, storage)
    app = application(storage, artifact_store=store)
    try:
        server = make_server(host, port, app, _Threads, _Quiet)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"host {host}, port {port}: cannot listen there: {error}; choose another port"
        ) from None
    number = storage.get_study_id_from_name(study.study_name)
    return Dashboard(f"http://{host}:{server.server_port}/dashboard/studies/{number}", server)


class _Threads(ThreadingMixIn, WSGIServer):
    """A browser asks for several things at once."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Requests are no news."""


def _application() -> Any:
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise InputError(
            "optuna-dashboard is not installed; pip install 'temporal-nas[dashboard]'"
        ) from None
    return wsgi


def _begun(run: Path) -> document.Json:
    """What a run's search has written of itself."""
    if not run.is_dir():
        raise InputError(f"{run}: no such run folder")
    if not (run / "run.json").exists():
        bundle = (run / "bundle.json").exists()
        mend = f"; it is a bundle: give the folder of its search, {run.parent}" if bundle else ""
        raise InputError(f"{run}: is no run folder (it has no run.json){mend}")
    return document.read(run / "run.json", FORMAT, MAJOR)


def _storage_of(run: Path, begun: document.Json, url: str | None) -> "RDBStorage":
    """The storage of a run's studies; no file is made where there is none."""
    public = begun.get("storage")
    wanted = url or public or f"sqlite:///{run / 'study.db'}"
    file = sqlite_file(wanted)
    if file is not None and not file.exists():
        if file == run / "study.db":
            raise InputError(f"{run}: its search has not begun, so there is no study yet")
        raise InputError(f"storage {wanted}: no such file; give the storage's URL from here")
    try:
        return opened(wanted)
    except InputError as error:
        if url is None and public is not None:
            raise InputError(
                f"{error}; run.json keeps no user and no password, so give the storage's whole URL"
            ) from None
        raise


def _loaded(storage: "RDBStorage", name: str, run: Path) -> "Study":
    import optuna

    if name not in optuna.get_all_study_names(storage):
        raise InputError(f"{run}: its storage holds no study {name!r}; has its search begun?")
    return optuna.load_study(study_name=name, storage=storage)


def _with_pictures(run: Path, study: "Study", storage: "RDBStorage") -> "FileSystemArtifactStore":
    """Attach the run's pictures to the study as they are now."""
    from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact

    folder = run / "artifacts"
    folder.mkdir(exist_ok=True)
    store = FileSystemArtifactStore(base_path=folder)
    known = {meta.filename: meta for meta in get_all_artifact_meta(study, storage=storage)}
    for picture in (run / name for name in PICTURES):
        if not picture.is_file():
            continue
        if picture.name in known:
            with picture.open("rb") as stream:
                store.write(known[picture.name].artifact_id, stream)
        else:
            upload_artifact(
                artifact_store=store, file_path=os.fspath(picture), study_or_trial=study
            )
    return store
