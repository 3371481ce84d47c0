"""Few measurements, other devices' help, and what to measure first."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

import latency
from latency import EncodedPredictor, Measurement, Source, Workload, from_choices
from latency.regression.bayesian_linear import Prior, Regression, Term, fit
from latency.regression.bounds import quantile_of_fit
from search_spaces import Choice, InputError, NumericChoice, SearchSpace, encode, read_table

OPTIONS = ("none", "conv", "attention", "pool")
SPACE = SearchSpace("made_up", tuple(Choice(f"s{i}", OPTIONS) for i in range(8)))


def networks(count: int, seed: int = 0) -> tuple[list[Workload], np.ndarray]:
    """Random networks of SPACE, and them encoded."""
    rng = np.random.default_rng(seed)
    architectures = [SPACE.sample(rng) for _ in range(count)]
    workloads = [from_choices(str(a), list(a.items())) for a in architectures]
    return workloads, encode(SPACE, architectures)


def device_ms(encoded: np.ndarray, seed: int, base: np.ndarray | None = None) -> np.ndarray:
    """Latencies of a made-up device; of one like another when given that one's weights."""
    own = np.abs(np.random.default_rng(seed).normal(size=encoded.shape[1]))
    weights = own if base is None else base * (1 + 0.1 * own)
    return np.asarray(2.0 + encoded @ weights)


def test_a_like_device_makes_few_measurements_enough() -> None:
    found, encoded = networks(400)
    base = np.abs(np.random.default_rng(9).normal(size=encoded.shape[1]))
    truth = device_ms(encoded, 0, base)
    lent = [
        Source(f"d{seed}", found, list(device_ms(encoded, seed, base * factor)))
        for seed, factor in ((1, 1.0), (2, 3.0), (3, 0.5))
    ]
    seen = [Measurement(w, float(ms)) for w, ms in zip(found[:8], truth[:8], strict=True)]
    sources = latency.learn_sources(lent)

    def rank(device: latency.Device) -> float:
        guess = [device.predict(w).latency_ms for w in found[8:]]
        return float(spearmanr(guess, truth[8:]).statistic)

    alone = rank(latency.calibrate(seen, "alone"))
    borrowing = rank(latency.calibrate(seen, "borrowing", borrow=sources))
    assert borrowing > 0.97
    assert borrowing > alone


def test_unlike_devices_do_little_harm() -> None:
    found, encoded = networks(600)
    truth = device_ms(encoded, 0)
    lent = [Source(f"d{seed}", found, list(device_ms(encoded, seed))) for seed in (11, 12, 13)]
    seen = [Measurement(w, float(ms)) for w, ms in zip(found[:60], truth[:60], strict=True)]
    device = latency.calibrate(seen, "x", borrow=latency.learn_sources(lent))
    guess = [device.predict(w).latency_ms for w in found[60:]]
    assert spearmanr(guess, truth[60:]).statistic > 0.97


def test_pairs_are_learned_where_they_matter() -> None:
    """A source whose second slot costs only where the first is not `none`."""
    space = SearchSpace("pairs", (Choice("a", OPTIONS), Choice("b", OPTIONS)))
    rng = np.random.default_rng(0)
    architectures = [space.sample(rng) for _ in range(400)]
    cost = dict(zip(OPTIONS, (0.0, 2.0, 5.0, 1.0), strict=True))
    truth = np.array([3 + cost[str(x["a"])] * (1 + cost[str(x["b"])]) for x in architectures])
    workloads = [from_choices(str(a), list(a.items())) for a in architectures]
    sources = latency.learn_sources([Source("other", workloads, list(2.5 * truth))])
    assert sources.pairs
    seen = [Measurement(w, float(ms)) for w, ms in zip(workloads[:6], truth[:6], strict=True)]
    device = latency.calibrate(seen, "x", borrow=sources)
    guess = np.array([device.predict(w).latency_ms for w in workloads])
    assert np.abs(guess / truth - 1).max() < 0.15
    again = latency.Device.from_json(device.to_json(), "here")
    assert [again.predict(w).latency_ms for w in workloads] == pytest.approx(list(guess))


def test_encoded_predictions_are_the_predictions() -> None:
    found, encoded = networks(300)
    truth = device_ms(encoded, 0)
    lent = latency.learn_sources([Source("d", found, list(device_ms(encoded, 5)))])
    seen = [Measurement(w, float(ms)) for w, ms in zip(found[:30], truth[:30], strict=True)]
    device = latency.calibrate(seen, "x", borrow=lent)
    mean, low, high = EncodedPredictor.of_choices(device, SPACE).predict(encoded)
    for index in range(0, 300, 37):
        one = device.predict(found[index])
        assert mean[index] == pytest.approx(one.latency_ms, rel=1e-4)
        assert low[index] == pytest.approx(one.low_ms, rel=1e-3)
        assert high[index] == pytest.approx(one.high_ms, rel=1e-3)


