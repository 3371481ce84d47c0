"""optuna-dashboard on the study of a run, with the run's pictures beside the trials.

Pictures are artifacts of the study, kept in the run folder (`artifacts/`).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from nas.study.storage import opened
from search_spaces import InputError
from search_spaces.files import document

if TYPE_CHECKING:
    from optuna import Study
    from optuna.artifacts import FileSystemArtifactStore
    from optuna.storages import RDBStorage

FORMAT, MAJOR = "temporal-nas/run", 1
PICTURES = ("pareto.png", "bundle/preview.gif")
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
        storage_url: where the study is; by default as run.json says, else study.db in the folder.

    Raises:
        InputError: no run, no study in it yet, a port that is taken, or optuna-dashboard is not
            installed.
    """
    application = _application()
    name, url = _study_of(run, storage_url)
    storage = opened(url)
    study = _loaded(storage, name, run)
    store = _with_pictures(run, study, storage)
    app = application(storage, artifact_store=store)
    try:
        server = make_server(host, port, app, _Threads, _Quiet)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--host {host} --port {port}: cannot listen there: {error}; choose another --port"
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


def _study_of(run: Path, storage_url: str | None) -> tuple[str | None, str]:
    """The study's name, where the run says it, and its storage."""
    if not run.is_dir():
        raise InputError(f"{run}: no such run folder")
    file = run / "study.db"
    name = None
    if (run / "run.json").exists():
        found = document.read(run / "run.json", FORMAT, MAJOR)
        name = str(found["study"]) if found.get("study") else None
        storage_url = storage_url or found.get("storage")
    elif not file.exists() and storage_url is None:
        bundle = (run / "bundle.json").exists()
        mend = f"; it is a bundle: give the folder of its search, {run.parent}" if bundle else ""
        raise InputError(f"{run}: is no run folder (it has no run.json and no study.db){mend}")
    if storage_url is not None:
        return name, storage_url
    if not file.exists():
        raise InputError(f"{run}: its search has not begun, so there is no study yet")
    return name, f"sqlite:///{file}"


def _loaded(storage: "RDBStorage", name: str | None, run: Path) -> "Study":
    import optuna

    names = optuna.get_all_study_names(storage)
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        wanted = f"no study {name!r}" if name else f"{len(names)} studies, and no run.json to tell"
        raise InputError(f"{run}: its storage holds {wanted}; has its search begun?")
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
