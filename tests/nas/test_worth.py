"""What a search says of its own worth: beside random picks at equal cost."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import own_task
import pandas as pd
import pytest
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler

import nas
from nas.pipeline.verdict import verdict
from nas.problem.problem import Problem
from nas.run.studies import study_name
from nas.study.storage import sqlite
from search_spaces import Architecture

QUALITY = "accuracy_pct"
ONE_NUMBER = nas.Task(own_task.SPACE, own_task.accuracy, [f"{QUALITY}:max"])


def by_image(architecture: Architecture, images: int = 400) -> Any:
    """Images differ by far more than networks do, for all networks alike."""
    own = np.random.default_rng(int(architecture.digest[:8], 16)).normal(size=400)
    shared = 20 * np.random.default_rng(0).normal(size=400)
    return (own_task.accuracy(architecture) + shared + 2 * own)[:images]


RACED = nas.Task(own_task.SPACE, by_image, [f"{QUALITY}:max"], fidelity={"images": (25, 100, 400)})


def read(run: Path) -> dict[str, Any]:
    """The results, as a script finds them."""
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return {**found["results"], "study": found["study"]}


def steepest(curve: list[float | None]) -> float:
    """The largest step for the worse."""
    known = [value for value in curve if value is not None]
    assert curve[len(curve) - len(known) :] == known, "once there is one there always is"
    return float(np.diff(known).min(initial=0))


@pytest.mark.slow
@pytest.mark.parametrize("task", [ONE_NUMBER, RACED])
def test_curves_rise_to_the_best_of_each_side(task: nas.Task, tmp_path: Path) -> None:
    """And the count to random's best is that of trials.csv."""
    run = tmp_path / "run"
    nas.search(run, task, trials=7)
    results = read(run)
    worth, curves = results["worth"], results["worth"]["best_so_far"]
    assert (worth["quality"], worth["maximize"]) == (QUALITY, True)
    assert [len(curves["search"]), len(curves["random"])] == [
        results["trials"],
        results["random_picks"],
    ]
    assert min(steepest(curve) for curve in curves.values()) == 0
    rows = {row["network"]: row["values"][QUALITY] for row in results["compared"]}
    assert curves["search"][-1] == rows["best of the search"]
    assert curves["random"][-1] == rows["best random pick"]
    trials = pd.read_csv(run / "trials.csv")
    full = trials["images_count"] == 400 if task is RACED else trials[QUALITY] > 0
    assert curves["search"][-1] == pytest.approx(trials.loc[full, QUALITY].max())
    as_good = np.flatnonzero(full & (trials[QUALITY] >= curves["random"][-1] - 1e-9))
    reached = as_good[0] + 1 if len(as_good) and task is not RACED else None
    assert worth["reached_after"] == reached, "a race has another order than its trials"
    name = study_name(results["study"], "random")
    picks = optuna.load_study(study_name=name, storage=sqlite(run / "study.db"))
    assert curves["random"][-1] == picks.best_value


def deep(problem: Problem) -> BaseSampler:
    """A strategy that knows the task."""
    fixed = {"depth": 4, "width": 24, "act": "silu"}
    return PartialFixedSampler(fixed, RandomSampler(seed=problem.seed))


def shallow(problem: Problem) -> BaseSampler:
    """A strategy that is wrong about it."""
    fixed = {"depth": 2, "width": 8, "act": "none"}
    return PartialFixedSampler(fixed, RandomSampler(seed=problem.seed))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["deep", "shallow"])
def test_the_verdict_says_who_was_better_and_what_was_handed_over(
    strategy: str, tmp_path: Path, call: Any
) -> None:
    found = nas.search(tmp_path / "run", ONE_NUMBER, trials=3, strategy=f"test_worth:{strategy}")
    results = read(tmp_path / "run")
    difference, said = results["worth"]["difference"], results["verdict"]
    has_won = strategy == "deep"
    assert (difference["value"] > 0) == has_won
    assert found.winner.origin == ("search" if has_won else "random"), "whoever is better"
    by = rf"by {abs(difference['value']):.4g} in accuracy \(%\), whose error is not known"
    if has_won:
        last = r"\. It had one as good as random's best after [123] of its 3 networks\."
        assert re.fullmatch(f"The search beat random picks at equal cost {by}{last}", said)
    else:
        last = r"; a random pick was handed over\. None of its 3 networks was as good as random's "
        last += r"best\."
        assert re.fullmatch(f"The search lost to random picks at equal cost {by}{last}", said)
    assert said in found.told.lines
    assert said in (tmp_path / "run" / "report.html").read_text().replace("&#39;", "'")
    assert f"verdict: {said}" in call("show", str(tmp_path / "run"))[1]


