"""Strategies on tables: what is run, what is kept, what is said."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nas.benchmark import Benchmark, Run, Search, compared, of_table, summary
from nas.benchmark.picture import colours_of, in_words
from nas.benchmark.run import by_study, run_one
from nas.benchmark.statistics import summary_of
from nas.benchmark.tabular import Evaluate
from nas.problem.problem import Problem
from search_spaces import Architecture, InputError, read_table

Call = Callable[..., tuple[int, str, str]]
TRIALS, SEEDS = 30, (0, 1, 2)
OWN = """\
from optuna.samplers import RandomSampler
def mine(problem):
    assert not hasattr(problem, "reference")
    return RandomSampler(seed=problem.seed)
WORD = "no strategy"

def three(problem):
    return 3


def broken(problem):
    raise ValueError("two\\nlines")


class Inside(RandomSampler):
    def sample_independent(self, *given):
        raise RuntimeError("no option")


def inside(problem):
    return Inside()


def leaves(problem):
    raise SystemExit(0)
"""


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty networks whose error and latency disagree."""
    rng = np.random.default_rng(0)
    rows = []
    for block in ("none", "conv", "attention", "both"):
        for depth in range(1, 5):
            for width in (8, 16, 32, 64, 128):
                power = {"none": 0, "conv": 1, "attention": 1.4, "both": 2}[block] * depth
                error = 70 / (1 + power) + 100 / width + rng.random()
                rows.append((block, depth, width, round(error, 4), round(1 + power * width / 9, 4)))
    path = tmp_path_factory.mktemp("bench") / "table.csv"
    columns = ["block", "depth", "width", "error_pct", "latency_ms"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def benchmark(table: Path) -> Benchmark:
    return of_table(table, ["error_pct", "latency_ms"], ["latency_ms"], reference=[60, 60])


def told(runs: Sequence[Run]) -> list[tuple[str, int, list[list[float]]]]:
    return [(run.strategy, run.seed, np.asarray(run.values).tolist()) for run in runs]


def test_what_evaluates_everything_finds_everything(benchmark: Benchmark) -> None:
    run = run_one(benchmark, ("random", 0), 1000)
    assert len(set(run.architectures)) == len(run.architectures) == 80
    shares = benchmark.shares(run.values)
    assert shares[-1] == 1
    assert (np.diff(shares) >= 0).all()
    assert run.own_ms > 0


def test_the_file_replays_to_what_is_said(benchmark: Benchmark, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    runs = compared(benchmark, ["random", "nsga2"], TRIALS, SEEDS, out)
    said = {each.strategy: each for each in summary(benchmark, runs, [10, TRIALS]).standings}
    frame = pd.read_csv(out)
    assert list(frame) == [
        *("strategy", "seed", "trial", "block", "depth", "width", "error_pct", "latency_ms")
    ]
    for strategy, standing in said.items():
        finals = []
        for seed in SEEDS:
            rows = frame[(frame["strategy"] == strategy) & (frame["seed"] == seed)]
            assert rows["trial"].tolist() == list(range(TRIALS))
            assert not rows.duplicated(["block", "depth", "width"]).any()
            found = rows[["error_pct", "latency_ms"]].to_numpy()
            finals.append(benchmark.shares(found)[-1])
        assert standing.shares[-1].mean == pytest.approx(np.mean(finals))
        assert standing.shares[-1].deviation == pytest.approx(np.std(finals, ddof=1))
    # The results are a table as any other: what was evaluated is in it with its metrics.
    assert read_table(out).metrics.shape == (2 * 3 * TRIALS, 2)


def test_resumed_is_as_uninterrupted(benchmark: Benchmark, tmp_path: Path) -> None:
    whole = compared(benchmark, ["random", "nsga2"], TRIALS, SEEDS, tmp_path / "whole.csv")
    out, calls = tmp_path / "cut.csv", []

    def cut(
        strategy: str, problem: Problem, trials: int, evaluate: Evaluate
    ) -> Sequence[Architecture]:
        calls.append(strategy)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return by_study(strategy, problem, trials, evaluate)

    with pytest.raises(KeyboardInterrupt):
        compared(benchmark, ["random", "nsga2"], TRIALS, SEEDS, out, search=cut)
    with out.open("a") as stream:  # what a process leaves that is killed while it writes
        stream.write("random,2,0,none,1")
    resumed = compared(benchmark, ["random", "nsga2"], TRIALS, SEEDS, out, search=cut)
    assert told(resumed) == told(whole)
    assert len(calls) == 3 + 4, "runs that were whole ran again"
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    # More seeds and other strategies go on in the same file.
    more = compared(benchmark, ["nsga2"], TRIALS, range(4), out, search=cut)
    assert told(more[:3]) == told(whole[3:])
    assert len(calls) == 3 + 4 + 1


def counted(calls: list[tuple[str, int]]) -> Search:
    def search(
        strategy: str, problem: Problem, trials: int, evaluate: Evaluate
    ) -> Sequence[Architecture]:
        calls.append((strategy, trials))
        return by_study(strategy, problem, trials, evaluate)

    return search


def test_more_trials_extend_what_is_there(benchmark: Benchmark, tmp_path: Path) -> None:
    out, calls = tmp_path / "grown.csv", list[tuple[str, int]]()
    names = ["random", "cost-aware"]
    short = compared(benchmark, names, 10, (0, 1), out, search=counted(calls))
    lines = out.read_text().splitlines()
    longer = compared(benchmark, [*names, "nsga2"], 20, (0, 1), out, search=counted(calls))
    assert told(longer) == told(
        compared(benchmark, [*names, "nsga2"], 20, (0, 1), tmp_path / "whole.csv")
    )
    assert out.read_text().splitlines()[: len(lines)] == lines, "nothing is written anew"
    calls.clear()
    assert told(compared(benchmark, names, 10, (0, 1), out, search=counted(calls))) == told(short)
    assert not calls, "fewer trials are a part of more"
    every = compared(benchmark, ["random"], 1000, (0,), out, search=counted(calls))
    assert len(every[0].values) == 80
    compared(benchmark, ["random"], 1000, (0,), out, search=counted(calls))
    assert calls == [("random", 1000)], "there are no more, and that is known"


def test_the_same_runs_are_judged_by_another_reference(
    benchmark: Benchmark, table: Path, tmp_path: Path
) -> None:
    out, calls = tmp_path / "r.csv", list[tuple[str, int]]()
    compared(benchmark, ["random"], 20, (0,), out, search=counted(calls))
    for reference in ("front", "corner", [40, 30]):
        other = replace(
            of_table(table, ["error_pct", "latency_ms"], ["latency_ms"], reference=reference),
            goal=benchmark.goal,
        )
        [run] = compared(other, ["random"], 20, (0,), out, search=counted(calls))
        assert other.shares(run.values)[-1] != benchmark.shares(run.values)[-1]
    assert len(calls) == 1


def test_a_strategy_that_was_edited_runs_anew(call: Call, table: Path, tmp_path: Path) -> None:
    source = tmp_path / "edited.py"
    source.write_text(OWN)
    words = [
        *("bench", str(table), "--objectives", "error_pct,latency_ms", "--known", "latency_ms"),
        *("--strategies", "random,edited:mine", "--trials", "10", "--seeds", "2"),
        *("--reference", "front", "--out", "r.csv"),
    ]
    code, _, err = call(*words)
    assert code == 0, err
    before = pd.read_csv("r.csv")
    code, _, err = call(*words)
    assert "runs anew" not in err
    source.write_text(OWN.replace("seed=problem.seed", "seed=problem.seed + 100"))
    sys.modules.pop("edited")
    code, _, err = call(*words)
    assert code == 0
    assert "edited:mine: changed since r.csv was written, so it runs anew" in err
    after = pd.read_csv("r.csv")
    for strategy, same in (("random", True), ("edited:mine", False)):
        rows = [frame[frame["strategy"] == strategy] for frame in (before, after)]
        assert len(rows[0]) == len(rows[1]) == 20
        assert (rows[0].to_numpy() == rows[1].to_numpy()).all() == same


def test_a_quality_under_a_budget_is_judged_by_regret(call: Call, table: Path) -> None:
    words = [
        *("bench", str(table), "--objectives", "error_pct", "--at-most", "latency_ms=20"),
        *("--strategies", "random,cost-aware", "--trials", "20", "--seeds", "2", "--out", "r.csv"),
    ]
    code, out, err = call(*words)
    assert code == 0, err
    assert "regret: how far error_pct is from the best" in out
    frame = pd.read_csv(table)
    inside = frame[frame["latency_ms"] <= 20]
    evaluated, judged = pd.read_csv("r.csv"), pd.read_csv("r.judged.csv")
    assert len(evaluated) == len(judged) == 80
    for key, rows in evaluated.groupby(["strategy", "seed"]):
        found = np.minimum.accumulate(rows["error_pct"].to_numpy()) - inside["error_pct"].min()
        told = judged[(judged["strategy"] == key[0]) & (judged["seed"] == key[1])]
        assert told["regret"].to_numpy() == pytest.approx(found)


def test_a_strategy_keeps_its_colour() -> None:
    names = ["random", "mine:a", "mine:b", "cost-aware"]
    alone, together = colours_of(["mine:a"]), colours_of(names)
    assert alone["mine:a"] == together["mine:a"]
    assert len(set(together.values())) == 4
    assert in_words("cifar100_error_pct") == "cifar100 error (%)"


def test_how_much_of_the_front_is_judged_is_said(call: Call, table: Path) -> None:
    words = [
        *("bench", str(table), "--objectives", "error_pct,latency_ms", "--known", "latency_ms"),
        *("--strategies", "random", "--trials", "5", "--seeds", "1", "--out", "r.csv"),
    ]
    code, out, err = call(*words)
    assert code == 0, err
    judged, whole = map(int, re.search(r"judged: (\d+) of the (\d+) networks", out).groups())  # type: ignore[union-attr]
    assert ("are judged, so shares say little; --reference front" in err) == (judged < 5)
    code, out, err = call(*words, "--reference", "front")
    assert f"judged: {whole} of the {whole} networks of the true front" in out
    assert "say little" not in err
    code, _, err = call(*words, "--reference", "nadir")
    assert code == 2
    assert "--reference nadir: is none of wanted, front, corner; or give a number" in err


def test_workers_find_the_same(benchmark: Benchmark, tmp_path: Path) -> None:
    alone = compared(benchmark, ["random", "nsga2"], 10, (0, 1), tmp_path / "alone.csv")
    together = compared(
        benchmark, ["random", "nsga2"], 10, (0, 1), tmp_path / "together.csv", workers=2
    )
    assert told(together) == told(alone)


def test_other_settings_and_changed_files_are_refused(
    benchmark: Benchmark, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.csv"
    compared(benchmark, ["random"], 5, (0,), out)
    other = of_table(table, ["error_pct", "latency_ms"], reference=[60, 60])
    with pytest.raises(InputError, match=r"was begun with known \[\"latency_ms\"\], not \[\]"):
        compared(other, ["random"], 5, (0,), out)
    with pytest.raises(InputError, match="random is named twice"):
        compared(benchmark, ["random", "random"], 5, (0,), out)
    out.write_text(out.read_text()[:-20])
    with pytest.raises(InputError, match="was changed since nas bench wrote it"):
        compared(benchmark, ["random"], 5, (0,), out)
    (tmp_path / "letter.csv").write_text("dear,sir\n")
    with pytest.raises(InputError, match=r"exists, with no letter.json of nas bench"):
        compared(benchmark, ["random"], 5, (0,), tmp_path / "letter.csv")
    assert (tmp_path / "letter.csv").read_text() == "dear,sir\n"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["letter.csv", "results.csv", "results.json"]


def test_what_is_never_reached_counts_as_never() -> None:
    quick, slow = np.linspace(0.5, 1, 100), np.linspace(0.1, 0.8, 100)
    curves = {
        "mixed": np.stack([quick, quick, slow, slow, slow]),
        "quick": np.stack([quick] * 5),
    }
    found = summary_of(curves, {"mixed": 1.0, "quick": 2.0}, [50])
    best, worst = found.standings
    assert (best.strategy, best.rank) == ("quick", 1.2)  # two ties of five
    assert (worst.strategy, worst.rank) == ("mixed", 1.8)
    assert (worst.evaluations_to[0].median, worst.evaluations_to[0].reached) == (None, 2)
    assert best.evaluations_to[0].median == np.argmax(quick >= 0.9) + 1
    assert [share.evaluations for share in best.shares] == [50, 100]


@pytest.mark.slow
def test_differences_are_sure_only_where_seeds_agree() -> None:
    rng = np.random.default_rng(0)
    noise = rng.random((12, 60)) * 0.1
    curves = {"low": noise, "twin": noise[::-1], "high": noise + 0.5}
    found = summary_of(curves, dict.fromkeys(curves, 1.0))
    assert found.standings[0].strategy == "high"
    assert found.friedman_p is not None
    assert found.friedman_p < 0.01
    ps = {(pair.better, pair.worse): pair.p for pair in found.pairs}
    # All twelve seeds agree: 2 / 2**12 for each of three pairs, after Holm.
    assert ps["high", "low"] == pytest.approx(3 * 2**-11, rel=0.01)
    assert max(ps.values()) > 0.5


@pytest.mark.slow
def test_a_benchmark_by_command(call: Call, table: Path, tmp_path: Path) -> None:
    (tmp_path / "own_strategy.py").write_text(OWN)
    words = [
        *("bench", str(table), "--objectives", "error_pct,latency_ms", "--known", "latency_ms"),
        *("--strategies", "random,own_strategy:mine", "--trials", "20", "--seeds", "3"),
        *("--reference", "60,60", "--out", "results.csv", "--workers", "2"),
    ]
    code, out, err = call(*words)
    assert code == 0, err
    assert "own_strategy:mine" in out
    assert "3 seeds cannot prove which is better; 6 may" in out
    assert "bench error_pct, latency_ms: done" in err
    for kind, magic in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        assert (tmp_path / f"results.{kind}").read_bytes().startswith(magic)
    judged = pd.read_csv("results.judged.csv")
    assert list(judged) == ["strategy", "seed", "trial", "share", "regret"]
    assert len(judged) == 2 * 3 * 20
    code, out, _ = call(*words, "--at", "5,10", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["trials"], found["seeds"], found["rows"]) == (20, 3, 80)
    assert found["reference"] == [60, 60]
    for strategy in found["strategies"]:
        assert [share["evaluations"] for share in strategy["shares"]] == [5, 10, 20]
        assert [goal["share"] for goal in strategy["evaluations_to"]] == [0.9, 0.95, 0.99]
        assert strategy["own_ms"] > 0
    # The same sampler with the same seeds: a tie.
    assert [strategy["rank"] for strategy in found["strategies"]] == [1.5, 1.5]


@pytest.mark.long
def test_a_benchmark_on_a_slice_of_nb201(call: Call, shared_data: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(shared_data / "nb201.csv.gz").sample(600, random_state=0)
    columns = [*(f"edge{i}" for i in range(6)), "cifar100_error_pct", "pixel3_latency_ms"]
    frame[columns].to_csv(tmp_path / "slice.csv", index=False)
    code, out, err = call(
        *("bench", "slice.csv", "--objectives", "cifar100_error_pct,pixel3_latency_ms"),
        *("--known", "pixel3_latency_ms", "--strategies", "cost-aware,random", "--trials", "60"),
        *("--seeds", "6", "--out", "results.csv", "--json"),
    )
    assert code == 0, err
    found = json.loads(out)
    assert found["trials"] == 60
    ranks = {strategy["strategy"]: strategy["rank"] for strategy in found["strategies"]}
    assert ranks["cost-aware"] < ranks["random"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--strategies genetic", "unknown strategy 'genetic'"),
        ("--strategies ,", "--strategies names none"),
        ("--strategies own_strategy:WORD", "is not callable"),
        ("--reference 60,60 --strategies own_strategy:three", "returns an Optuna sampler"),
        (
            "--reference 60,60 --strategies own_strategy:broken",
            "the strategy failed (own_strategy.py, line 12): ValueError: two lines",
        ),
        ("--reference 60,60 --strategies own_strategy:inside", "line 17): RuntimeError: no option"),
        ("--reference 60,60 --strategies own_strategy:leaves", "line 25): SystemExit"),
        ("--reference 10", "has 1 numbers for 2 objectives"),
        ("--reference 10,x", "give a number an objective"),
        ("--reference 1,1", "no row is better than --reference 1,1"),
        ("--at 0", "give whole numbers above 0"),
        ("--at-most latency_ms", "give a column and a number"),
        ("--known latency_ms --at-most latency_ms=nan", "give a column and a number"),
        (
            "--known latency_ms --at-most latency_ms=9 --at-most latency_us=9000",
            "there is another limit on it",
        ),
        (
            "--known latency_ms --at-most latency_ms=0.1",
            "no row keeps --at-most latency_ms=0.1; the least is 1",
        ),
        ("--known depth", "--known depth: is no objective"),
        ("--out .", "is a folder"),
        ("--out results.txt", "call it results.csv"),
        ("--out table.csv", "would be written over the table"),
        ("--space moving_digits", "has choices with no column"),
        ("--trials 0", ""),
    ],
)
def test_bad_wishes_are_one_line_and_exit_2(
    call: Call, table: Path, tmp_path: Path, words: str, said: str
) -> None:
    (tmp_path / "own_strategy.py").write_text(OWN)
    (tmp_path / "table.csv").write_bytes(table.read_bytes())
    wishes = ["--objectives", "error_pct,latency_ms", "--out", "r.csv", "--strategies", "random"]
    code, out, err = call("bench", "table.csv", *wishes, *words.split())
    assert (code, out) == (2, ""), err
    assert said in err
    assert "Traceback" not in err
    if said:
        said_of_it = [line for line in err.splitlines() if not line.startswith("bench ")]
        assert len(said_of_it) == 1, "and progress"
    assert not list(tmp_path.glob("r.*"))
