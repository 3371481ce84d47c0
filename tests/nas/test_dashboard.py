"""`nas dashboard` with the real server."""

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import optuna
import pytest

from nas.study.storage import opened
from search_spaces.files import document

Call = Callable[..., tuple[int, str, str]]
PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder as a search leaves it."""
    folder = tmp_path / "run"
    (folder / "bundle").mkdir(parents=True)
    storage = opened(f"sqlite:///{folder / 'study.db'}")
    study = optuna.create_study(
        storage=storage, study_name="run 1", directions=["minimize", "minimize"]
    )
    with warnings.catch_warnings(action="ignore"):  # experimental for years
        study.set_metric_names(["validation_loss", "latency_ms"])
    optuna.create_study(storage=storage, study_name="another")
    study.enqueue_trial({"operator": "none"})
    study.optimize(
        lambda trial: (
            float(trial.suggest_categorical("operator", ["none", "conv1d"]) == "none"),
            2.0,
        ),
        n_trials=2,
    )
    storage.remove_session()
    storage.engine.dispose()
    found = {"format": "temporal-nas/run", "version": "1.0", "study": "run 1", "storage": None}
    (folder / "run.json").write_text(document.dumps(found))
    (folder / "bundle" / "preview.gif").write_bytes(PIXEL)
    return folder


@contextmanager
def served(run: Path) -> Iterator[str]:
    """The address of `nas dashboard RUN`, as it prints it."""
    command = [sys.executable, "-c", "from nas.cli import main; main()", "dashboard", str(run)]
    process = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0


def asked(url: str) -> Any:
    with urlopen(url) as response:  # noqa: S310  # our own server
        return response.read()


def test_the_study_is_shown_with_names_and_pictures(run: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    for _ in range(2):  # asked for again, pictures are not there twice
        with served(run) as address:
            assert b"<html" in asked(address).lower()
            base = address.partition("/dashboard")[0]
            assert b"<html" in asked(f"{base}/dashboard").lower()
            assert address.endswith("/studies/1")
            studies = json.loads(asked(f"{base}/api/studies"))["study_summaries"]
            assert [study["study_name"] for study in studies] == ["run 1", "another"]
            study = json.loads(asked(f"{base}/api/studies/1"))
            assert study["objective_names"] == ["validation_loss", "latency_ms"]
            assert len(study["trials"]) == 2
            assert [picture["filename"] for picture in study["artifacts"]] == ["preview.gif"]
            name = study["artifacts"][0]["artifact_id"]
            assert asked(f"{base}/artifacts/1/{name}") == PIXEL
    assert len(list((run / "artifacts").iterdir())) == 1


def test_what_is_no_run_is_said_in_a_line(call: Call, run: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    (tmp_path / "empty").mkdir()
    shutil.copytree(run, tmp_path / "begun")
    (tmp_path / "begun" / "study.db").unlink()
    for words, said in {
        ("nowhere",): "nowhere: no such run folder",
        ("empty",): "empty: is no run folder",
        ("begun",): "begun: its search has not begun",
        ("run", "--host", "192.0.2.1"): "--host 192.0.2.1 --port 8080: cannot listen there",
        ("run", "--storage", "sqlite:////nowhere/a.db"): "cannot be opened",
    }.items():
        code, out, err = call("dashboard", *words)
        assert (code, out) == (2, ""), err
        assert said in err
        assert len(err.strip().splitlines()) == 1


def test_without_optuna_dashboard_a_line_says_what_to_install(
    call: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    code, _, err = call("dashboard", str(run))
    assert code == 2
    assert "pip install 'temporal-nas[dashboard]'" in err