@pytest.mark.slow
def test_a_random_search_is_not_praised(tmp_path: Path) -> None:
    found = nas.search(tmp_path / "run", ONE_NUMBER, trials=4, strategy="random")
    assert found.summary["verdict"].startswith("The search was random itself")
    assert "beat" not in found.summary["verdict"]


@pytest.mark.slow
def test_differences_are_paired_where_samples_are_told(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"trials": 5, "strategy": "test_worth:shallow"}
    found = nas.search(tmp_path / "run", RACED, **asked)
    difference = found.summary["worth"]["difference"]
    rows = {row["network"]: row["values"] for row in found.summary["compared"]}
    apart = rows["best of the search"][QUALITY] - rows["best random pick"][QUALITY]
    assert difference["value"] == pytest.approx(apart)
    alone, paired = 20 / math.sqrt(400), 2 * math.sqrt(2 / 400)
    assert 0.8 * paired < difference["error"] < 1.2 * paired < alone
    assert re.search(r"lost to .* \u00b1 0\.\d\d in accuracy \(%\);", found.summary["verdict"])
    again = nas.search(tmp_path / "run", RACED, **asked, resume=True)
    assert again.summary["worth"]["difference"]["error"], "samples are kept"


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "who"), [("deep", "the search"), ("shallow", "random picks")])
def test_a_region_that_one_side_alone_reaches(strategy: str, who: str, tmp_path: Path) -> None:
    """Nobody is praised for a network that does not count."""
    least = {"deep": 98, "shallow": 85}[strategy]
    found = nas.search(
        tmp_path / "run", ONE_NUMBER, trials=3, strategy=f"test_worth:{strategy}",
        at_least={QUALITY: least},
    )  # fmt: skip
    worth = read(tmp_path / "run")["worth"]
    empty = "random" if strategy == "deep" else "search"
    assert worth["best_so_far"][empty] == [None] * 3
    assert (worth["difference"], worth["reached_after"]) == (None, None)
    assert found.summary["verdict"].startswith(f"Only {who} found networks in the region")
    assert (found.winner.origin == "search") == (strategy == "deep")


@pytest.mark.slow
def test_the_main_job_is_judged_on_test_clips(finished_run: Path) -> None:
    results = read(finished_run)
    rows = {row["network"]: row for row in results["compared"]}
    searched, picked = rows["best of the search"], rows["best random pick"]
    difference = results["worth"]["difference"]
    assert difference["value"] == pytest.approx(searched["test_loss"] - picked["test_loss"])
    if searched["layout"] != picked["layout"]:
        unpaired = math.hypot(searched["test_loss_error"], picked["test_loss_error"])
        assert 0 < difference["error"] < unpaired
    assert (difference["of"], difference["judged_on"]) == ("test_loss", "test clips")
    curve = results["worth"]["best_so_far"]["search"]
    trials = pd.read_csv(finished_run / "trials.csv")
    assert curve[-1] == pytest.approx(trials["validation_loss"].min())
    html = (finished_run / "report.html").read_text()
    assert results["verdict"] in html.replace("&#39;", "'")


def told(value: float, error: float | None, origin: str, **changed: Any) -> str:
    """The verdict of a main job of four networks."""
    worth = {
        "strategy": "cost-aware", "quality": "validation_loss", "maximize": False,
        "best_so_far": {"search": [3, 2, 1, 1], "random": [2, 2]}, "reached_after": 2,
        "same_best": False, "is_race": False, "goal": "best",
        "difference": {
            "of": "test_loss", "value": value, "error": error, "judged_on": "test clips",
        },
        **changed,
    }  # fmt: skip
    return verdict(
        {"worth": worth, "winner_origin": origin, "goal": {"missed": None}, "not_full": None}
    )


def test_what_judges_may_differ_from_what_chose() -> None:
    assert told(-0.0031, 0.0010, "search") == (
        "The search beat random picks at equal cost by 0.0031 \u00b1 0.0010 in test loss on test "
        "clips. It had one as good as random's best after 2 of its 4 networks, by what it saw."
    )
    near = told(0.0011, 0.0010, "random")
    assert "not told apart from random picks at equal cost (+0.0011 \u00b1 0.0010 in" in near
    assert "; a random pick was handed over." in near
    lost = told(0.0031, 0.0010, "search")
    assert "lost to random picks" in lost
    assert ", but a network of the search was handed over, as test clips choose nothing" in lost
    wrong = told(-0.0031, 0.0010, "random")
    assert "beat random picks" in wrong
    assert ", but a random pick was handed over, as" in wrong
    assert "; a uniform layout was handed over." in told(-0.0031, 0.0010, "uniform")
    same = told(0.0, 0.0, "search", same_best=True)
    assert same.startswith("The search and random picks at equal cost have the same best network.")