def test_numbers_that_vary_freely_are_encoded_and_predicted_alike() -> None:
    space = SearchSpace("n", (NumericChoice("width", 8.0, 512.0, True), Choice("op", ("a", "b"))))
    rng = np.random.default_rng(0)
    architectures = [space.sample(rng) for _ in range(60)]
    found = [from_choices(str(a), list(a.items()), {"width"}) for a in architectures]
    truth = [float(a["width"]) * 0.1 + 5 * (a["op"] == "b") + 3 for a in architectures]
    seen = [Measurement(w, ms) for w, ms in zip(found[:20], truth[:20], strict=True)]
    device = latency.calibrate(seen, "x")
    predictor = EncodedPredictor.of_choices(device, space)
    mean, low, high = predictor.predict(encode(space, architectures))
    for index, workload in enumerate(found):
        one = device.predict(workload)
        assert mean[index] == pytest.approx(truth[index], rel=0.05)
        assert mean[index] == pytest.approx(one.latency_ms, rel=1e-3)
        assert high[index] - low[index] == pytest.approx(one.high_ms - one.low_ms, rel=1e-2)


def test_measuring_what_is_proposed_beats_measuring_at_random() -> None:
    found, encoded = networks(500)
    errors: dict[str, list[float]] = {"chosen": [], "random": []}
    chosen = latency.worth_measuring(found, 10)
    assert len(set(chosen)) == 10
    for seed in range(6):
        truth = device_ms(encoded, seed)
        for how, rows in (("chosen", chosen), ("random", range(seed * 10, seed * 10 + 10))):
            device = latency.calibrate([Measurement(found[r], float(truth[r])) for r in rows], how)
            guess = EncodedPredictor.of_choices(device, SPACE).predict(encoded)[0]
            errors[how].append(float(np.abs(guess / truth - 1).mean()))
    assert np.mean(errors["chosen"]) < np.mean(errors["random"])


