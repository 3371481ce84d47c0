"""A stranger's task: her space, her functions, her table, from the command line and from Python."""

# ruff: noqa: PD011 (values of networks, not of frames)

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import own_task
import pandas as pd
import pytest
from conftest import Call, Made
from processes import kill_when
from runs import NAS

import nas
from nas.costs.named_costs import NamedCosts
from nas.costs.traced_costs import TracedCosts
from nas.costs.traces import Traces
from nas.task.tracing import traces_of
from search_spaces import Choice, InputError, SearchSpace

HERE = Path(__file__).parent
ACCURACY = ["--evaluate", "own_task:accuracy", "--objectives", "accuracy_pct:max,latency_ms"]
NETWORK = ["--build", "own_task:build", "--shape", "1,3,32,32"]


@pytest.fixture(scope="session")
def phone(made_once: Made) -> Path:
    """A device that was calibrated on half of the space's networks, measured on some phone."""

    def calibrated(folder: Path) -> None:
        rows = []
        for number, architecture in enumerate(own_task.SPACE.enumerate()):
            depth, width, kernel = (float(architecture[n]) for n in ("depth", "width", "kernel"))
            ms = 0.3 + 0.5 * depth + 0.1 * width + 0.4 * kernel
            if number % 2:
                rows.append({**architecture, "latency_ms": round(ms, 4)})
        pd.DataFrame(rows).to_csv(folder / "phone.csv", index=False)
        (folder / "cnn.json").write_text(json.dumps(own_task.SPACE.to_json()))
        done = subprocess.run(
            [*NAS, "calibrate", "phone.csv", "--space", "cnn.json", "--out", "phone.json"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return made_once("phone", calibrated)


@pytest.fixture(scope="session")
def run(made_once: Made, phone: Path) -> Path:
    """What `nas search` leaves of a space, a table and a function alone; only to be read."""

    def search(folder: Path) -> None:
        done = subprocess.run(
            [
                *NAS, "search", "--space", str(phone / "cnn.json"), "--device",
                str(phone / "phone.json"), *ACCURACY, "--latency-ms", "4.9", "--trials", "20",
                "--out", "run", "--json",
            ],
            cwd=folder, env={**os.environ, "PYTHONPATH": path()}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (folder / "said.json").write_text(done.stdout)

    return made_once("own-run", search) / "run"


def path() -> str:
    """Where a process finds the task, beside the toolkit."""
    return os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])


def results(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "run.json").read_text())["results"]
    return found


def test_a_table_and_a_function_are_enough(run: Path, phone: Path) -> None:
    said = json.loads((run.parent / "said.json").read_text())
    trials = pd.read_csv(run / "trials.csv")
    assert len(trials) == 20
    assert set(trials) == {
        *("trial", "strategy", "seed", "depth", "width", "kernel", "act"),
        *("accuracy_pct", "latency_ms"),
    }
    assert (trials["latency_ms"] <= 4.9).all()
    costs = NamedCosts(own_task.SPACE, nas_device(phone))
    inside = [a for a in own_task.SPACE.enumerate() if costs.latencies_ms([a])[0] <= 4.9]
    best = max(own_task.accuracy(a) for a in inside)
    assert said["values"]["accuracy_pct"] == pytest.approx(best), "of 108 networks, 20 are enough"
    assert said["winner"] == json.loads((run / "architecture.json").read_text())["choices"]
    assert said["pipeline"]["low_ms"] < said["latency_ms"] < said["pipeline"]["high_ms"]
    assert {row["network"] for row in said["compared"]} >= {"winner", "best random pick"}
    html = (run / "report.html").read_text()
    assert "accuracy (%)" in html
    assert "clip" not in html.replace("clip-path", ""), "a single-pass network has no clips"
    for picture, begins in (("pareto.png", b"\x89PNG"), ("pareto.svg", b"<?xml")):
        assert (run / picture).read_bytes().startswith(begins)
    assert not (run / "bundle").exists(), "there is nothing that builds the network"


def nas_device(phone: Path) -> object:
    from latency import load_device

    return load_device(str(phone / "phone.json"))


