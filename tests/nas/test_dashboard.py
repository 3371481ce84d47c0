"""`nas dashboard` with the real server, on runs that `nas search` made."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from postgres import server
from processes import wait_until
from runs import CLIPS, NAS

pytestmark = pytest.mark.slow
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A finished run of one's own."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@contextmanager
def served(run: Path, *arguments: str) -> Iterator[str]:
    """The address of `nas dashboard RUN`, as it prints it."""
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    command = [*NAS, "dashboard", str(run), "--port", "0", *arguments]
    with ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    assert process.returncode == 0


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """A process that Ctrl-C ends at the end."""
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def asked(url: str) -> Any:
    with urlopen(url) as response:  # noqa: S310  # our own server
        return response.read()


def shown(address: str) -> dict[str, Any]:
    """The study at an address of the dashboard, as its page asks for it."""
    base, _, number = address.replace("/dashboard/studies/", " ").partition(" ")
    found: dict[str, Any] = json.loads(asked(f"{base}/api/studies/{number}"))
    return found


def finished(address: str) -> int:
    return sum(trial["state"] == "Complete" for trial in shown(address)["trials"])


@pytest.mark.long
def test_a_finished_run_is_shown_with_names_and_pictures(run: Path) -> None:
    name = json.loads((run / "run.json").read_text())["study"]
    for _ in range(2):  # asked for again, pictures are not there twice
        with served(run) as address:
            assert b"<html" in asked(address).lower()
            base = address.partition("/dashboard")[0]
            assert b"<html" in asked(f"{base}/dashboard").lower()
            studies = json.loads(asked(f"{base}/api/studies"))["study_summaries"]
            names = {study["study_id"]: study["study_name"] for study in studies}
            assert set(names.values()) == {f"{name}: search", f"{name}: random"}
            number = int(address.rpartition("/")[2])
            assert names[number] == f"{name}: search"
            study = shown(address)
            assert study["objective_names"] == ["validation_loss", "latency_ms"]
            assert finished(address) == 6
            pictures = {each["filename"]: each["artifact_id"] for each in study["artifacts"]}
            assert set(pictures) == {"pareto.png", "layout.png", "preview.gif"}
            picture = asked(f"{base}/artifacts/{number}/{pictures['preview.gif']}")
            assert picture == (run / "bundle" / "preview.gif").read_bytes()
    assert len(list((run / "artifacts").iterdir())) == 3


@pytest.mark.long
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def test_a_search_is_shown_while_it_goes_on(
    database: str, tmp_path: Path, device_file: Path, supernet_file: Path, call: Call
) -> None:
    if database == "sqlite":
        watched(tmp_path, device_file, supernet_file)
        return
    with server() as postgres:
        url = ["--storage", postgres.url]
        watched(tmp_path, device_file, supernet_file, *url)
        # run.json says where, and not the user: the server takes whoever starts the tests for one.
        code, _, err = call("dashboard", "run")
        assert code == 2
        assert "hush" not in (tmp_path / "run" / "run.json").read_text() + err
        assert "run.json keeps no user and no password, so give the storage's whole URL" in err


def watched(folder: Path, device_file: Path, supernet_file: Path, *storage: str) -> None:
    """Trials come in while the dashboard is open."""
    command = [
        *NAS, "search", "--out", "run", "--device", str(device_file), "--trials", "2000",
        "--supernet", str(supernet_file), *CLIPS, *storage,
    ]  # fmt: skip
    with ended(
        subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    ) as searching:
        assert searching.stderr is not None
        assert any("search" in line for line in searching.stderr), "it never came so far"
        with served(folder / "run", *storage) as address:
            before = finished(address)
            wait_until(searching, lambda: finished(address) >= before + 3)
            assert json.loads((folder / "run" / "run.json").read_text())["results"] == {}


def test_what_is_no_run_is_said_in_a_line(call: Call, run: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    shutil.copy(run / "run.json", tmp_path / "begun")
    shutil.copytree(run, tmp_path / "other")
    other = (run / "run.json").read_text().replace('"study": "', '"study": "not ')
    (tmp_path / "other" / "run.json").write_text(other)
    for words, said in {
        ("nowhere",): "nowhere: no such run folder",
        ("empty",): "empty: is no run folder",
        ("begun",): "begun: its search has not begun",
        ("other",): "other: its storage holds no study 'not ",
        ("run", "--host", "192.0.2.1"): "host 192.0.2.1, port 8080: cannot listen there",
        ("run", "--storage", "sqlite:////nowhere/a.db"): "no such file",
        ("run", "--storage", "sqlite:///mistyped.db"): "no such file",
        ("run", "--storage", "run/study.db"): "is no URL; of a file it is sqlite:///run/study.db",
    }.items():
        code, out, err = call("dashboard", *words)
        assert (code, out) == (2, ""), err
        assert said in err
        assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "mistyped.db").exists()


def test_without_optuna_dashboard_a_line_says_what_to_install(
    call: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    code, _, err = call("dashboard", str(run))
    assert code == 2
    assert "pip install 'temporal-nas[dashboard]'" in err


def test_a_run_of_a_task_of_one_s_own_is_shown(tmp_path: Path) -> None:
    import own_task

    import nas

    task = nas.Task(own_task.SPACE, own_task.accuracy, ["accuracy_pct:max"])
    nas.search(tmp_path / "run", task, trials=4)
    with served(tmp_path / "run") as address:
        study = shown(address)
        assert study["objective_names"] == ["accuracy_pct"]
        assert finished(address) == 4
        names = {each["filename"] for each in study["artifacts"]}
        assert names == {"pareto.png", "stack.png"}
