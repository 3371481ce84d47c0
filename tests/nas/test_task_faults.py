"""What may go wrong with a stranger's task, and what is left of the search then."""

# ruff: noqa: PD011 (values of networks, not of frames)

import json
from pathlib import Path
from typing import Any

import own_task
import pandas as pd
import pytest
from conftest import Call

import nas
from nas.costs.traced_costs import TracedCosts
from nas.task.tracing import traces_of
from search_spaces import Architecture, Choice, InputError, SearchSpace

ONE = nas.Task(own_task.SPACE, own_task.accuracy, ["accuracy_pct:max"])


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())["results"]
    return found


@pytest.mark.slow
def test_a_search_ends_with_its_report_whatever_becomes_of_the_winner(tmp_path: Path) -> None:
    task = own_task.TASK.asked_for(build=own_task.undecided, objectives=["accuracy_pct:max"])
    found = nas.search(tmp_path / "run", task, trials=4)
    assert "torch.export cannot take the network" in found.summary["no_bundle"]
    assert any(line.startswith("no bundle: ") for line in found.told.lines)
    html = (tmp_path / "run" / "report.html").read_text()
    assert "No bundle: " in html
    assert "Weights of the bundle" not in html
    assert not (tmp_path / "run" / "bundle").exists()
    mended = task.asked_for(build=own_task.build)
    again = nas.search(tmp_path / "run", mended, trials=4, resume=True)
    assert again.summary["no_bundle"] is None
    assert results(tmp_path / "run")["no_bundle"] is None
    assert (tmp_path / "run" / "bundle" / "bundle.json").exists()


def test_a_space_of_other_options_is_no_resume(tmp_path: Path) -> None:
    task = nas.Task(own_task.SPACE, own_task.accuracy, ["accuracy_pct:max"])
    nas.search(tmp_path / "run", task, trials=3)
    first, *rest = own_task.SPACE.choices
    wider = SearchSpace("small_cnn", [Choice(first.name, (2, 3, 4, 5)), *rest])
    with pytest.raises(InputError, match="was begun with space_digest"):
        nas.search(tmp_path / "run", task.asked_for(space=wider), trials=3, resume=True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"device": []}, "names none"),
        ({"at_most": {"latency_ms": []}}, "gives no limit"),
        ({"at_most": {"parameters_count": float("nan")}}, "is no number above 0"),
        ({"at_most": {"memory_mb": "much"}}, "is no number above 0"),
        ({"objectives": "accuracy_pct:max"}, "give a list of names"),
        ({"objectives": ["accuracy_pct:max", "latency_ms"]}, "known beforehand on a `device=`"),
        ({"objectives": ["accuracy_pct:max", "memory_mb"]}, "known beforehand by a `build=`"),
    ],
)
def test_bad_python_is_one_line(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    task = nas.Task(own_task.SPACE, own_task.accuracy, ["accuracy_pct:max"])
    with pytest.raises(InputError) as caught:
        nas.search(tmp_path / "run", task, trials=3, **changed)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_resuming_changes_nothing_that_is_known(tmp_path: Path) -> None:
    task = own_task.TASK.asked_for(objectives=["accuracy_pct:max", "latency_ms"])
    wanted = {"device": "iphone-13", "at_most": {"parameters_count": 12000}, "trials": 6}
    first = nas.search(tmp_path / "run", task, **wanted)  # type: ignore[arg-type]
    before = (tmp_path / "run" / "trials.csv").read_text()
    again = nas.search(tmp_path / "run", task, resume=True, **wanted)  # type: ignore[arg-type]
    assert (tmp_path / "run" / "trials.csv").read_text() == before
    assert again.summary["compared"] == first.summary["compared"]
    assert again.summary["pipeline"] == first.summary["pipeline"]


def quits(architecture: Architecture) -> float:
    raise SystemExit(0) if architecture["act"] == "none" else RuntimeError("no")


def test_a_function_that_leaves_is_one_that_fails(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in a row could not be evaluated"):
        nas.search(tmp_path / "run", ONE.asked_for(evaluate=quits), trials=3)
    assert not (tmp_path / "run").exists(), "the same command can be given again"


def rough(architecture: Architecture, images: int = 0) -> float:
    if images > 100:
        raise RuntimeError("no room for so many")
    return own_task.accuracy(architecture)


def test_closer_looks_that_fail_cost_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = ONE.asked_for(evaluate=rough, fidelity={"images": (10, 1000)})
    found = nas.search(tmp_path / "run", task, trials=6)
    assert found.winner.values[0] == max(each.values[0] for each in found.evaluated)
    assert "could not be evaluated at images 1000: RuntimeError: no room" in capsys.readouterr().err
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("name", ["trial", "seed", "accuracy_pct"])
def test_choices_that_columns_are_called_after_are_refused(name: str, tmp_path: Path) -> None:
    space = SearchSpace("odd", [Choice(name, (1, 2)), Choice("other", (1, 2))])
    task = nas.Task(space, lambda _: 1.0, ["accuracy_pct:max"])
    with pytest.raises(InputError, match=f"a choice called '{name}', as a column of trials.csv"):
        nas.search(tmp_path / "run", task, trials=2)


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        (3, True),
        ("array", True),
        ("0-d", True),
        ("bool", False),
        ("complex", False),
        ("text", False),
        (1e308, False),
    ],
)
def test_numbers_of_any_library_are_taken_and_nothing_else(
    answer: Any, taken: bool, tmp_path: Path
) -> None:
    import numpy as np

    arrays = {"array": np.array([3.0]), "0-d": np.array(3), "bool": np.bool_(True)}
    arrays |= {"complex": np.complex128(1 + 2j), "text": np.array("3")}
    value = arrays.get(answer, answer) if isinstance(answer, str) else answer
    task = ONE.asked_for(evaluate=lambda _: value)
    if taken:
        found = nas.search(tmp_path / "run", task, trials=2)
        assert found.winner.values == (3.0,)
    else:
        with pytest.raises(InputError, match="return a number|larger than anything"):
            nas.search(tmp_path / "run", task, trials=2)