def test_python_and_the_command_line_find_the_same(run: Path, phone: Path, tmp_path: Path) -> None:
    task = nas.Task(own_task.SPACE, own_task.accuracy, own_task.OBJECTIVES)
    found = nas.search(
        tmp_path / "run", task, device=str(phone / "phone.json"),
        at_most={"latency_ms": 4.9}, trials=20,
    )  # fmt: skip
    assert (tmp_path / "run" / "trials.csv").read_text() == (run / "trials.csv").read_text()
    assert found.summary["winner"] == results(run)["winner"]
    assert found.winner.values[0] == own_task.accuracy(found.winner.architecture)


@pytest.mark.slow
def test_a_search_without_modules_imports_no_torch(phone: Path, tmp_path: Path) -> None:
    words = ["search", "--space", str(phone / "cnn.json"), "--device", str(phone / "phone.json")]
    words += [*ACCURACY, "--trials", "3", "--out", "run"]
    code = (
        f"import sys; sys.argv = ['nas', *{words!r}]\nfrom nas.cli import app\n"
        "app(standalone_mode=False, prog_name='nas')\n"
        "assert not {'torch', 'supernet', 'coremltools', 'ray'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path()},
        check=True, capture_output=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "has no U-Net to put blocks in, so nothing is known of its networks; give what says"),
        (["--evaluate", "own_task:text"], "evaluate returned a str for accuracy_pct; return a num"),
        (["--evaluate", "own_task:two"], "evaluate returned 2 numbers for 1 objectives (accuracy"),
        (["--evaluate", "own_task:unitless"], "evaluate found 'acc', a name without a unit; spell"),
        (["--evaluate", "own_task:other"], "found top5_pct, and the search needs accuracy_pct"),
        (["--evaluate", "own_task:broken"], "tried 3 times; the last, "),
        (["--evaluate", "own_task:nowhere"], "own_task has no 'nowhere'"),
        (["--evaluate", "own_task:SPACE"], "--evaluate: a SearchSpace is not callable"),
        (["--task", "own_task:SPACE"], "is a SearchSpace; name a nas.Task"),
        ([*ACCURACY, "--recipe", "fair"], "--recipe is of the main job"),
        ([*ACCURACY, "--build", "own_task:build"], "--build without --shape"),
        ([*ACCURACY, "--params", "1000"], "needs the networks themselves, which are known by name"),
        (
            [*ACCURACY, "--latency-ms", "1"],
            "is below the fastest network: depth=2 width=8 kernel=3",
        ),
        ([*ACCURACY, "--fidelity", "images=9"], "whole numbers, two or more, as cl"),
        ([*ACCURACY, "--limit-bound", "lower"], "--limit-bound lower: is neither"),
        ([*ACCURACY, "--device", "iphone-13"], "knows what operations cost, and nothing of the"),
        ([*ACCURACY, "--device", "host"], "to measure this machine, networks must be built"),
        ([*ACCURACY, "--objectives", "accuracy:max"], "--objectives accuracy: has no unit"),
        ([*ACCURACY, "--objectives", "latency_ms:max"], "is a cost, of which less is better"),
        ([*ACCURACY, "--objectives", "latency_ms"], "what is to be found out must be one of them"),
    ],
)
def test_bad_input_is_one_line(call: Call, phone: Path, arguments: list[str], said: str) -> None:
    words = ["search", "--space", str(phone / "cnn.json"), "--out", "run", "--trials", "4"]
    if "--device" not in arguments:
        words += ["--device", str(phone / "phone.json")]
    if "--objectives" not in arguments:
        words += ["--objectives", "accuracy_pct:max,latency_ms"]
    code, _, err = call(*words, *arguments)
    assert code == 2
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_device_that_knows_other_choices_is_refused(phone: Path, tmp_path: Path) -> None:
    wider = SearchSpace("wider", [*own_task.SPACE.choices, Choice("pool", ("avg", "max"))])
    task = nas.Task(wider, own_task.accuracy, own_task.OBJECTIVES)
    with pytest.raises(InputError, match="calibrate one on a table of this space"):
        nas.search(tmp_path / "run", task, device=str(phone / "phone.json"))
    assert not (tmp_path / "run").exists()


def test_no_evaluation_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="how good a network is; give a function, `evaluate=`"):
        nas.search(tmp_path / "run", nas.Task(own_task.SPACE, objectives=["accuracy_pct:max"]))
    with pytest.raises(InputError, match="what is traded off is not said"):
        nas.search(tmp_path / "run", nas.Task(own_task.SPACE, own_task.accuracy))
    with pytest.raises(InputError, match="needs a device that predicts it"):
        nas.search(
            tmp_path / "run", nas.Task(own_task.SPACE, own_task.accuracy, ["accuracy_pct:max"]),
            at_most={"latency_ms": 3},
        )  # fmt: skip
    with pytest.raises(InputError, match="which are on what is known before"):
        nas.search(
            tmp_path / "run", nas.Task(own_task.SPACE, own_task.accuracy, ["accuracy_pct:max"]),
            at_most={"top5_pct": 3},
        )  # fmt: skip


