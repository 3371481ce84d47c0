"""The main job as a person runs it: real processes, real files, real kills."""

import hashlib
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import torch
from conftest import Call
from PIL import Image
from processes import kill_when
from runs import NAS, SMALL

import latency
import nas as nas_api
from nas.costs.block_costs import layout
from nas.study.storage import sqlite
from search_spaces import (
    CONV1D,
    SELF_ATTENTION_1D,
    TemporalSpace,
    UNetShape,
    read_table,
    temporal_space,
)
from supernet import TrainingPlan, VideoUNet, load_supernet
from temporal_bundle.closeness import check_close

pytestmark = pytest.mark.slow
TINY = temporal_space("tiny", UNetShape(1, (8, 16), 4, 16, 16, 2, 10), (CONV1D, SELF_ATTENTION_1D))
TRAINING = ["--image-steps", "60", "--video-steps", "60"]


def nas(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NAS, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def run(finished_run: Path) -> Path:
    return finished_run


def test_a_run_leaves_its_files(run: Path, space: TemporalSpace) -> None:
    names = {path.name for path in run.iterdir()}
    assert {"study.db", "trials.csv", "pareto.png", "report.html", "bundle", "run.json"} <= names
    table = read_table(run / "trials.csv", space)
    assert len(set(table.architectures)) == 6
    study = optuna.load_study(study_name=study_name(run), storage=sqlite(run / "study.db"))
    complete = [t for t in study.trials if t.values]
    assert sorted(table.metric("validation_loss")) == pytest.approx(
        sorted(t.values[0] for t in complete)
    )
    summary = json.loads((run / "run.json").read_text())["results"]
    race = summary["finalists"]
    first = race["standings"][0]
    assert (first["origin"], first["trial"]) == (summary["winner_origin"], summary["winner_trial"])
    assert race["clips"] == sum(row["clips"] for row in race["standings"]) <= 7 * 64
    assert race["decided"] == all(row["dropped"] for row in race["standings"][1:])
    assert all(t.values[1] <= summary["budget_ms"] for t in complete)
    best = space.read_architecture(run / "bundle" / "architecture.json")
    assert summary["winner"] == layout(space, best)
    with Image.open(run / "pareto.png") as picture:
        assert picture.size[0] > 600
    with Image.open(run / "bundle" / "preview.gif") as preview:
        assert preview.n_frames == 8  # type: ignore[attr-defined]
        assert preview.size[0] > 4 * 150, "four clips beside each other, large enough to read"


def test_whoever_found_the_best_network_may_win(run: Path, space: TemporalSpace) -> None:
    results = json.loads((run / "run.json").read_text())["results"]
    found = {}  # by who proposed it, and its trial
    for origin in ("search", "random"):
        name = study_name(run).replace(": search", f": {origin}")
        study = optuna.load_study(study_name=name, storage=sqlite(run / "study.db"))
        for trial in study.trials:
            if trial.values:
                found[origin, trial.number] = trial.values[0], space.architecture(trial.params)
    racing = {
        found[row["origin"], row["trial"]][1]: row
        for row in results["finalists"]["standings"]
        if row["origin"] != "uniform"
    }
    for origin in ("search", "random"):
        best = min(each for key, each in found.items() if key[0] == origin)[1]
        assert best in racing, f"the best of {origin} takes part"
    assert {row["origin"] for row in results["finalists"]["standings"]} >= {"search", "random"}
    first = results["finalists"]["standings"][0]
    if first["origin"] != "uniform":
        winner = found[first["origin"], first["trial"]][1]
        assert winner == space.read_architecture(run / "bundle" / "architecture.json")
    html = (run / "report.html").read_text()
    who = {"random": "a random pick", "uniform": "a uniform layout"}
    handed_over = re.search(r"<strong>.* (a [a-z ]+) was handed over.*</strong>", html)
    assert (handed_over[1] if handed_over else None) == who.get(first["origin"])
    assert "Best of" not in html


def test_the_bundle_holds_the_winner_as_it_was_trained_on(
    run: Path, space: TemporalSpace, supernet_file: Path
) -> None:
    from safetensors.torch import load_file

    held = load_file(run / "bundle" / "weights.safetensors")
    trained = load_file(run / "winner.safetensors")
    assert held.keys() == trained.keys()
    assert all(torch.equal(held[name], trained[name]) for name in held)
    best = space.read_architecture(run / "bundle" / "architecture.json")
    inherited = load_supernet(supernet_file, space).extract(best).state_dict()
    assert not any(torch.equal(held[name], inherited[name]) for name in held if "weight" in name)
    manifest = json.loads((run / "bundle" / "bundle.json").read_text())
    assert "then trained on by itself for 4 steps" in manifest["study"]["weights"]


def test_the_report_needs_nothing_else(run: Path) -> None:
    html = (run / "report.html").read_text()
    assert html == (run / "bundle" / "report.html").read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:)", html)
    for words in ("image network", "slowest network", "best random pick", "seconds", "finalists"):
        assert words in html


