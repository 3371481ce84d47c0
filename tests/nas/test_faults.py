"""What kills, locks, fills and slows storages, and what is left then."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import killed_driver
import optuna
import postgres
import pytest
from killed_driver import PROBLEM, loss
from optuna.trial import TrialState

from nas.evaluators.serial import Serial
from nas.strategies import random
from nas.study import storage
from nas.study.record import ATTEMPTS, Record
from nas.study.storage import StorageError, sqlite
from nas.study.study import Study
from search_spaces import Architecture, InputError

KILLS, TRIALS = 30, 160


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as started:
        yield started


def url_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    if kind == "sqlite":
        return sqlite(folder / "study.db")
    started: postgres.Server = request.getfixturevalue("server")
    return started.url


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_thirty_drivers_are_killed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url, log = url_of(kind, tmp_path, request), tmp_path / "log"
    script = str(Path(killed_driver.__file__))
    done = subprocess.run(
        [sys.executable, script, url, str(log), str(KILLS), str(TRIALS)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = optuna.load_study(study_name="killed", storage=url).trials
    complete = {
        PROBLEM.space.architecture(t.params).digest: t
        for t in trials
        if t.state == TrialState.COMPLETE
    }
    entries = [line.split() for line in log.read_text().splitlines()]
    written = [digest for _, word, digest in entries if word == "written"]
    assert set(written) <= set(complete), "a finished trial was lost"
    assert len(written) == len(set(written))
    for trial in complete.values():
        assert trial.values[0] == loss(PROBLEM.space.architecture(trial.params))
    for when, word, digest in entries:
        finished = complete[digest].datetime_complete if digest in complete else None
        if word == "asked" and finished is not None:
            assert float(when) <= finished.timestamp(), (
                "a finished architecture was evaluated again"
            )
    assert len(complete) == TRIALS
    assert not [t for t in trials if t.state == TrialState.RUNNING]
    failed = [t for t in trials if t.state == TrialState.FAIL]
    assert failed, "no driver died in the middle of an evaluation"
    assert {t.user_attrs["reason"] for t in failed} == {"the driver was killed"}
    assert max(t.user_attrs["attempt"] for t in trials) <= ATTEMPTS


@pytest.mark.long
def test_a_server_that_stops_midway_loses_nothing(server: postgres.Server) -> None:
    evaluated: list[Architecture] = []

    def quality(architecture: Architecture) -> float:
        if len(evaluated) == 7:
            server.stop()
        evaluated.append(architecture)
        return loss(architecture)

    study = Study(PROBLEM, random, Record(server.url, "stops", PROBLEM))
    with pytest.raises(StorageError, match=r"storage postgresql\+psycopg://127.0.0.1") as caught:
        study.run(20, Serial(quality))
    server.start()
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
    evaluated.clear()
    study = Study(PROBLEM, random, Record(server.url, "stops", PROBLEM))
    assert len(study.finished()) == 7
    server.stop()
    server.start()  # a connection that was open then is none now
    assert len(study.run(20, Serial(loss))) == 20


FILL = """
import resource, sys
from pathlib import Path
from killed_driver import PROBLEM, loss
from nas.evaluators.serial import Serial
from nas.study.record import Record
from nas.study.storage import StorageError, sqlite
from nas.strategies import random
from nas.study.study import Study
from search_spaces.files import document
run = Path(sys.argv[1])
document.write_atomically(run / "run.json", "{}")
study = Study(PROBLEM, random, Record(sqlite(run / "study.db"), "full", PROBLEM))
limit = (run / "study.db").stat().st_size + 600_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    study.run(2000, Serial(loss))
except StorageError as error:
    print(error)
try:
    document.write_atomically(run / "run.json", "x" * (limit + 1))
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.long
def test_a_full_disk_leaves_what_was_written(tmp_path: Path) -> None:
    """No file may grow beyond a limit, which is what a full disk does to one."""
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path)], cwd=Path(__file__).parent,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert re.match(r"storage sqlite:///.*study.db: .*(full|disk I/O error)", first)
    assert second == "OSError"
    assert (tmp_path / "run.json").read_text() == "{}"
    assert not list(tmp_path.glob(".run.json*"))
    study = Study(PROBLEM, random, Record(sqlite(tmp_path / "study.db"), "full", PROBLEM))
    before = study.finished()
    assert len(before) > 5
    after = study.run(len(before) + 10, Serial(loss))
    assert set(before) <= set(after)
    assert len(after) == len(before) + 10