def test_evaluations_that_fail_for_some_are_left_out(tmp_path: Path) -> None:
    task = nas.Task(own_task.SPACE, own_task.sometimes, ["accuracy_pct:max"])
    found = nas.search(tmp_path / "run", task, trials=20)
    assert len(found.evaluated) == 20
    for network in found.evaluated:
        assert network.architecture["kernel"] != 7
        assert network.architecture["act"] != "none"
    with pytest.raises(FloatingPointError, match="accuracy_pct is nan"):
        nas.search(tmp_path / "nan", task.asked_for(evaluate=own_task.nan), trials=20)


def test_named_numbers_may_be_several_objectives(tmp_path: Path) -> None:
    task = nas.Task(own_task.SPACE, own_task.several, ["accuracy_pct:max", "top5_pct:max"])
    found = nas.search(tmp_path / "run", task, trials=8, strategy="tpe")
    for network in found.evaluated:
        assert network.values[1] == network.values[0] + 5
    assert "top5 (%)" in (tmp_path / "run" / "report.html").read_text()


def test_a_fidelity_is_used(tmp_path: Path) -> None:
    task = nas.Task(
        own_task.SPACE, own_task.noisy, ["accuracy_pct:max"], fidelity={"images": (50, 5000)}
    )
    found = nas.search(tmp_path / "run", task, trials=30)
    seen = [row["seen"][0] for row in found.summary["finalists"]]
    assert len(seen) >= 4, "the best are seen fully"
    assert seen == sorted(seen, reverse=True)
    assert found.winner.values[0] == seen[0]
    assert seen[0] == own_task.noisy(found.winner.architecture, images=5000)
    assert found.summary["compared"][0]["values"]["accuracy_pct"] == seen[0]
    with pytest.raises(InputError, match="evaluate takes no argument of that name"):
        task.asked_for(fidelity={"epochs": (1, 2)})
    with pytest.raises(InputError, match="begun with fidelity"):
        nas.search(tmp_path / "run", task.asked_for(fidelity={}), trials=30, resume=True)


