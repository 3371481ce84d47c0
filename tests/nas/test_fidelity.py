"""Searches that look at many networks a little, and at the best of them again."""

import csv
import itertools
import json
import math
import os
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import own_task
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState
from processes import kill_when

import nas
from nas.evaluators import Outcome, Samples, Span
from nas.evaluators.serial import Serial
from nas.problem.fidelity import Fidelity, doubled
from nas.problem.goal import BEST, FRONT, Goal
from nas.problem.problem import Objective, Problem
from nas.strategies import STRATEGIES, cost_aware, random
from nas.study.record import Record
from nas.study.storage import sqlite
from nas.study.study import Study
from nas.testing.problems import PROBLEMS, quality
from search_spaces import Architecture, InputError

CLIPS = Fidelity("clips", (4, 8, 16, 32), adds_up=True)


def clip_losses(architecture: Architecture, span: Span) -> Samples:
    """A loss a clip: what the network is worth, what the clip is like, and some of both."""
    begin, end = span
    seed = int(architecture.digest[:8], 16)
    own = np.random.default_rng(seed).normal(size=CLIPS.full)[begin:end]
    clip = np.random.default_rng(0).normal(size=CLIPS.full)[begin:end]
    return Samples(tuple((quality(architecture) + 5 * clip + own).tolist()))


def raced(problem: Problem, strategy: Any = random, trials: int = 8, **changed: Any) -> Study:
    study = Study(replace(problem, fidelity=CLIPS, **changed), strategy)
    study.run(trials, Serial(clip_losses))
    return study


@given(st.integers(1, 200), st.integers(1, 2000))
def test_levels_rise_to_the_full_count(first: int, full: int) -> None:
    levels = doubled(first, full)
    assert levels[-1] == full
    assert levels[0] == min(first, full)
    assert all(low < high <= 2 * low for low, high in itertools.pairwise(levels))
    fidelity = Fidelity("clips", levels, adds_up=True)
    assert fidelity.cost(0) + fidelity.cost_to_full(0) == full


@pytest.mark.parametrize("goal", [BEST, FRONT])
@pytest.mark.parametrize("name", [n for n in STRATEGIES if n != "gp"])
def test_many_are_seen_a_little_and_the_best_of_them_fully(name: str, goal: Any) -> None:
    problem = replace(PROBLEMS["conditional"], goal=goal)
    asked: Counter[tuple[Architecture, Span]] = Counter()

    def counted(architecture: Architecture, span: Span) -> Samples:
        asked[architecture, span] += 1
        return clip_losses(architecture, span)

    study = Study(replace(problem, fidelity=CLIPS), STRATEGIES[name])
    found = study.run(8, Serial(counted))
    assert max(asked.values()) == 1, "nothing is looked at twice"
    spent = sum(end - begin for _, (begin, end) in asked)
    assert spent == study.spent
    assert 8 * CLIPS.full - CLIPS.cost_to_full(0) < spent <= 8 * CLIPS.full
    assert len(found) > 2 * 8
    counts = {each.architecture: each.count for each in found}
    for architecture, count in counts.items():
        spans = sorted(span for seen, span in asked if seen == architecture)
        assert spans == [CLIPS.span(level) for level in range(CLIPS.levels.index(count) + 1)]
    full = [each for each in found if each.count == CLIPS.full]
    assert 1 <= len(full) < len(found) / 3
    for each in full:
        whole = clip_losses(each.architecture, (0, CLIPS.full)).values
        assert each.values[0] == pytest.approx(float(np.mean(whole)), rel=1e-12)


def test_who_goes_on_is_better_than_who_does_not() -> None:
    found = raced(PROBLEMS["conditional"], trials=16, goal=BEST).finished()
    by_count = {
        count: np.mean([quality(e.architecture) for e in found if e.count == count])
        for count in {each.count for each in found}
    }
    assert by_count[CLIPS.full] < by_count[CLIPS.levels[0]]


