"""Edges off every path of a cell: whether a device runs them is learned from its measurements."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

import latency
from latency import EncodedPredictor, Measurement, Source, Workload, from_choices
from search_spaces import CellGraph, Choice, Edge, SearchSpace, encode, load, read_table

OPTIONS = ("none", "skip", "pool", "conv1", "conv3")
COSTS_MS = np.array([0.0, 0.2, 0.8, 2.0, 6.0])
PAIRS = list(combinations(range(4), 2))
GRAPH = CellGraph(tuple(Edge(str(i), str(j), f"{i}-{j}") for i, j in PAIRS), ("0",), ("3",))
SPACE = SearchSpace("cell", tuple(Choice(name, OPTIONS) for name in GRAPH.choices), (GRAPH,))
Decided = list[dict[str, str]]


def drawn(count: int, seed: int) -> Decided:
    rows = np.random.default_rng(seed).integers(len(OPTIONS), size=(count, len(PAIRS)))
    return [{n: OPTIONS[o] for n, o in zip(GRAPH.choices, row, strict=True)} for row in rows]


def workloads(found: Decided, *, graph: bool) -> list[Workload]:
    return [
        from_choices(str(row), list(each.items()), dead=SPACE.dead(each) if graph else None)
        for row, each in enumerate(found)
    ]


def running(found: Decided, skipped: set[str], seed: int = 0) -> np.ndarray:
    """A device that runs all but what is skipped, to 2%."""
    noise = np.random.default_rng(seed).normal(1, 0.02, len(found))
    run = [
        sum(
            COSTS_MS[OPTIONS.index(option)]
            for name, option in each.items()
            if SPACE.dead(each).get(name) not in skipped
        )
        for each in found
    ]
    return (3 + np.array(run)) * noise


def ranks(skipped: set[str], *, graph: bool, lent: bool, seed: int = 0) -> float:
    """Spearman of 400 unseen networks, dead edges and all, after 20 measurements."""
    seen, unseen = drawn(20, seed), drawn(400, 1000)
    truth_ms = running(seen, skipped, seed)
    sources = None
    if lent:  # all of which run everything
        many = drawn(300, 2000)
        plain = workloads(many, graph=False)
        found = [Source(f"d{s}", plain, list(running(many, set(), s))) for s in range(3)]
        sources = latency.learn_sources(found)
    measured = zip(workloads(seen, graph=graph), truth_ms.tolist(), strict=True)
    device = latency.calibrate([Measurement(w, ms) for w, ms in measured], "d", borrow=sources)
    predicted = [p.latency_ms for p in device.predict_all(workloads(unseen, graph=graph))]
    return float(spearmanr(predicted, running(unseen, skipped, 7)).statistic)


@pytest.mark.slow
@pytest.mark.parametrize("lent", [False, True], ids=["alone", "borrowing"])
@pytest.mark.parametrize("skipped", [{"unread"}, {"unread", "unfed"}], ids=["read", "live"])
def test_a_device_that_skips_what_is_dead_gains(skipped: set[str], *, lent: bool) -> None:
    gains = [
        ranks(skipped, graph=True, lent=lent, seed=s)
        - ranks(skipped, graph=False, lent=lent, seed=s)
        for s in range(3)
    ]
    assert np.mean(gains) > 0.03
    assert min(gains) > 0


@pytest.mark.slow
@pytest.mark.parametrize("lent", [False, True], ids=["alone", "borrowing"])
def test_a_device_that_runs_everything_loses_nothing(*, lent: bool) -> None:
    for seed in range(3):
        with_graph = ranks(set(), graph=True, lent=lent, seed=seed)
        assert with_graph > ranks(set(), graph=False, lent=lent, seed=seed) - 0.002


@pytest.mark.slow
def test_devices_that_run_everything_teach_one_that_does_not() -> None:
    """What they would save by skipping is lent, too: both helps are better than the graph alone."""
    both, graph = (
        float(np.mean([ranks({"unread", "unfed"}, graph=True, lent=lent, seed=s) for s in (0, 1)]))
        for lent in (True, False)
    )
    assert both > graph
    assert both > 0.98


@pytest.mark.slow
def test_what_skipping_saves_is_learned_of_each_device() -> None:
    many = drawn(400, 2000)
    found = workloads(many, graph=True)
    sources = latency.learn_sources(
        [
            Source("runs", found, list(running(many, set()))),
            Source("skips", found, list(running(many, {"unread"}))),
        ]
    )
    mean_ms = running(many, set()).mean()
    runs, skips = sources.saved_by([("unread", "conv3"), ("unread", "conv1"), ("unread", "skip")])
    assert runs * mean_ms == pytest.approx([6.0, 2.0, 0.2], abs=0.4)
    assert skips * mean_ms == pytest.approx([0.0, 0.0, 0.0], abs=0.4)
    assert sources.saved_by([("unread", "unheard of")]) == pytest.approx(np.zeros((2, 1)))


def test_networks_without_dead_edges_are_fitted_as_without_a_graph() -> None:
    seen = [each for each in drawn(60, 0) if not SPACE.dead(each)]
    times_ms = running(seen, set()).tolist()
    devices = [
        latency.calibrate(
            [Measurement(w, ms) for w, ms in zip(workloads(seen, graph=g), times_ms, strict=True)],
            "d",
        )
        for g in (False, True)
    ]
    assert devices[0].to_json() == devices[1].to_json()


def test_in_bulk_dead_edges_are_absent(tmp_path: Path) -> None:
    seen, rng = drawn(40, 0), np.random.default_rng(0)
    times_ms = (running(seen, {"unread"}) ** 2).tolist()
    many = drawn(1600, 2000)  # squared, so that the other device's options interact
    lent = Source("other", workloads(many, graph=False), [ms**2 for ms in running(many, set())])
    measured = zip(workloads(seen, graph=True), times_ms, strict=True)
    device = latency.calibrate(
        [Measurement(w, ms) for w, ms in measured], "d", borrow=latency.learn_sources([lent])
    )
    device.save(tmp_path / "d.json")
    device = latency.read_device(tmp_path / "d.json")
    assert device.model.pairs
    architectures = [SPACE.sample(rng) for _ in range(100)]
    spelled = [list(SPACE.spelled(each).items()) for each in architectures]
    one_by_one = device.predict_all([from_choices("n", each) for each in spelled])
    latency_ms, low_ms, high_ms = EncodedPredictor.of_choices(device, SPACE).predict(
        encode(SPACE, architectures)
    )
    assert latency_ms == pytest.approx([p.latency_ms for p in one_by_one], rel=1e-4)
    assert low_ms == pytest.approx([p.low_ms for p in one_by_one], rel=1e-4, abs=1e-3)
    assert high_ms == pytest.approx([p.high_ms for p in one_by_one], rel=1e-4)


def test_a_phone_of_the_public_table_gains(shared_data: Path) -> None:
    """The pixel3 leaves out what nothing reads; most devices of the table run it."""
    space = load("examples/nas_bench_201/cell.json")
    table = read_table(shared_data / "nb201.csv.gz")
    spelled = table.decisions[:800]
    truth_ms = table.metric("pixel3_latency_ms").to_numpy()[:800]
    gains = []
    for seed in range(4):
        order, found = np.random.default_rng(seed).permutation(800), []
        for graph in (False, True):
            networks = [
                from_choices(
                    "n",
                    list(spelled[row].items()),
                    dead=space.dead(spelled[row]) if graph else None,
                )
                for row in order
            ]
            measured = zip(networks[:30], truth_ms[order[:30]].tolist(), strict=True)
            device = latency.calibrate([Measurement(w, ms) for w, ms in measured], "pixel3")
            predicted = [p.latency_ms for p in device.predict_all(networks[30:])]
            found.append(spearmanr(predicted, truth_ms[order[30:]]).statistic)
        gains.append(found[1] - found[0])
    assert np.mean(gains) > 0.01
    assert min(gains) > -0.01
