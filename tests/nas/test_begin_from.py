"""A search that begins where others ended: `--from RUN`, on what searches leave."""

import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import own_task
import pandas as pd
import pytest
from conftest import Call, Made
from processes import kill_when, wait_until
from runs import CLIPS, NAS
from test_task import contents, path

import nas
from search_spaces import Architecture, Choice, InputError, SearchSpace

COSTS = {  # of two phones: what a layer, a channel and a step of the kernel add, in ms
    "wide": (0.5, 0.1, 0.4),
    "deep": (0.2, 0.12, 0.5),
}
ACCURACY = ["--evaluate", "own_task:accuracy", "--objectives", "accuracy_pct:max,latency_ms"]


@pytest.fixture(scope="session")
def phones(made_once: Made) -> Path:
    """Two devices on which other networks are fast, and the space."""

    def calibrated(folder: Path) -> None:
        (folder / "cnn.json").write_text(json.dumps(own_task.SPACE.to_json()))
        for name, (layer, channel, kernel) in COSTS.items():
            rows = [
                {
                    **each,
                    "latency_ms": 0.3
                    + layer * float(each["depth"])
                    + channel * float(each["width"])
                    + kernel * float(each["kernel"]),
                }
                for each in list(own_task.SPACE.enumerate())[::2]
            ]
            pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
            searched(
                folder, "calibrate", f"{name}.csv", "--space", "cnn.json", "--out", f"{name}.json"
            )

    return made_once("two-phones", calibrated)


@pytest.fixture(scope="session")
def first(made_once: Made, phones: Path) -> Path:
    """What a search on the first phone left; only to be read."""

    def search(folder: Path) -> None:
        searched(folder, *words(phones, "wide"), "--trials", "24", "--out", "first")

    return made_once("first-phone", search) / "first"


def words(phones: Path, device: str, latency_ms: str = "75%") -> list[str]:
    """A search on a phone."""
    named = ["--space", str(phones / "cnn.json"), "--device", str(phones / f"{device}.json")]
    return ["search", *named, *ACCURACY, "--latency-ms", latency_ms]