def test_over_a_front_the_cheap_end_goes_on_too() -> None:
    problem = PROBLEMS["conditional"]
    study = raced(problem, trials=24, goal=FRONT)
    costs = [e.values[1] for e in study.finished() if e.count == CLIPS.full]
    one = raced(problem, trials=24, goal=BEST)
    alone = [e.values[1] for e in one.finished() if e.count == CLIPS.full]
    assert np.ptp(costs) > np.ptp(alone)


def test_what_was_not_seen_fully_is_told_as_a_full_look_should_find_it() -> None:
    """Clips differ by far more than networks do, and later clips are dearer for all."""
    study = raced(PROBLEMS["conditional"], trials=16, goal=BEST)
    partly = [each for each in study.finished() if each.count < CLIPS.full]
    wanted = [float(np.mean(clip_losses(e.architecture, (0, CLIPS.full)).values)) for e in partly]
    told = [each.values[0] for each in partly]
    raw = [float(np.mean(clip_losses(e.architecture, (0, e.count)).values)) for e in partly]
    assert abs(np.mean(np.subtract(told, wanted))) < abs(np.mean(np.subtract(raw, wanted)))


def test_optuna_sees_one_trial_a_network(tmp_path: Path) -> None:
    problem = replace(PROBLEMS["conditional"], fidelity=CLIPS, goal=BEST)
    url = sqlite(tmp_path / "study.db")
    record = Record(url, "race", problem)
    found = Study(problem, random, record).run(6, Serial(clip_losses))
    record.close()
    study = optuna.load_study(study_name="race", storage=url)
    assert len(study.trials) == len(found)
    for trial, each in zip(study.trials, found, strict=True):
        full = each.count == CLIPS.full
        assert trial.state == (TrialState.COMPLETE if full else TrialState.PRUNED)
        assert list(trial.intermediate_values) == [c for c in CLIPS.levels if c <= each.count]
        if full:
            assert tuple(trial.values) == each.values
            assert trial.intermediate_values[CLIPS.full] == each.values[0]


class AtOnce(Serial):
    """Takes many at once, and answers the last first."""

    capacity = 16

    def wait(self) -> list[Outcome]:
        self._waiting.rotate(1)
        return super().wait()


@pytest.mark.parametrize("goal", [BEST, FRONT, Goal("region", {"loss": 3.0})])
def test_however_many_workers_there_are_some_networks_are_seen_fully(goal: Goal) -> None:
    for seed in range(4):
        problem = replace(PROBLEMS["conditional"], fidelity=CLIPS, goal=goal, seed=seed)
        study = Study(problem, random)
        found = study.run(8, AtOnce(clip_losses))
        assert sum(each.count == CLIPS.full for each in found) >= 1
        assert study.spent <= 8 * CLIPS.full


def test_where_no_others_come_the_budget_goes_to_closer_looks() -> None:
    problem = replace(PROBLEMS["listed"], fidelity=CLIPS, goal=BEST)
    study = Study(problem, random)
    found = study.run(50, Serial(clip_losses))
    assert len(found) == 60
    assert study.spent > 0.9 * 50 * CLIPS.full
    assert sum(each.count == CLIPS.full for each in found) > 40


def test_estimates_are_not_misled_by_the_luck_of_who_went_on() -> None:
    """Clips are alike for all; a first look finds as much luck as networks differ by."""

    def luck(architecture: Architecture, span: Span) -> Samples:
        rng = np.random.default_rng(int(architecture.digest[:8], 16))
        own = 4 * rng.normal(size=CLIPS.full)
        return Samples(tuple((quality(architecture) / 10 + own[slice(*span)]).tolist()))

    off = []
    for seed in range(12):
        problem = replace(PROBLEMS["conditional"], fidelity=CLIPS, goal=BEST, seed=seed)
        study = Study(problem, random)
        for each in study.run(24, Serial(luck)):
            if each.count < CLIPS.full:
                whole = float(np.mean(luck(each.architecture, (0, CLIPS.full)).values))
                off.append(each.values[0] - whole)
    spread = float(np.std(off))
    assert abs(float(np.mean(off))) < 0.7 * spread, "without it 1.5 spreads too high"


