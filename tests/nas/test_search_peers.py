"""Searches of other projects in `examples/benchmarks`: alike in what counts, and skipped alike."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nas.benchmark import Benchmark, of_table
from nas.benchmark.run import run_one
from nas.problem.hypervolume import hypervolume
from search_spaces import read_table

PEERS = ("pymoo-nsga2", "pymoo-choices", "botorch-qlognehvi", "botorch-ehvi", "smac")
WIDE = "botorch-ehvi-wide"
TRIALS = 14


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples" / "benchmarks")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty networks whose error and latency disagree."""
    rows = [
        (depth, kernel, width, 50 / (1 + depth) + 9 / kernel + 30 / width, depth * kernel * width)
        for depth in (1, 2, 3, 4, 5)
        for kernel in (1, 3, 5)
        for width in (4, 6, 8, 12)
    ]
    path = tmp_path_factory.mktemp("peers") / "table.csv"
    columns = ["depth", "kernel", "width", "error_pct", "latency_ms"]
    pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=0).to_csv(path, index=False)
    return path


def traded(table: Path) -> Benchmark:
    return of_table(table, ["error_pct", "latency_ms"], ["latency_ms"], reference="corner")


def run(peer: str, benchmark: Benchmark, trials: int) -> Any:
    import peers

    pytest.importorskip(peers.PEERS[peer].package)
    return run_one(benchmark, (peer, 0), trials, peers.search)


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
def test_different_networks_inside_the_budget_count(peer: str, table: Path) -> None:
    limit = 60.0
    under = of_table(table, ["error_pct"], at_most={"latency_ms": limit})
    for benchmark in (traded(table), under):
        found = run(peer, benchmark, TRIALS)
        again = run(peer, benchmark, TRIALS)
        assert found.architectures == again.architectures
        assert len(set(found.architectures)) == len(found.architectures) == TRIALS
        if benchmark is under:
            rows = under.lookup.rows(found.architectures)
            assert (read_table(table).metric("latency_ms").to_numpy()[rows] <= limit).all()


@pytest.mark.slow
def test_known_costs_find_the_whole_front_of_a_small_table(table: Path) -> None:
    benchmark = traded(table)
    assert benchmark.shares(run(WIDE, benchmark, 35).values)[-1] == 1.0


def test_expected_growth_is_the_mean_of_sampled_growths() -> None:
    pytest.importorskip("botorch")
    from peers.botorch_exact import expected_growth

    rng = np.random.default_rng(0)
    values, corner = rng.uniform(0, 1, (6, 2)), np.array([0.9, 0.95])
    mean, deviation, costs = rng.uniform(0, 1, (3, 5))
    growth = expected_growth(mean, deviation, costs, values, corner)
    draws = rng.normal(mean, deviation, (4000, 5))
    before = hypervolume(values, corner)
    for place, cost in enumerate(costs):
        grown = [
            hypervolume(np.vstack([values, [error, cost]]), corner) - before
            for error in draws[:, place]
        ]
        assert growth[place] == pytest.approx(
            np.mean(grown), abs=1e-6 + 5 * np.std(grown) / 4000**0.5
        )


@pytest.mark.slow
def test_what_is_believed_is_what_botorch_conditions_on() -> None:
    pytest.importorskip("botorch")
    import torch
    from peers.botorch_exact import Believed
    from peers.botorch_models import gaussian_process

    torch.manual_seed(0)
    X = torch.rand(40, 3, dtype=torch.float64)
    model = gaussian_process(X[:12], X[:12].sin().sum(dim=1, keepdim=True))
    posterior = Believed(model, X)
    chosen = X[[20, 30]]
    posterior.believe(20)
    posterior.believe(30)
    with torch.no_grad():
        told = model.condition_on_observations(chosen, model.posterior(chosen).mean).posterior(X)
    assert np.allclose(posterior.mean, told.mean[:, 0].numpy(), atol=1e-6)
    assert np.allclose(posterior.deviation**2, told.variance[:, 0].numpy(), atol=1e-6)


def test_macro_spaces_are_instances_of_their_seeds() -> None:
    from macro_space import LAYERS, OPTIONS, macro_table

    table = macro_table(3)
    pd.testing.assert_frame_equal(table, macro_table(3))
    assert not table["error_pct"].equals(macro_table(4)["error_pct"])
    layers = [name for name in table if name.startswith("layer")]
    assert len(table.drop_duplicates(layers)) == len(OPTIONS) ** LAYERS


@pytest.mark.slow
def test_a_run_is_kept_and_peers_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import search_peers
    from peers import Peer

    monkeypatch.setitem(search_peers.PEERS, "smac", Peer("no_such_package", "none:none"))
    wanted = ["--strategies", "random", "--peers", "pymoo-nsga2", "smac", "--tables", "macro:0"]
    wanted += ["--seeds", "2", "--trials", "12", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["search_peers.py", *wanted])
    search_peers.main()
    said = capsys.readouterr().out
    assert "skipped: smac: no_such_package is not installed; pip install" in said
    for judging in ("narrow", "whole", "winner"):
        assert f"macro:0, {judging}:" in said
        assert (tmp_path / f"macro_0_{judging}.png").stat().st_size
    assert said.count("best peer by rank: pymoo-nsga2") == 3
    kept = {path: path.read_bytes() for path in tmp_path.glob("*/*.csv")}
    assert len(kept) == 4  # the box and the front are judged on the same runs
    search_peers.main()
    assert capsys.readouterr().out == said
    assert {path: path.read_bytes() for path in kept} == kept