@pytest.mark.parametrize(
    ("latency_ms", "message"),
    [
        ([1.0] * 9, "9 networks; to borrow takes ten"),
        ([1.0] * 20, "all latencies are equal"),
        ([1.0] * 19 + [float("nan")], "not positive"),
        ([2.0] * 19 + [-1.0], "not positive"),
    ],
)
def test_sources_that_teach_nothing_are_refused(latency_ms: list[float], message: str) -> None:
    found, _ = networks(len(latency_ms))
    with pytest.raises(InputError, match=message):
        latency.learn_sources([Source("other", found, latency_ms)])


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 12), st.integers(1, 6), st.integers(0, 10_000))
def test_left_out_predictions_are_those_of_fits_without_the_network(
    count: int, effects: int, seed: int
) -> None:
    """The closed form equals fitting again without each network."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(count, effects))
    targets = 1 + 0.1 * columns @ rng.normal(size=effects) + 0.05 * rng.normal(size=count)
    prior_means, prior_mean_weights = np.ones((count, 1)), np.zeros((1, effects))
    priors = [Prior({"x": 0.01}), Prior({"x": 1.0}, probability=0.3)]
    regression = Regression(
        targets, {"x": Term(columns, np.eye(effects))}, prior_means, prior_mean_weights
    )
    whole = fit(regression, priors)
    for out in range(count):
        kept = np.array([row for row in range(count) if row != out])
        without = fit(regression.rows(kept), priors)
        expected = 1 + columns[out] @ without.weights
        assert whole.leave_one_out[out] == pytest.approx(expected, abs=2e-3)


@pytest.mark.slow
def test_ten_public_measurements_rank_the_rest(shared_data: Path) -> None:
    table = read_table(shared_data / "nb201.csv.gz")
    rows = np.random.default_rng(1).permutation(len(table.choices))[:3000]
    architectures = [table.architectures[row] for row in rows]
    found = [from_choices(str(a), list(a.items())) for a in architectures]
    encoded = encode(table.space, architectures)

    def truth(name: str) -> np.ndarray:
        return table.metric(f"{name}_latency_ms").to_numpy()[rows]

    lent = ["1080ti_256", "2080ti_32", "silver_4114", "pixel3", "samsung_s7", "essential_ph_1"]
    sources = latency.learn_sources([Source(n, found, list(truth(n))) for n in lent])
    ranks: dict[str, list[float]] = {"alone": [], "borrowing": []}
    for name in ("titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss"):
        seen = [Measurement(found[row], float(truth(name)[row])) for row in range(10)]
        for how, borrow in (("alone", None), ("borrowing", sources)):
            device = latency.calibrate(seen, name, borrow=borrow)
            guess = EncodedPredictor.of_choices(device, table.space).predict(encoded)[0]
            ranks[how].append(float(spearmanr(guess[10:], truth(name)[10:]).statistic))
    assert np.mean(ranks["alone"]) > 0.92
    assert np.mean(ranks["borrowing"]) > 0.95


def covered(device: latency.Device, unseen: list[Workload], truth: np.ndarray) -> tuple[float, ...]:
    """How often the bounds hold, and their mean width beside the mean latency."""
    found = device.predict_all(unseen)
    low, high = np.array([[p.low_ms, p.high_ms] for p in found]).T
    inside = (low <= truth) & (truth <= high)
    return float(inside.mean()), float((high - low).mean() / truth.mean())


@pytest.mark.slow
def test_bounds_hold_on_public_devices_of_every_kind(shared_data: Path) -> None:
    table = read_table(shared_data / "nb201.csv.gz")
    spelled = table.decisions[:1000]
    found = [from_choices(str(row), list(each.items())) for row, each in enumerate(spelled)]
    held = {}
    for name in ("titanx_1", "gold_6226", "essential_ph_1", "raspi4"):
        truth = table.metric(f"{name}_latency_ms").to_numpy()[:1000]
        shares = []
        for seed in range(6):
            order = np.random.default_rng(seed).permutation(1000)
            seen = [Measurement(found[row], float(truth[row])) for row in order[:20]]
            unseen = [found[row] for row in order[20:]]
            device = latency.calibrate(seen, name)
            shares.append(covered(device, unseen, truth[order[20:]])[0])
        held[name] = float(np.mean(shares))
    assert 0.86 < np.mean(list(held.values())) < 0.94, held
    assert 0.8 < min(held.values()) <= max(held.values()) < 0.98, held


def test_one_bad_measurement_does_not_make_bounds_useless() -> None:
    """A network that took three times as long, once."""
    found, encoded = networks(300)
    truth = device_ms(encoded, 0) * np.random.default_rng(0).normal(1, 0.02, 300)
    widths = []
    for factor in (1.0, 3.0):
        seen = [
            Measurement(w, float(ms) * (factor if row == 7 else 1.0))
            for row, (w, ms) in enumerate(zip(found[:40], truth[:40], strict=True))
        ]
        held, width = covered(latency.calibrate(seen, "x"), found[40:], truth[40:])
        assert held > 0.8
        widths.append(width)
    assert widths[1] < 1.5 * widths[0]


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=60), st.floats(1, 5))
def test_bounds_widen_with_the_errors(errors: list[float], factor: float) -> None:
    quantile = quantile_of_fit(errors)
    assert quantile > 0
    assert quantile_of_fit([factor * error for error in errors]) >= quantile
    assert quantile_of_fit(errors[::-1]) == pytest.approx(quantile)
    assert quantile_of_fit([-error for error in errors]) == pytest.approx(quantile)


@pytest.mark.parametrize("count", [5, 10, 20, 50, 400])
def test_bounds_of_ordinary_errors_hold_nine_in_ten(count: int) -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(300):
        spread = rng.uniform(0.7, 1.4)  # of the truth, beside what the model states
        quantile = quantile_of_fit(list(spread * rng.normal(size=count)))
        held.append(float((np.abs(spread * rng.normal(size=400)) <= quantile).mean()))
    assert 0.88 < np.mean(held) < (0.96 if count == 5 else 0.94)  # five say little of a spread


def test_an_option_that_nothing_held_widens_the_bounds() -> None:
    found, encoded = networks(40)
    truth = device_ms(encoded, 0)
    seen = [Measurement(w, float(ms)) for w, ms in zip(found, truth, strict=True)]
    device = latency.calibrate(seen, "x")

    def width_ms(option: str) -> float:
        chosen = [(f"s{i}", "conv") for i in range(7)] + [("s7", option)]
        one = device.predict(from_choices("n", chosen))
        return one.high_ms - one.low_ms

    assert width_ms("new") > 3 * width_ms("pool")


def test_sources_may_stand_in_tables_of_their_own() -> None:
    """Two tables of the same device, in which different options stand, are as one."""
    found, encoded = networks(400)
    truth = device_ms(encoded, 0)
    halves = [[w for w in range(400) if ("pool" in found[w].name) == has] for has in (True, False)]
    tables = [[found[row] for row in half] for half in halves]
    sources = latency.learn_sources(
        [
            Source(f"t{index}", table, [float(truth[row]) for row in half])
            for index, (table, half) in enumerate(zip(tables, halves, strict=True))
        ]
    )
    whole = latency.learn_sources([Source("whole", found, list(truth))])
    at = [whole.features.index(feature) for feature in sources.features]
    assert sources.networks == 400
    assert sources.center == pytest.approx(whole.center[at])
    assert sources.variance == pytest.approx(whole.variance[at])
