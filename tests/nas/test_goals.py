"""What counts: one winner, a region or the whole front; strategies are told as a user says it."""

# ruff: noqa: PD011 (values of networks, not of frames)

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import own_task
import pandas as pd
import pytest
from conftest import Call

import nas
from nas.benchmark import Benchmark, compared, of_table
from nas.benchmark.run import by_study
from nas.problem.goal import Goal
from nas.testing.problems import PROBLEMS
from search_spaces import InputError, read_table

COLUMNS = ["error_pct", "latency_ms"]
ACCURACY = ["accuracy_pct:max", "flops_count"]


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain of five blocks: gains add and saturate, costs add."""
    rng = np.random.default_rng(3)
    costs = np.sort(rng.gamma(2.0, 1.0, (5, 4)), axis=1)
    gains = np.sqrt(costs) * rng.uniform(0.6, 1.4, (5, 4))
    rows = []
    for each in itertools.product(range(4), repeat=5):
        gained = sum(gains[place, option] for place, option in enumerate(each))
        cost = 1 + sum(costs[place, option] for place, option in enumerate(each))
        error = 20 + 60 * np.exp(-gained / 3) + 0.2 * rng.standard_normal()
        rows.append((*(f"o{option}" for option in each), round(error, 4), round(cost, 4)))
    path = tmp_path_factory.mktemp("goals") / "table.csv"
    columns = [*(f"b{place}" for place in range(5)), *COLUMNS]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def told(table: Path, **asked: Any) -> Benchmark:
    return of_table(table, COLUMNS, ["latency_ms"], **asked)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Goal("fastest"), "`goal=fastest`: is none of best, region, front"),
        (lambda: Goal("region"), "limits nothing; limit an objective"),
        (lambda: Goal("best", {"loss": 1.0}), "has limits on loss, which make a region"),
        (lambda: Goal("region", {"loss": float("nan")}), "the limit loss=nan is no number"),
        (lambda: Goal("region", {"loss": "low"}), "the limit loss=low is no number"),  # type: ignore[dict-item]
        (
            lambda: replace(PROBLEMS["plain"], goal=Goal("region", {"error_pct": 3.0})),
            "error_pct is no objective; they are loss, latency_ms",
        ),
    ],
)
def test_what_is_no_goal_is_one_line(made: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        made()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_corner_is_the_limits_less_being_better() -> None:
    problem = replace(PROBLEMS["maximised"], goal=Goal("region", {"accuracy_pct": 90.0}))
    assert problem.corner.tolist() == [-90.0, np.inf]
    assert np.isinf(PROBLEMS["maximised"].corner).all()


def test_a_box_in_numbers_is_told_and_one_of_the_table_is_not(table: Path) -> None:
    box = told(table, reference=[30, 12])
    assert box.problem(0).corner.tolist() == [30, 12]
    for rule in ("wanted", "front", "corner"):
        assert told(table, reference=rule).problem(0).goal == Goal("front")
    by_rule = told(table, reference="wanted", goal="region")
    assert by_rule.problem(0).corner.tolist() == by_rule.reference.tolist()
    # Told or not, the same networks are judged alike.
    untold = told(table, reference=[30, 12], goal="front")
    assert np.array_equal(untold.shares(box.values), box.shares(box.values))
    assert untold.settings != box.settings


def test_one_winner_is_judged_by_its_quality_inside_the_budgets(table: Path) -> None:
    benchmark = told(table, at_most={"latency_ms": 9}, goal="best")
    rows = read_table(table)
    inside = rows.metric("latency_ms") <= 9
    best = float(rows.metric("error_pct")[inside].min())
    values = benchmark.values[benchmark.feasible]
    assert benchmark.regrets(values)[-1] == 0
    assert benchmark.regrets(values)[0] == pytest.approx(values[0, 0] - best)
    assert benchmark.shares(values)[-1] == 1
    assert benchmark.problem(0).goal == Goal("best")
    given = told(table, reference=[40], at_most={"latency_ms": 9}, goal="best")
    assert given.reference.tolist() == [40]
    with pytest.raises(InputError, match="has 2 numbers for 1 objectives"):
        told(table, reference=[40, 12], goal="best")


def test_bench_says_what_was_told(call: Call, table: Path) -> None:
    words = ["bench", str(table), "--objectives", ",".join(COLUMNS), "--known", "latency_ms"]
    words += ["--strategies", "random", "--trials", "12", "--seeds", "2", "--out"]
    for more, kind, line in (
        ((), "front", "told: that the whole front counts; of the box that is judged, nothing"),
        (("--reference", "30,12"), "region", "told: the box that is judged"),
        (("--goal", "region"), "region", "told: the box that is judged"),
        (("--goal", "best"), "best", "told: that the best network inside the budgets counts"),
    ):
        out = f"{'_'.join(more)}.csv".replace("--", "").replace(",", "_") or "r.csv"
        code, said, err = call(*words, f"r{out}", *more)
        assert code == 0, err
        assert line in said
        assert ("regret: how far error_pct is from the best" in said) == (kind == "best")
        code, said, _ = call(*words, f"r{out}", *more, "--json")
        found = json.loads(said)
        assert found["goal"] == kind
        assert set(found["region"]) == (set(COLUMNS) if kind == "region" else set())
    code, _, err = call(*words, "x.csv", "--goal", "fast")
    assert (code, err) == (2, "nas: --goal fast: is none of best, region, front\n")
    code, _, err = call(*words, "x.csv", "--reference", "1,1", "--goal", "region")
    assert code == 2
    assert "no row is better than --reference 1,1" in err


def test_results_of_another_goal_do_not_go_on(call: Call, table: Path) -> None:
    words = ["bench", str(table), "--objectives", ",".join(COLUMNS), "--known", "latency_ms"]
    words += ["--strategies", "random", "--trials", "6", "--seeds", "1", "--out", "r.csv"]
    assert call(*words)[0] == 0
    note = json.loads(Path("r.json").read_text())
    del note["settings"]["goal"], note["settings"]["region"]  # as earlier versions wrote it
    Path("r.json").write_text(json.dumps(note))
    assert call(*words)[0] == 0
    code, _, err = call(*words, "--goal", "best")
    assert code == 2
    assert 'was begun with goal "front", not "best"' in err


@pytest.mark.slow
def test_the_whole_front_is_found_before_random_search_does(table: Path, tmp_path: Path) -> None:
    benchmark = told(table, reference="corner")
    runs = compared(benchmark, ["cost-aware", "random"], 60, range(7), tmp_path / "r.csv")
    last = {(run.strategy, run.seed): benchmark.shares(run.values)[-1] for run in runs}
    won = [last["cost-aware", seed] > last["random", seed] for seed in range(7)]
    assert sum(won) >= 6


@pytest.mark.slow
def test_one_winner_is_found_inside_the_budgets(table: Path, tmp_path: Path) -> None:
    benchmark = told(table, at_most={"latency_ms": 12}, goal="best")
    runs = compared(benchmark, ["cost-aware", "random"], 36, range(7), tmp_path / "r.csv")
    assert all((run.values[:, 1] <= 12).all() for run in runs)
    last = {(run.strategy, run.seed): benchmark.regrets(run.values)[-1] for run in runs}
    won = [last["cost-aware", seed] < last["random", seed] for seed in range(7)]
    assert sum(won) >= 6


@pytest.mark.slow
def test_a_region_that_is_told_draws_the_search_into_it(table: Path) -> None:
    def share(goal: str, seed: int) -> float:
        benchmark = told(table, reference=[26, 12], goal=goal)
        found = by_study("cost-aware", benchmark.problem(seed), 40, benchmark.evaluate)
        values = benchmark.values[benchmark.lookup.rows(found)]
        return float((values[12:] < [26, 12]).all(axis=1).mean())

    drawn = [share("region", seed) - share("front", seed) for seed in range(5)]
    assert np.mean(drawn) > 0


def test_limits_on_what_is_found_make_a_region(tmp_path: Path) -> None:
    task = nas.Task(own_task.SPACE, own_task.accuracy, ["accuracy_pct:max"])
    found = nas.search(tmp_path / "run", task, trials=6, at_least={"accuracy_pct": 75})
    assert found.summary["goal"] == {
        "kind": "region",
        "region": {"accuracy_pct": 75.0},
        "missed": None,
    }
    plain = nas.search(tmp_path / "plain", task, trials=6)
    assert plain.summary["goal"]["kind"] == "best"


def test_a_region_that_nothing_meets_is_said(call: Call, tmp_path: Path) -> None:
    words = ["search", "--evaluate", "own_task:accuracy", "--space", "space.json", "--trials", "5"]
    words += ["--objectives", "accuracy_pct:max", "--at-least", "accuracy_pct=110", "--out", "run"]
    (tmp_path / "space.json").write_text(json.dumps(own_task.SPACE.to_json()))
    code, out, err = call(*words)
    assert code == 0, err
    best = pd.read_csv("run/trials.csv")["accuracy_pct"].max()
    line = "No evaluated network is in the region (accuracy (%) at least 110); the nearest has"
    assert line in " ".join(out.split())
    results = json.loads(Path("run/run.json").read_text())["results"]
    nearest = float(results["goal"]["missed"].rsplit(" ", 1)[1])
    assert nearest >= round(best, 2) - 0.01
    assert line in Path("run/report.html").read_text()
    task = nas.Task(own_task.SPACE, own_task.accuracy, ["accuracy_pct:max"])
    nas.search(tmp_path / "python", task, trials=5, at_least={"accuracy_pct": 110})
    assert Path("run/trials.csv").read_text() == (tmp_path / "python/trials.csv").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--goal region", "--goal region: limits nothing"),
        ("--goal quick", "--goal quick: is none of best, region, front"),
        ("--at-most accuracy_pct=9", "--at-most accuracy_pct: more of it is better; limit it by"),
        ("--at-least accuracy_pct=high", "give a column and a number"),
        ("--at-least accuracy_pct=inf", "--at-least accuracy_pct=inf: is no number"),
        ("--at-least accuracy_pct=1 --at-least accuracy_pct=2", "there is another limit on it"),
        ("--at-least accuracy_pct=90 --goal best", "which make a region"),
        ("--at-most loss=1", "--at-most loss: is neither a budget"),
        ("--at-most latency_ms=1 --latency-ms 2", "there is another limit on it"),
        ("--at-most flops_count=1", "--at-most flops_count=1: is below the cheapest network"),
    ],
)
def test_bad_goals_of_a_search_are_one_line(
    words: str, said: str, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "space.json").write_text(json.dumps(own_task.SPACE.to_json()))
    begun = ["search", "--space", "space.json", "--evaluate", "own_task:accuracy", "--trials", "3"]
    begun += ["--build", "own_task:build", "--shape", "1,3,8,8"]
    begun += ["--objectives", ",".join(ACCURACY), "--out", "run"]
    code, _, err = call(*begun, *words.split())
    assert code == 2, err
    assert said in err.strip().splitlines()[-1]
    assert not Path("run").exists()


def test_a_run_that_an_earlier_version_began_goes_on_as_it_was(tmp_path: Path) -> None:
    task = nas.Task(own_task.SPACE, own_task.accuracy, ["accuracy_pct:max"])
    nas.search(tmp_path / "run", task, trials=4, goal="front")
    begun = json.loads((tmp_path / "run" / "run.json").read_text())
    del begun["settings"]["goal"], begun["settings"]["region"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(begun))
    found = nas.search(tmp_path / "run", task, trials=4, resume=True)
    assert found.summary["goal"]["kind"] == "front"
    with pytest.raises(InputError, match="was begun with goal front, not region"):
        nas.search(tmp_path / "run", task, trials=4, at_least={"accuracy_pct": 75}, resume=True)