@pytest.mark.long
def test_a_database_that_another_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "LOCKED_S", 0.1)
    url = sqlite(tmp_path / "study.db")
    study = Study(PROBLEM, random, Record(url, "locked", PROBLEM))
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as other:
        other.execute("begin immediate")
        with pytest.raises(StorageError, match="database is locked"):
            study.run(3, Serial(loss))
        other.execute("rollback")
    assert len(Study(PROBLEM, random, Record(url, "locked", PROBLEM)).run(3, Serial(loss))) == 3


@pytest.mark.parametrize(
    ("url", "mend"),
    {
        "": "give sqlite:///FILE or postgresql://",
        "study.db": "is no URL; of a file it is sqlite:///study.db",
        "/data/study.db": "is no URL; of a file it is sqlite:////data/study.db",
        "file:///study.db": "is spelled sqlite:////study.db",
        "sqlite:/study.db": "too few slashes; write sqlite:////study.db",
        "sqlite://study.db": "too few slashes; write sqlite:///study.db",
        "sqlite3:///study.db": "is spelled sqlite:///study.db",
        "SQLite:///study.db": "is spelled sqlite://",
        "sqlite://": "is in memory",
        "sqlite:///:memory:": "is in memory",
        "sqlite+pysqlite:///file::memory:?uri=true": "is in memory",
        "sqlite:////no/such/folder/s.db": "its folder /no/such/folder does not exist",
        "sqlite:////tmp": "is a folder; name a file in it, as sqlite:////tmp/study.db",
        "postgres://me:secret@host/db": "is spelled postgresql://",
        "postgres+psycopg://me:secret@host/db": "is spelled postgresql+psycopg://",
        "postgresql://me:se@secret@host/db": "@ as %40",
        "postgresql://me:secret/se@host/db": "/ as %2F",
        "postgresql://me:secret@host:secret/db": "its port is no number",
        "postgresql://me:secret": "its port is no number",
        "postgresql+psycopg2://me:secret@host/db": "pip install 'temporal-nas[postgresql]'",
        "postgresql+psycopg://me:secret@127.0.0.1:1/db": "cannot be opened: connection",
        "postgresql+psycopg://127.0.0.1:1/db?password=secret": "cannot be opened: connection",
        "mysql://me:secret@host/db": "pip install pymysql, and write mysql+pymysql://",
        "mysql+pymysql://me:secret@host/db": "pip install pymysql",
        "redis://:secret@host:6379/0": "none of the databases that a study is kept in; give",
        "journal:///study.log": "none of the databases that a study is kept in; give",
        "nosuchdb://me:secret@host/db": "nosuchdb; give sqlite:///FILE",
    }.items(),
)
def test_storages_that_cannot_be_opened(url: str, mend: str) -> None:
    with pytest.raises(InputError, match="^storage ") as caught:
        Record(url, "s", PROBLEM)
    assert mend in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_storage_of_another_version_or_of_something_else(tmp_path: Path) -> None:
    url = sqlite(tmp_path / "study.db")
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute("update alembic_version set version_num = 'v99.0.0.a'")
    with pytest.raises(InputError, match="optuna"):
        Record(url, "s", PROBLEM)
    (tmp_path / "not.db").write_text("a letter to my aunt" * 100)
    with pytest.raises(InputError, match="file is not a database"):
        Record(f"sqlite:///{tmp_path / 'not.db'}", "s", PROBLEM)


def test_a_study_of_other_objectives(tmp_path: Path) -> None:
    url = sqlite(tmp_path / "study.db")
    Record(url, "s", PROBLEM)
    optuna.create_study(study_name="t", storage=url, direction="maximize")
    other = optuna.load_study(study_name="t", storage=url)
    other.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(InputError, match="was begun with objectives"):
        Record(url, "t", PROBLEM)


def test_sqlite_writes_ahead_and_is_one_file_in_the_end(tmp_path: Path) -> None:
    record = Record(sqlite(tmp_path / "study.db"), "s", PROBLEM)
    Study(PROBLEM, random, record).run(3, Serial(loss))
    assert (tmp_path / "study.db-wal").exists()
    record.close()
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]