@pytest.mark.long
def test_a_killed_search_of_a_slow_function_loses_nothing(tmp_path: Path, phone: Path) -> None:
    asked = tmp_path / "asked"
    words = [
        *NAS, "search", "--space", str(phone / "cnn.json"), "--evaluate", "own_task:slow",
        "--objectives", "accuracy_pct:max", "--trials", "8", "--out", "run", "--resume",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": path(), "ASKED": str(asked)}
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    kill_when(process, lambda: asked.exists() and len(asked.read_text().split()) >= 4)
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(tmp_path / "run" / "trials.csv")) == 8
    digests = asked.read_text().split()
    again = len(digests) - len(set(digests))
    assert again <= 1, "only what was running when it was killed is asked again"
    other = subprocess.run(
        [*words, "--seed", "5"], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert other.returncode == 2
    assert "was begun with seed 0, not 5" in other.stderr


@pytest.mark.long
def test_workers_find_what_one_process_finds(run: Path, phone: Path, tmp_path: Path) -> None:
    task = nas.Task(own_task.SPACE, own_task.accuracy, own_task.OBJECTIVES)
    found = nas.search(
        tmp_path / "run", task, device=str(phone / "phone.json"), at_most={"latency_ms": 4.9},
        trials=20, workers=nas.Workers(2),
    )  # fmt: skip
    for network in found.evaluated:
        assert network.values[0] == own_task.accuracy(network.architecture)
    assert found.winner.values[0] == results(run)["values"]["accuracy_pct"]  # type: ignore[index]


@pytest.fixture(scope="module")
def traces() -> Traces:
    found = traces_of(own_task.TASK)
    assert found is not None
    found.begin()
    return found


@pytest.mark.slow
def test_traced_costs_are_exact_for_what_was_traced_and_near_for_the_rest(traces: Traces) -> None:
    from latency import load_device, trace_built
    from latency.tracing.building import input_shapes

    device = load_device("iphone-13")
    costs = TracedCosts(traces, device)
    assert own_task.SPACE.size > len(traces.first), "some are guessed"
    rest = [a for a in own_task.SPACE.enumerate() if a not in set(traces.first)]
    guessed = costs.sizes["parameters_count"](rest)
    for architecture, guess in zip(rest[:12], guessed, strict=False):
        workload = trace_built(
            lambda each=architecture: own_task.build(each), input_shapes("1,3,32,32")
        )
        assert workload.parameters is not None
        assert guess == pytest.approx(workload.parameters, rel=0.3)
        assert traces.settle(architecture)
        assert costs.sizes["parameters_count"]([architecture])[0] == workload.parameters
        predicted = device.predict(workload)
        assert costs.latencies_ms([architecture])[0] == predicted.latency_ms
        assert costs.upper_ms([architecture])[0] == predicted.high_ms


@pytest.mark.long
def test_a_network_is_priced_searched_bundled_and_exported(call: Call, tmp_path: Path) -> None:
    code, out, err = call(
        "search", "--task", "own_task:make", "--device", "iphone-13", "--params", "12000",
        "--limit-bound", "upper", "--latency-ms", "2", "--trials", "10", "--out", "run",
    )  # fmt: skip
    assert code == 0, err
    assert "its upper bound counts" in out
    found = results(tmp_path / "run")
    assert found["network"]["parameters"] <= 12000  # type: ignore[index]
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert (trials["parameters_count"] <= 12000).all()
    assert {"memory_mb", "flops_count"} <= set(trials)
    html = (tmp_path / "run" / "report.html").read_text()
    assert "costliest operations" in html
    assert "the upper 90% bound of a prediction" in html
    code, out, err = call("export", "run/bundle", "--to", "coreml", "--out", "net.mlpackage")
    assert code == 0, err
    assert "the task's own" in out
    assert call("lint", "net.mlpackage")[0] == 0
    assert call("predict", "--device", "iphone-13", "--model", "net.mlpackage")[0] == 0
    assert "bundle of a network" in call("show", "run/bundle")[1]


@pytest.mark.long
def test_a_bundle_answers_as_the_network_does(tmp_path: Path) -> None:
    import torch

    from temporal_bundle import open_network
    from temporal_bundle.closeness import check_close

    nas.search(tmp_path / "run", own_task.make(), device="iphone-13", trials=3)
    opened = open_network(tmp_path / "run" / "bundle")
    choices = json.loads((tmp_path / "run" / "bundle" / "architecture.json").read_text())
    architecture = own_task.SPACE.architecture(choices["choices"])
    network = own_task.build(architecture)
    network.load_state_dict(own_task.weights(architecture))
    (x_NCHW,) = opened.example_inputs()
    with torch.no_grad():
        check_close(opened.network(opened.weights())(x_NCHW), network.eval()(x_NCHW))


@pytest.mark.slow
def test_builds_that_fail_for_some_architectures_are_never_proposed(tmp_path: Path) -> None:
    task = own_task.TASK.asked_for(
        build=own_task.picky, evaluate=own_task.greedy, objectives=["accuracy_pct:max"]
    )
    found = nas.search(tmp_path / "run", task, trials=12)
    assert (tmp_path / "run" / "bundle" / "bundle.json").exists()
    assert all(network.architecture["kernel"] != 7 for network in found.evaluated)
    with pytest.raises(InputError, match="networks cannot be built; the last: .*no such layer"):
        nas.search(tmp_path / "no", task.asked_for(build=own_task.unbuildable), trials=12)
    assert not (tmp_path / "no").exists()


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files but the database, which its readers lock."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith("study.db")
    }