def searched(folder: Path, *arguments: str) -> str:
    """Run the command line in a folder; what it printed comes back."""
    done = subprocess.run(
        [*NAS, *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": path()},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def best(run: Path) -> float:
    """The best accuracy of a run's search."""
    return float(pd.read_csv(run / "trials.csv")["accuracy_pct"].max())


def test_the_second_phone_takes_half_of_the_evaluations(
    call: Call, phones: Path, first: Path
) -> None:
    before = contents(first) | {"study.db": (first / "study.db").read_bytes()}
    assert call(*words(phones, "deep"), "--trials", "24", "--out", "cold")[0] == 0
    code, out, err = call(
        *words(phones, "deep"), "--trials", "12", "--out", "warm", "--from", str(first)
    )
    assert code == 0, err
    assert best(Path("warm")) >= best(Path("cold"))
    found = json.loads(Path("warm/run.json").read_text())
    assert found["settings"]["begin_from"] == ["first"]
    (began,) = found["results"]["began_from"]
    assert began["name"] == "first"
    assert began["networks"] > 24, "its random picks teach, too"
    assert began["tau"] > 0.8
    assert began["weight"] > 0.8
    assert f"began from first: {began['networks']} networks" in out
    assert "began from first" in Path("warm/report.html").read_text()
    assert contents(first) | {"study.db": (first / "study.db").read_bytes()} == before
    assert not list(first.glob("study.db-*")), "what is at rest is left without a trace"


def test_python_and_the_command_line_begin_alike(
    call: Call, phones: Path, first: Path, tmp_path: Path
) -> None:
    flags = ["--trials", "10", "--out", "run", "--from", str(first)]
    assert call(*words(phones, "deep"), *flags)[0] == 0
    task = nas.Task(own_task.SPACE, own_task.accuracy, own_task.OBJECTIVES)
    nas.search(
        tmp_path / "same", task, device=str(phones / "deep.json"), at_most={"latency_ms": "75%"},
        trials=10, begin_from=first,
    )  # fmt: skip
    same = (tmp_path / "same" / "trials.csv").read_text()
    assert same == (tmp_path / "run" / "trials.csv").read_text()


def flattering(architecture: Architecture, images: int = 400) -> float:
    """Few images flatter all networks by as much, and tell little."""
    unlucky = np.random.default_rng(int(architecture.digest[:8], 16)).normal()
    return own_task.accuracy(architecture) + (400 / images - 1) + 10 * unlucky / math.sqrt(images)


def test_a_race_teaches_what_full_looks_should_find(tmp_path: Path) -> None:
    task = nas.Task(
        own_task.SPACE, flattering, ["accuracy_pct:max"], fidelity={"images": (25, 100, 400)}
    )
    nas.search(tmp_path / "raced", task, trials=12)
    nas.search(tmp_path / "run", task, trials=3, begin_from=[tmp_path / "raced"])
    (read,) = json.loads((tmp_path / "run" / "earlier.json").read_text())["runs"]
    networks = [own_task.SPACE.architecture(each) for each in read["networks"]]
    assert len(networks) > 24, "most were seen on few images"
    apart = np.array([own_task.accuracy(n) for n in networks]) - read["quality"]
    assert abs(apart.mean()) < 2, "the first look flatters by 15"
    assert abs(apart).max() < 6, "by the closest looks of levels mixed, 15"
    rows = pd.read_csv(tmp_path / "raced" / "trials.csv")
    names = [choice.name for choice in own_task.SPACE.choices]
    seen = {
        own_task.SPACE.architecture({name: row[name] for name in names}): row
        for row in rows.to_dict("records")
    }
    full = [(seen[n], q) for n, q in zip(networks, read["quality"], strict=True) if n in seen]
    full = [(row, quality) for row, quality in full if row["images_count"] == 400]
    assert full
    for row, quality in full:
        assert quality == pytest.approx(row["accuracy_pct"])


@pytest.mark.parametrize("strategy", ["tpe", "random"])
def test_a_plain_sampler_begins_with_the_best(
    phones: Path, first: Path, tmp_path: Path, strategy: str
) -> None:
    task = nas.Task(own_task.SPACE, own_task.accuracy, own_task.OBJECTIVES)
    found = nas.search(
        tmp_path / "run", task, device=str(phones / "wide.json"), at_most={"latency_ms": "75%"},
        trials=10, strategy=strategy, begin_from=[first],
    )  # fmt: skip
    assert -found.winner.loss >= best(first)
    assert found.summary["winner_origin"] == "search", "random picks begin from nothing"


def test_what_misleads_gets_no_weight(phones: Path, tmp_path: Path) -> None:
    task = nas.Task(own_task.SPACE, own_task.arbitrary, own_task.OBJECTIVES)
    asked = {"device": str(phones / "deep.json"), "at_most": {"latency_ms": "75%"}}
    nas.search(tmp_path / "misleading", task, trials=30, **asked)
    true = task.asked_for(evaluate=own_task.accuracy)
    cold = nas.search(tmp_path / "cold", true, trials=24, **asked)
    found = nas.search(
        tmp_path / "run", true, trials=30, begin_from=[tmp_path / "misleading"], **asked
    )
    assert found.summary["began_from"][0]["weight"] < 0.3
    assert best(tmp_path / "run") >= -cold.winner.loss - 0.5


def test_another_space_is_refused_by_what_differs(
    call: Call, phones: Path, first: Path, tmp_path: Path
) -> None:
    depth, _, kernel, _ = own_task.SPACE.choices
    other = SearchSpace(
        "small_cnn", [depth, Choice("width", (8, 12, 20)), kernel, Choice("pool", ("avg", "max"))]
    )
    task = nas.Task(other, lambda each: float(each["depth"]), ["accuracy_pct:max"])
    with pytest.raises(InputError) as refused:
        nas.search(tmp_path / "run", task, begin_from=[first])
    said = str(refused.value)
    assert said.startswith(f"{first}: was a search of another space: ")
    assert "choice 'width' has options 8, 12, 16, 24, here options 8, 12, 20" in said
    assert "choice 'pool' is missing" in said
    assert "choice 'act' is not here" in said
    assert not (tmp_path / "run").exists(), "the same command may be given again, mended"
    renamed = SearchSpace("cnn", own_task.SPACE.choices)
    task = nas.Task(renamed, own_task.accuracy, ["accuracy_pct:max"])
    with pytest.raises(InputError, match="another space: its name is 'small_cnn', here 'cnn'"):
        nas.search(tmp_path / "run", task, begin_from=[first])
    del call, phones


def test_what_cannot_be_begun_from_is_one_line(
    call: Call, phones: Path, first: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    empty = tmp_path / "unfinished"
    shutil.copytree(first, empty)
    (empty / "study.db").unlink()
    other = ["--evaluate", "own_task:several", "--objectives", "top5_pct:max,latency_ms"]
    cases = [
        (["--from", "nowhere"], "nowhere: is no folder of a search, as it lacks run.json"),
        (["--from", "empty"], "empty: is no folder of a search"),
        (["--from", "unfinished"], "cannot be read: no such file"),
        (["--from", "out"], "out: a search cannot begin from itself; go on by --resume"),
        ([*other, "--from", str(first)], "found accuracy_pct (more is better), latency_ms (less"),
    ]
    for arguments, said in cases:
        code, _, err = call(*words(phones, "deep"), "--out", "out", *arguments)
        assert code == 2, said
        assert said in err.splitlines()[-1]
        assert "Traceback" not in err
        assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_a_search_begins_from_one_that_runs_and_goes_on_when_it_is_gone(
    phones: Path, tmp_path: Path
) -> None:
    """The first still runs; the second is killed; the first is gone when it goes on."""

    def started(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": path(), "ASKED": str(tmp_path / f"{name}.txt")}
        command = [*NAS, *words(phones, "wide"), "--evaluate", "own_task:slow", "--out", name]
        return subprocess.Popen(
            [*command, *arguments], cwd=tmp_path, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def asked(name: str) -> list[str]:
        file = tmp_path / f"{name}.txt"
        return file.read_text().split() if file.exists() else []

    first = started("first", "--trials", "14")
    wait_until(first, lambda: len(asked("first")) >= 6)
    second = ["--trials", "12", "--from", "first", "--seed", "3", "--resume"]
    kill_when(started("second", *second), lambda: len(asked("second")) >= 10)
    _, err = first.communicate()
    assert first.returncode == 0, err
    shutil.rmtree(tmp_path / "first")
    again = started("second", *second)
    _, err = again.communicate()
    assert again.returncode == 0, err
    assert len(pd.read_csv(tmp_path / "second" / "trials.csv")) == 12
    kept = json.loads((tmp_path / "second" / "earlier.json").read_text())
    assert len(kept["runs"][0]["networks"]) >= 5
    another = started("second", *second[:2], "--seed", "3", "--resume")
    assert b"was begun with begin_from ['first'], not []" in another.communicate()[1]


@pytest.mark.long
@pytest.mark.kernels
def test_the_main_job_begins_from_another_and_says_no_path(
    call: Call, finished_run: Path, device_file: Path, supernet_file: Path
) -> None:
    code, out, err = call(
        "search", "--device", str(device_file), "--supernet", str(supernet_file), "--from",
        str(finished_run), "--latency-ms", "50%", "--trials", "5", "--winner-steps", "0",
        "--finalists", "1", "--out", "warm", *CLIPS,
    )  # fmt: skip
    assert code == 0, err
    assert f"began from {finished_run.name}: " in out
    study = json.loads(Path("warm/bundle/bundle.json").read_text())["study"]
    assert study["settings"]["begin_from"] == [finished_run.name]
    assert str(finished_run.parent) not in Path("warm/bundle/bundle.json").read_text()