TWO = Problem(
    PROBLEMS["plain"].space,
    (Objective("one_loss"), Objective("two_loss")),
    lambda found: np.zeros((len(found), 0)),
    fidelity=CLIPS,
)


def test_several_unknown_objectives_are_raced_together() -> None:
    def both(architecture: Architecture, span: Span) -> tuple[float, float]:  # noqa: ARG001
        first = sum("abc".index(str(option)) for option in architecture.values())
        return float(first), float(8 - first)

    found = Study(TWO, random).run(12, Serial(both))
    full = {each.values for each in found if each.count == CLIPS.full}
    assert len(full) > 2, "nothing beats another, so not the first objective alone decides"


@pytest.mark.parametrize("strategy", [random, cost_aware])
def test_a_study_that_was_stopped_anywhere_goes_on(tmp_path: Path, strategy: Any) -> None:
    """Nothing is looked at twice, and as much is spent as without a stop."""
    problem = replace(PROBLEMS["conditional"], fidelity=CLIPS, goal=BEST)
    url = sqlite(tmp_path / "study.db")
    asked: Counter[tuple[Architecture, Span]] = Counter()
    for patience in (1, 5, 9, 7, math.inf):
        left = patience

        def stopping(architecture: Architecture, span: Span) -> Samples:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            asked[architecture, span] += 1
            return clip_losses(architecture, span)

        record = Record(url, "race", problem)
        study = Study(problem, strategy, record)
        if math.isfinite(patience):
            with pytest.raises(KeyboardInterrupt):
                study.run(6, Serial(stopping))
        else:
            found = study.run(6, Serial(stopping))
        record.close()
    assert max(asked.values()) == 1
    spent = sum(end - begin for _, (begin, end) in asked)
    assert spent == study.spent
    assert 6 * CLIPS.full - CLIPS.cost_to_full(0) < spent <= 6 * CLIPS.full
    again = Record(url, "race", problem)
    ended = Study(problem, strategy, again)
    assert ended.finished() == found
    assert ended.run(6, Serial(stopping)) == found, "a race that ended stays as it is"
    again.close()


def test_a_study_at_other_levels_is_refused(tmp_path: Path) -> None:
    problem = replace(PROBLEMS["conditional"], fidelity=CLIPS)
    url = sqlite(tmp_path / "study.db")
    record = Record(url, "race", problem)
    Study(problem, random, record).run(2, Serial(clip_losses))
    record.close()
    for fidelity, said in (
        (Fidelity("clips", (3, 9)), "was seen at 4.* and clips are 3, 9 now"),
        (None, "was seen at 4"),
    ):
        other = replace(problem, fidelity=fidelity)
        with pytest.raises(InputError, match=said):
            Study(other, random, Record(url, "race", other))


def test_looks_that_failed_at_first_are_paid_for_after_a_stop_too(tmp_path: Path) -> None:
    problem = replace(PROBLEMS["conditional"], fidelity=CLIPS, goal=BEST)
    url = sqlite(tmp_path / "study.db")
    asked: Counter[tuple[Architecture, Span]] = Counter()

    def at_first(architecture: Architecture, span: Span) -> Samples:
        asked[architecture, span] += 1
        if span[0] and asked[architecture, span] == 1:
            raise RuntimeError("busy")
        return clip_losses(architecture, span)

    record = Record(url, "race", problem)
    study = Study(problem, random, record)
    study.run(6, Serial(at_first))
    record.close()
    again = Record(url, "race", problem)
    spent = sum(n * (end - begin) for (_, (begin, end)), n in asked.items())
    assert Study(problem, random, again).spent == study.spent == spent
    again.close()