def test_any_other_trial_is_handed_over(run: Path, phone: Path, call: Call) -> None:
    before = contents(run)
    other = next(t for t in results(run)["front"] if t != results(run)["winner_trial"])  # type: ignore[attr-defined]
    words = ["bundle", str(run), "--trial", str(other), "--out", "other"]
    task = ["--space", str(phone / "cnn.json"), "--evaluate", "own_task:accuracy"]
    code, _, err = call(*words, *task)
    assert code == 0, err
    row = pd.read_csv(run / "trials.csv").set_index("trial").loc[other]
    held = json.loads(Path("other/architecture.json").read_text())["choices"]
    assert held == {name: row[name] for name in held}
    html = Path("other/report.html").read_text()
    assert f"{row['accuracy_pct']:.5g}" in html
    latency = json.loads(Path("other/latency.json").read_text())
    assert latency["pipeline_ms"] == pytest.approx(row["latency_ms"])
    assert contents(run) == before, "the run stays as it is"
    assert "the network that won" not in html.split("</h1>")[0]
    assert f"trial {other}" in html.split("</h1>")[0]
    for arguments, said in (
        (words, "other: exists; choose another folder"),
        ([*words[:3], "99", "--out", "new"], "has no finished trial 99; on its front are"),
    ):
        code, _, err = call(*arguments, *task)
        assert code == 2
        assert said in err
    code, _, err = call("bundle", str(run), "--trial", "1", "--out", "new")
    assert code == 2
    assert "was a search of another task" in err


@pytest.mark.long
def test_a_trial_of_the_main_job_is_handed_over(finished_run: Path, call: Call) -> None:
    from nas import Bundle

    trials = pd.read_csv(finished_run / "trials.csv").set_index("trial")
    trial = int(next(t for t in trials.index if t != results(finished_run)["winner_trial"]))
    code, _, err = call("bundle", str(finished_run), "--trial", str(trial), "--out", "other")
    assert code == 0, err
    held = Bundle.load("other").architecture()
    told = trials.loc[trial].dropna()
    assert all(told[name] == option for name, option in held.items())


@pytest.mark.long
def test_measured_networks_of_a_task_make_a_device(call: Call) -> None:
    code, _, err = call("profile", "--task", "own_task:TASK", "--networks", "12", "--out", "n.csv")
    assert code == 0, err
    built = ["--space", "cnn.json", "--build", "own_task:build", "--shape", "1,3,32,32"]
    Path("cnn.json").write_text(json.dumps(own_task.SPACE.to_json()))
    code, out, err = call("calibrate", "n.csv", *built, "--out", "me.json", "--json")
    assert code == 0, err
    assert json.loads(out)["validation"]["networks"] == 12
    predict = ["predict", "--device", "me.json", "--architectures", "n.csv", "--json"]
    code, out, err = call(*predict, *built)
    assert code == 0, err
    predicted = [each["latency_ms"] for each in json.loads(out)["predictions"]]
    measured = pd.read_csv("n.csv")["latency_ms"]
    answered = sum(
        p == pytest.approx(m, rel=1e-6) for p, m in zip(predicted, measured, strict=True)
    )
    assert answered >= 6, "what was measured is answered; networks that run alike share a time"
    code, out, err = call("costs", "--device", "me.json", *built, "--json")
    assert code == 0, err
    assert json.loads(out)["networks"]["parameters_count"]["least"] > 0
    code, _, err = call("costs", "--device", "me.json", "--space", "cnn.json")
    assert code == 2
    assert "give what builds the networks, --build" in err


def test_a_cell_is_priced_as_its_networks_are_predicted(tmp_path: Path) -> None:
    import latency
    from nas.costs.workloads import workload_of
    from search_spaces import load

    cell = load(str(HERE.parents[1] / "examples" / "nas_bench_201" / "cell.json"))
    rng = np.random.default_rng(0)
    drawn = [cell.sample(rng) for _ in range(60)]
    times = {"nor_conv_3x3": 3.0, "nor_conv_1x1": 1.5, "avg_pool_3x3": 0.7}
    seen = [
        latency.Measurement(
            workload_of(cell, each, None),
            1.0 + sum(times.get(str(option), 0.2) for option in each.values()),
        )
        for each in drawn
    ]
    device = latency.calibrate(seen, "phone")
    costs = NamedCosts(cell, device)
    fresh = [cell.sample(rng) for _ in range(40)]
    predicted = device.predict_all([workload_of(cell, each, None) for each in fresh])
    for name, found in (
        ("latency_ms", costs.latencies_ms(fresh)),
        ("high_ms", costs.upper_ms(fresh)),
    ):
        assert found == pytest.approx([getattr(each, name) for each in predicted], rel=1e-4)
    device.save(tmp_path / "phone.json")
    task = nas.Task(cell, lambda each: float(len(each)), ["error_pct", "latency_ms"])
    result = nas.search(tmp_path / "run", task, device=str(tmp_path / "phone.json"), trials=20)
    networks = {each.architecture for each in result.evaluated}
    assert len(networks) == 20, "spellings of one network are one"