def test_every_file_of_the_bundle_is_hashed_and_names_no_machine(run: Path) -> None:
    bundle = run / "bundle"
    manifest = json.loads((bundle / "bundle.json").read_text())
    names = {path.name for path in bundle.iterdir()}
    assert names == {*manifest["files"], "bundle.json"}
    for name, digest in manifest["files"].items():
        data = (bundle / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
        assert str(Path.cwd()).encode() not in data, f"{name} holds a path of this machine"
        assert str(run.parent).encode() not in data, f"{name} holds a path of this machine"
    assert not list(run.glob(".bundle*"))


READER = """
import json, sys, torch
from safetensors.torch import load_file, save_file
bundle, tensors = sys.argv[1], load_file(sys.argv[2])
cases = [[tensors[f"{n}.{part}"] for part in range(3)] for n in range(len(tensors) // 3)]
program = torch.export.load(f"{bundle}/denoiser.pt2")
module = program.module()
weights = load_file(f"{bundle}/weights.safetensors")
module.load_state_dict(weights, strict=True, assign=True)
found = [module(*case) for case in cases]
found[0].square().mean().backward()
assert all(p.grad is not None for p in module.parameters()), "not trainable"
features = torch.export.load(f"{bundle}/features.pt2").module()
part = {name: weights[name] for name in features.state_dict()}
features.load_state_dict(part, strict=True, assign=True)
shapes = [[list(f.shape) for f in features(*case)] for case in cases]
ours = {"nas", "latency", "supernet", "search_spaces"} & {m.split(".")[0] for m in sys.modules}
assert not ours, ours
save_file({str(n): f.detach().contiguous() for n, f in enumerate(found)}, sys.argv[3])
print(json.dumps(shapes))
"""


@pytest.mark.kernels
def test_a_bundle_is_read_without_this_toolkit(
    run: Path, space: TemporalSpace, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    cases = [
        (torch.randn(clips, 1, frames, 16, 16), torch.rand(clips), torch.rand(clips, 2, 10))
        for clips, frames in ((2, 8), (1, 8), (3, 1), (5, 3), (1, 16))
    ]
    tensors = {f"{n}.{part}": t for n, case in enumerate(cases) for part, t in enumerate(case)}
    save_file(tensors, tmp_path / "cases.safetensors")
    found_file = tmp_path / "found.safetensors"
    paths = [str(run / "bundle"), str(tmp_path / "cases.safetensors"), str(found_file)]
    # -P and another folder: nothing of this checkout is on the way.
    done = subprocess.run(
        [sys.executable, "-P", "-c", READER, *paths],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results, all_shapes = load_file(found_file), json.loads(done.stdout)
    architecture = space.read_architecture(run / "bundle" / "architecture.json")
    network = VideoUNet(space, architecture)
    network.load_state_dict(load_file(run / "bundle" / "weights.safetensors"))
    with torch.inference_mode():
        for n, (case, shapes) in enumerate(zip(cases, all_shapes, strict=True)):
            check_close(results[str(n)], network(*case), f"clips {case[0].shape}")
            clips, _, frames = case[0].shape[:3]
            assert shapes == [
                [clips, 16, frames, 16, 16], [clips, 32, frames, 8, 8], [clips, 48, frames, 4, 4],
            ]  # fmt: skip


@pytest.mark.long
def test_a_finished_run_resumes_to_the_same(
    run: Path, device_file: Path, supernet_file: Path, call: Call, tmp_path: Path
) -> None:
    run = shutil.copytree(run, tmp_path / "run")
    before = (run / "trials.csv").read_text()
    arguments = ["--device", str(device_file), "--supernet", str(supernet_file), *SMALL]
    code, _, err = call("search", "--out", "run", *arguments)
    assert code == 2
    assert "run: exists; go on with it by --resume" in err
    code, _, err = call("search", "--out", "run", *arguments, "--seed", "5", "--resume")
    assert code == 2
    assert "was begun with" in err
    code, out, err = call("search", "--out", "run", *arguments, "--resume")
    assert code == 0, err
    assert (run / "trials.csv").read_text() == before
    assert re.search(
        r"^The search (beat|lost to|and|is not told apart from) random picks at equal cost",
        out,
        re.MULTILINE,
    )
    assert re.search(r"digits found of those asked for: \d+% in generated", out)


def study_name(run: Path) -> str:
    return f"{json.loads((run / 'run.json').read_text())['study']}: search"


def finished(run: Path) -> dict[int, tuple[float, ...]]:
    """The finished trials of a run."""
    database = run / "study.db"
    if not database.exists() or study_name(run) not in optuna.get_all_study_names(sqlite(database)):
        return {}
    study = optuna.load_study(study_name=study_name(run), storage=sqlite(database))
    return {t.number: tuple(t.values) for t in study.trials if t.values}


def evaluated(run: Path) -> int:
    """How many trials are finished, while another process writes them."""
    try:
        with closing(sqlite3.connect(f"file:{run}/study.db?mode=ro", uri=True)) as database:
            query = "select count(*) from trials where state = 'COMPLETE'"
            return int(database.execute(query).fetchone()[0])
    except sqlite3.OperationalError:  # no such file, or no such table yet
        return 0


@pytest.mark.long
def test_a_run_killed_at_any_moment_loses_no_finished_trial(
    tmp_path: Path, device_file: Path
) -> None:
    arguments = ["search", "--out", "run", "--device", str(device_file), *SMALL, *TRAINING]
    run = tmp_path / "run"
    moments: tuple[Callable[[], bool], ...] = (
        lambda: any(run.glob("*.training.safetensors")),
        lambda: evaluated(run) >= 2,
        lambda: evaluated(run) >= 4,
    )
    kept: dict[int, tuple[float, ...]] = {}
    for moment in moments:
        process = subprocess.Popen(
            [*NAS, *arguments, "--resume"], cwd=tmp_path,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        kill_when(process, moment)
        now = finished(run)
        assert kept.items() <= now.items()
        kept = now
    done = nas(*arguments, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    final = finished(run)
    assert kept.items() <= final.items()
    assert len(final) == 6
    with sqlite3.connect(tmp_path / "run" / "study.db") as database:
        digests = [
            value for (value,) in database.execute(
                "select value_json from trial_user_attributes a join trials t using (trial_id) "
                "join studies s using (study_id) where key = 'architecture' "
                "and state = 'COMPLETE' and study_name = ?",
                (study_name(tmp_path / "run"),),
            )
        ]  # fmt: skip
    assert len(digests) == len(set(digests)) == 6
    assert (tmp_path / "run" / "bundle" / "bundle.json").exists()
    assert not list((tmp_path / "run").glob("*.training.safetensors"))


@pytest.mark.long
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_being_stopped_prints_the_command_that_resumes(
    sent: signal.Signals, tmp_path: Path, device_file: Path
) -> None:
    arguments = ["search", "--out", "my run", "--device", str(device_file), *SMALL]
    long_training = ["--image-steps", "5000", "--video-steps", "10"]
    process = subprocess.Popen(
        [*NAS, *arguments, *long_training], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert any("train the image" in line for line in process.stderr), "it never came so far"
    process.send_signal(sent)
    output, words = process.communicate()
    assert process.returncode == 1
    assert output == ""
    assert "go on with: nas search --out 'my run'" in words
    assert words.strip().endswith("--resume")
    assert "Traceback" not in words


def test_a_budget_below_the_fastest_network_is_refused_before_training(
    tmp_path: Path, device_file: Path, call: Call
) -> None:
    arguments = ["search", "--out", "run", "--device", str(device_file), *SMALL]
    code, _, err = call(*arguments, "--latency-ms", "1.5")
    assert code == 2
    assert "below the fastest network: the image network" in err
    assert re.search(r"takes [\d.]+ ms \(4 steps\) on made-up", err)
    assert not (tmp_path / "run").exists(), "the same command may be given again, mended"
    # In a folder that stays nothing was evaluated yet: it takes another budget, no other change.
    (tmp_path / "run").mkdir()
    assert call(*arguments, "--latency-ms", "1.5")[0] == 2
    mended = [*arguments, "--latency-ms", "80%", "--resume"]
    code, _, err = call(*mended, "--video-steps", "2")
    assert code == 2
    assert "was begun with plan.video_steps" in err
    code, _, err = call(*mended, "--storage", "nosuch://x")
    assert code == 2
    assert "was begun with storage None" in err


@pytest.mark.long
def test_this_machine_is_measured_and_judged(tmp_path: Path, supernet_file: Path) -> None:
    settings = nas_api.Settings(
        supernet=str(supernet_file), trials=3, validation_clips=8, test_clips=8,
        calibration_networks=8, unseen_networks=6, finalist_steps=0, winner_steps=0,
    )  # fmt: skip
    result = nas_api.search(tmp_path / "run", settings)
    unseen = json.loads((tmp_path / "run" / "run.json").read_text())["results"]["unseen"]
    assert len(unseen["measured_ms"]) == len(unseen["predicted_ms"]) == 6
    blocks = read_table(tmp_path / "run" / "measured" / "blocks.csv")
    assert blocks.of_blocks
    assert len(blocks.metric("latency_ms")) == 1 + 5 * 24
    device = latency.read_device(tmp_path / "run" / "device.json")
    assert device.validation is not None
    assert (device.validation.networks, device.validation.how) == (6, "held out")
    rows = {row["network"]: row for row in result.summary["compared"]}
    assert all(row["measured_ms"] > 0 for row in rows.values())
    drift = result.summary["drift"]
    assert drift["anchors"] == 5
    assert 0.1 < drift["ratio"] < 10
    assert rows["slowest network"]["predicted_ms"] > rows["image network"]["predicted_ms"]
    html = (tmp_path / "run" / "report.html").read_text()
    assert "measured again against measured" in html
    assert html.count("data:image/png") == 4


@pytest.mark.long
def test_a_small_space_of_ones_own_without_none(tmp_path: Path) -> None:
    settings = nas_api.Settings(
        space=f"{__name__}:TINY", trials=50, validation_clips=4, test_clips=4, winner_steps=2,
        finalist_steps=4,
        budget=nas_api.Budget("95%"),
        plan=TrainingPlan(image_steps=2, image_clips=1, video_steps=2, video_clips=1),
    )  # fmt: skip
    result = nas_api.search(tmp_path / "run", settings)
    assert 1 <= len(result.evaluated) <= 8
    assert "image network" not in {row["network"] for row in result.summary["compared"]}


@pytest.mark.long
def test_two_processes_do_not_share_a_run(tmp_path: Path, device_file: Path) -> None:
    arguments = ["search", "--out", "run", "--device", str(device_file), "--resume"]
    first = subprocess.Popen([*NAS, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        assert first.stderr is not None
        first.stderr.readline()
        second = nas(*arguments, cwd=tmp_path)
    finally:
        first.kill()
        first.communicate()
    assert second.returncode == 2
    assert "another process is running this search" in second.stderr