class Watching(RandomSampler):
    """A user's sampler that learns from closer looks."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(seed=problem.seed)
        assert problem.fidelity is not None
        self.seen: list[tuple[Architecture, int, tuple[float, ...]]] = []

    def observe(self, architecture: Architecture, level: int, values: tuple[float, ...]) -> None:
        self.seen.append((architecture, level, values))


def test_a_sampler_may_learn_of_every_look() -> None:
    made: list[Watching] = []

    def strategy(problem: Problem) -> BaseSampler:
        made.append(Watching(problem))
        return made[-1]

    study = raced(PROBLEMS["conditional"], strategy)
    looks = sum(CLIPS.levels.index(each.count) for each in study.finished())
    assert len(made[0].seen) == looks > 0
    for architecture, level, values in made[0].seen:
        mean = np.mean(clip_losses(architecture, (0, CLIPS.levels[level])).values)
        assert values == pytest.approx((float(mean),))


def test_cost_aware_is_not_misled_by_luck_in_the_first_look() -> None:
    """With what closer looks said it ends no worse than without, over many seeds."""

    class Deaf:
        """cost-aware, told of first looks alone."""

        def __call__(self, problem: Problem) -> BaseSampler:
            sampler = cost_aware(problem)
            sampler.observe = lambda *_: None  # type: ignore[attr-defined]
            return sampler

    def ends(strategy: Any) -> list[float]:
        found = []
        for seed in range(6):
            study = raced(PROBLEMS["conditional"], strategy, trials=5, seed=seed, goal=BEST)
            full = [e for e in study.finished() if e.count == CLIPS.full]
            best = min(full, key=lambda e: e.values[0])
            found.append(quality(best.architecture))
        return found

    assert np.mean(ends(cost_aware)) <= np.mean(ends(Deaf())) + 0.05
    heard, deaf = (
        [
            e.architecture
            for seed in range(3)
            for e in raced(PROBLEMS["two costs"], each, trials=12, seed=seed).finished()
        ]
        for each in (cost_aware, Deaf())
    )
    assert heard != deaf, "what closer looks said changes what is proposed"


class Foreseeing(RandomSampler):
    """Proposes at random, and knows what networks are worth."""

    def as_seen_fully(
        self, architectures: Sequence[Architecture], first: Sequence[float]
    ) -> list[float]:
        assert len(architectures) == len(first)
        return [quality(each) for each in architectures]


def test_a_sampler_may_say_who_is_worth_another_look() -> None:
    def ranks_of_who_went_on(strategy: Any) -> float:
        found = raced(PROBLEMS["conditional"], strategy, trials=16, goal=BEST).finished()
        worth = np.argsort(np.argsort([quality(each.architecture) for each in found]))
        again = [each.count > CLIPS.levels[0] for each in found]
        return float(worth[again].mean() / len(found))

    told = ranks_of_who_went_on(lambda problem: Foreseeing(seed=problem.seed))
    assert told < ranks_of_who_went_on(lambda problem: RandomSampler(seed=problem.seed))


@pytest.mark.parametrize("said", [math.nan, None, "good", [1.0], [1.0, 2.0]])
@pytest.mark.parametrize("times", [1, None])  # None: one a network
def test_expectations_that_are_none_are_one_line(said: Any, times: int | None) -> None:
    class Wrong(RandomSampler):
        def as_seen_fully(self, architectures: Sequence[Architecture], _: Any) -> Any:
            return [said] * (times or len(architectures))

    with pytest.raises(InputError, match="as_seen_fully must return None or"):
        raced(PROBLEMS["plain"], lambda problem: Wrong(seed=problem.seed))


def test_what_cost_aware_expects_is_of_each_network_in_any_order() -> None:
    """Workers end looks in another order than that in which they were proposed."""
    problem = replace(PROBLEMS["plain"], fidelity=CLIPS, goal=BEST)
    rng = np.random.default_rng(0)
    networks = list({problem.space.sample(rng) for _ in range(20)})
    first = {each: quality(each) + rng.normal() for each in networks}
    sampler = cost_aware(problem)
    for each in networks[:6]:
        sampler.observe(each, 1, (quality(each),))

    def expected(of: Sequence[Architecture]) -> dict[Architecture, float]:
        found = sampler.as_seen_fully(of, [first[each] for each in of])
        return dict(zip(of, found, strict=True))

    assert expected(networks) == pytest.approx(expected(networks[::-1]))


def favouring(architecture: Architecture, span: Span) -> Samples:
    """A loss a clip: each clip favours some options, whatever network has them."""
    begin, end = span
    total = np.full(CLIPS.full, quality(architecture))
    for name, option in architecture.items():
        seed = zlib.crc32(f"{name} {option}".encode())
        total += 2 * np.random.default_rng(seed).normal(size=CLIPS.full)
    return Samples(tuple(total[begin:end].tolist()))


def test_cost_aware_learns_whom_the_first_clips_favour() -> None:
    """Of networks that were seen once, too: by what others with their options came to."""
    problem = replace(PROBLEMS["plain"], fidelity=CLIPS, goal=BEST)
    rng = np.random.default_rng(0)
    networks = list(dict.fromkeys(problem.space.sample(rng) for _ in range(80)))

    def look(architecture: Architecture, level: int) -> float:
        return float(np.mean(favouring(architecture, (0, CLIPS.levels[level])).values))

    sampler = cost_aware(problem)
    for each in networks[:40]:
        for level in range(1, len(CLIPS.levels)):
            sampler.observe(each, level, (look(each, level),))
    first = np.array([look(each, 0) for each in networks])
    full = np.array([look(each, CLIPS.top) for each in networks])
    told = np.array(sampler.as_seen_fully(networks, first.tolist()))
    error, untold = (found[40:] - full[40:] for found in (told, first))
    assert np.std(error) < 0.6 * np.std(untold)


@pytest.mark.long
def test_cost_aware_is_not_won_over_by_whom_the_first_clips_favour() -> None:
    """What full looks find of its winners is better than of a search on first looks alone."""

    def ends(fidelity: Fidelity) -> float:
        found = []
        for seed in range(6):
            problem = replace(PROBLEMS["plain"], fidelity=fidelity, goal=BEST, seed=seed)
            study = Study(problem, cost_aware)
            networks = study.run(12 * CLIPS.full // fidelity.full, Serial(favouring))
            most = max(each.count for each in networks)
            best = min((e for e in networks if e.count == most), key=lambda e: e.values[0])
            found.append(np.mean(favouring(best.architecture, (0, CLIPS.full)).values))
        return float(np.mean(found))

    first_looks = Fidelity("clips", CLIPS.levels[:1])
    assert ends(CLIPS) < ends(first_looks)


# A task of one's own, by the product's commands.


def per_image(architecture: Architecture, images: int = 400) -> Any:
    """One number an image, as an array: errors of differences are known."""
    seed = int(architecture.digest[:8], 16)
    return own_task.accuracy(architecture) + np.random.default_rng(seed).normal(size=400)[:images]


TASK = nas.Task(
    own_task.SPACE, per_image, ["accuracy_pct:max"], fidelity={"images": (25, 100, 400)}
)


def test_a_task_is_raced(tmp_path: Path) -> None:
    found = nas.search(tmp_path / "run", TASK, trials=6)
    seen = found.summary["seen"]
    assert seen["name"] == "images"
    assert seen["spent"] <= 6 * 400
    assert seen["networks"][25] == len(found.evaluated) > 12
    assert seen["networks"][400] >= 1
    assert found.winner.values[0] == pytest.approx(per_image(found.winner.architecture).mean())
    text = (tmp_path / "run" / "trials.csv").read_text()
    assert "images_count" in text.splitlines()[0]
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["results"]["seen"]["networks"]["25"] == len(found.evaluated)


def nan_at_first(architecture: Architecture, images: int = 400) -> float:
    return math.nan if images < 100 else own_task.accuracy(architecture)


def too_many(architecture: Architecture, images: int = 400) -> float:
    if images > 300:
        raise ValueError("the data has 300 images")
    return own_task.accuracy(architecture)


def test_bad_fidelities_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FloatingPointError, match=r"accuracy_pct is nan at images 25"):
        nas.search(tmp_path / "nan", TASK.asked_for(evaluate=nan_at_first), trials=6)
    found = nas.search(tmp_path / "many", TASK.asked_for(evaluate=too_many), trials=6)
    assert "at images 400: ValueError: the data has 300 images" in capsys.readouterr().err
    assert found.winner.count == 100
    assert (
        "No network was seen fully (images 400): the winner was at 100" in found.summary["verdict"]
    )
    assert found.summary["finalists"] is None
    html = (tmp_path / "many" / "report.html").read_text()
    assert "at images 100" in html
    assert "at images 400;" not in html
    for levels, said in (((100, 25), "must rise"), ((0, 4), "must rise"), ((8,), "two or more")):
        with pytest.raises(InputError, match=said):
            TASK.asked_for(fidelity={"images": levels})


def test_looks_that_fail_are_paid_for(tmp_path: Path) -> None:
    asked: list[int] = []

    def sometimes(architecture: Architecture, images: int = 400) -> Any:
        asked.append(images)
        if images == 400 and architecture["width"] in (16, 24):
            raise RuntimeError("out of memory")
        return per_image(architecture, images)

    found = nas.search(tmp_path / "run", TASK.asked_for(evaluate=sometimes), trials=8)
    assert sum(asked) <= 2 * 8 * 400, "of the search, and of the picks beside it"
    seen = found.summary["seen"]
    on_networks = sum(n * k for n, k in zip(seen["networks"].values(), (25, 100, 400), strict=True))
    assert seen["spent"] > on_networks, "what failed was paid for, and is told"
    assert found.winner.is_full
    assert found.winner.architecture["width"] not in (16, 24)
    assert found.front[0].is_full == any(each.is_full for each in found.evaluated)


@pytest.mark.parametrize("trials", [1, 2])
def test_the_smallest_budget_pays_for_a_full_look(trials: int, tmp_path: Path) -> None:
    found = nas.search(tmp_path / "run", TASK, trials=trials)
    assert found.winner.is_full
    assert found.winner.values[0] == pytest.approx(per_image(found.winner.architecture).mean())


def test_trials_csv_says_what_was_found_and_what_is_expected(tmp_path: Path) -> None:
    nas.search(tmp_path / "run", TASK, trials=6)
    with (tmp_path / "run" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        network = own_task.SPACE.architecture({c.name: row[c.name] for c in own_task.SPACE.choices})
        count = int(row["images_count"])
        found = float(row["accuracy_pct"])
        assert found == pytest.approx(per_image(network, count).mean())
        if count == 400:
            assert float(row["full_accuracy_pct"]) == found


def wrong_count(architecture: Architecture, images: int = 400) -> Any:
    return per_image(architecture, images)[:-1]


def test_arrays_of_another_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="24 numbers for images=25; return one for each"):
        nas.search(tmp_path / "run", TASK.asked_for(evaluate=wrong_count), trials=4)


@pytest.mark.long
def test_a_killed_race_goes_on(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    words = [
        sys.executable,
        "-m",
        "nas",
        "search",
        "--task",
        "test_fidelity:LOGGED",
        "--trials",
        "6",
    ]
    words += ["--out", str(tmp_path / "run")]
    here = str(Path(__file__).parent)
    places = [here, os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "ASKED": str(asked), "PYTHONPATH": os.pathsep.join(places)}
    process = subprocess.Popen(words, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    kill_when(process, lambda: asked.exists() and len(asked.read_text().splitlines()) > 20)
    subprocess.run([*words, "--resume"], env=env, cwd=tmp_path, check=True, capture_output=True)
    lines = Counter(asked.read_text().splitlines())
    twice = [line for line, count in lines.items() if count > 1]
    assert len(twice) <= 1, "only what was on its way when it was killed"
    results = json.loads((tmp_path / "run" / "run.json").read_text())["results"]
    assert results["seen"]["spent"] <= 6 * 400


def logged(architecture: Architecture, images: int = 400) -> Any:
    """Says in a file what it was asked."""
    with Path(os.environ["ASKED"]).open("a") as file:
        file.write(f"{architecture.digest} {images}\n")
    return per_image(architecture, images)


LOGGED = TASK.asked_for(evaluate=logged)


@pytest.mark.long
def test_workers_race_too(tmp_path: Path) -> None:
    found = nas.search(tmp_path / "run", TASK, trials=6, workers=nas.Workers(2))
    assert found.summary["seen"]["spent"] <= 6 * 400
    assert found.winner.values[0] == pytest.approx(per_image(found.winner.architecture).mean())