@pytest.mark.slow
def test_tied_weights_are_handed_over(tmp_path: Path) -> None:
    import torch

    from temporal_bundle.closeness import check_close

    task = nas.Task(
        own_task.SPACE, own_task.accuracy, ["accuracy_pct:max"], own_task.tied, "1,6:int64"
    )
    found = nas.search(tmp_path / "run", task, trials=2)
    assert found.summary["no_bundle"] is None
    bundle = nas.NetworkBundle.load(tmp_path / "run" / "bundle")
    network = own_task.tied(found.winner.architecture)
    network.load_state_dict(bundle.opened.weights())
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6]])
    with torch.no_grad():
        check_close(bundle.runnable().module(tokens), network.eval()(tokens))


@pytest.mark.slow
def test_weights_that_are_no_numbers_make_no_bundle(tmp_path: Path) -> None:
    def broken(architecture: Architecture) -> dict[str, Any]:
        found = own_task.weights(architecture)
        next(iter(found.values())).fill_(float("nan"))
        return found

    task = own_task.TASK.asked_for(weights=broken, objectives=["accuracy_pct:max"])
    found = nas.search(tmp_path / "run", task, trials=2)
    assert "holds NaN or infinities" in found.summary["no_bundle"]


@pytest.mark.long
def test_this_machine_is_measured_on_what_can_be_built(call: Call) -> None:
    words = ["search", "--task", "own_task:PICKY", "--device", "host", "--trials", "3"]
    code, _, err = call(*words, "--out", "run")
    assert code == 0, err
    measured = pd.concat(pd.read_csv(file) for file in Path("run/measured").glob("*.csv"))
    assert len(measured) > 20
    assert (measured["kernel"] != 7).all()
    code, _, err = call("show", "run")
    assert code == 0, err


def test_a_task_that_cannot_be_made_is_said(call: Call) -> None:
    for name, said in (("accuracy", "raised TypeError"), ("raising", "raised OSError: no data")):
        code, _, err = call("search", "--task", f"own_task:{name}", "--out", "run")
        assert code == 2
        assert said in err
        assert "Traceback" not in err


@pytest.mark.long
def test_budgets_are_measured_on_the_extremes_that_can_be_built() -> None:
    from latency import load_device

    traces = traces_of(own_task.PICKY)
    assert traces is not None
    traces.begin()
    costs = TracedCosts(traces, load_device("iphone-13"))
    fastest, slowest = costs.fastest, costs.slowest
    able = [each for each in own_task.SPACE.enumerate() if traces.settle(each)]
    assert 64 < len(able) < own_task.SPACE.size, "some were guessed, some cannot be built"
    every_ms = costs.latencies_ms(able)
    assert costs.latencies_ms([fastest])[0] == every_ms.min()
    assert costs.latencies_ms([slowest])[0] == every_ms.max()
