"""The analytical cost model: recovers unit costs, keeps its doubts, stays what it is as JSON."""

import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency.cost_model.analytical import AnalyticalModel, fit
from latency.cost_model.unit_costs import (
    UnitCosts,
    accelerator_prior,
    eager_prior,
    independent_costs,
)
from latency.cost_model.work_amounts import COLUMNS, WORK_KINDS, amounts
from latency.measurement.measurement import Measurement
from latency.predictor.chips import chips
from latency.workload.workload import Operation, Workload, concatenate
from search_spaces import InputError

A14 = chips()["A14"].data_sheet
TRUE = dict(zip(WORK_KINDS, np.array(A14.medians) * 1.6, strict=True))


def network(seed: int, attention: bool = False) -> Workload:
    """Convolutions, depthwise ones and norms of random sizes; attention where it is asked for."""
    draw = np.random.default_rng(seed)
    operations = []
    for _ in range(int(draw.integers(5, 40))):
        channels, side = int(draw.integers(16, 512)), int(draw.integers(4, 64))
        shape, numbers = (1, channels, side, side), channels * side * side
        kind = str(draw.choice(["convolution", "depthwise", "normalisation", "movement"]))
        product = 2 * numbers * {"convolution": channels, "depthwise": 9}.get(kind, 0)
        stored = {"convolution": 2 * channels**2, "depthwise": 18 * channels}.get(
            kind, 2 * channels
        )
        stored = 0 if kind == "movement" else stored
        operations += [
            Operation(kind, shape, product, 4 * numbers, stored),
            Operation("elementwise", shape, 0, 4 * numbers),
        ]
    if attention:
        operations += [Operation("attention", (1, 8, 1024, 64), 4 * 8 * 1024**2 * 64, 10**7)] * 20
    return Workload(f"network{seed}", tuple(operations), number_bytes=2)


def true_ms(workload: Workload) -> float:
    return float(sum(TRUE[f] * a for f, a in zip(WORK_KINDS, amounts(workload), strict=False)))


def measurements(count: int, noise: float = 0.0, attention: bool = False) -> list[Measurement]:
    draw = np.random.default_rng(7)
    built = [network(seed, attention) for seed in range(count)]
    return [Measurement(w, true_ms(w) * float(np.exp(noise * draw.normal()))) for w in built]


def test_known_unit_costs_are_recovered() -> None:
    model = fit(measurements(40, noise=0.03), A14)
    unseen = [network(seed) for seed in range(100, 130)]
    found = [model.predict(w) for w in unseen]
    errors = [abs(e.latency_ms / true_ms(w) - 1) for e, w in zip(found, unseen, strict=True)]
    assert np.mean(errors) < 0.05
    inside = [e.low_ms <= true_ms(w) <= e.high_ms for e, w in zip(found, unseen, strict=True)]
    assert np.mean(inside) > 0.85


def test_nothing_measured_is_the_data_sheet() -> None:
    model, workload = fit([], A14), network(0)
    found = amounts(workload)[: len(WORK_KINDS)] @ np.array(A14.medians)
    estimate = model.predict(workload)
    assert estimate.latency_ms == pytest.approx(found)
    assert estimate.low_ms < found / 1.2
    assert estimate.high_ms > found * 1.5


def test_what_nothing_measured_keeps_wide_bounds() -> None:
    model = fit(measurements(40), A14)
    plain, attentive = (model.predict(network(200, attention)) for attention in (False, True))
    assert plain.high_ms / plain.low_ms < 2
    assert attentive.high_ms / attentive.low_ms > 3
    taught = fit([*measurements(40), *measurements(1, attention=True)], A14)
    narrowed = taught.predict(network(200, attention=True))
    assert narrowed.high_ms / narrowed.low_ms < attentive.high_ms / attentive.low_ms / 1.5
    spread = model.posterior.spreads
    assert spread["scores"] > 0.9 * A14.spreads["scores"]
    assert spread["weights"] < A14.spreads["weights"]


def test_one_outlier_moves_little() -> None:
    good = measurements(20, noise=0.03)
    odd = [replace(good[3], latency_ms=good[3].latency_ms * 5) if m is good[3] else m for m in good]
    for seed in range(50, 60):
        one, other = (fit(m, A14).predict(network(seed)).latency_ms for m in (good, odd))
        assert other / one == pytest.approx(1, abs=0.1)


def test_precision_of_the_trace_does_not_matter() -> None:
    half = network(3)
    whole = replace(
        half,
        number_bytes=4,
        operations=tuple(
            replace(o, bytes_moved=2 * o.bytes_moved, weight_bytes=2 * o.weight_bytes)
            for o in half.operations
        ),
    )
    assert np.allclose(amounts(half), amounts(whole, number_bytes=2))
    model = fit(measurements(10), A14, number_bytes=2)
    assert model.predict(half).latency_ms == pytest.approx(model.predict(whole).latency_ms)


def test_amounts_of_parts_add() -> None:
    parts = [network(1), network(2, attention=True)]
    both, call = concatenate("both", parts), np.eye(len(COLUMNS))[0]
    assert np.allclose(amounts(both), sum(amounts(p) for p in parts) - call)
    assert np.allclose(amounts(both.compact()), amounts(both))


def test_written_out_attention_counts_as_fused() -> None:
    """softmax(QK)V in three operations asks the same arithmetic and scores as in one."""
    pairs, width = 8 * 256 * 256, 64
    shape, numbers = (1, 8, 256, width), 8 * 256 * width
    fused = Operation("attention", shape, 4 * pairs * width, 8 * numbers)
    scores = (1, 8, 256, 256)
    written = (
        Operation("matmul", scores, 2 * pairs * width, 4 * numbers + 2 * pairs),
        Operation("normalisation", scores, 0, 4 * pairs),
        Operation("matmul", shape, 2 * pairs * width, 2 * pairs + 4 * numbers),
    )
    one = dict(zip(COLUMNS, amounts(Workload("one", (fused,), number_bytes=2)), strict=True))
    three = dict(zip(COLUMNS, amounts(Workload("three", written, number_bytes=2)), strict=True))
    assert one["dense"] == pytest.approx(three["dense"])
    assert one["scores"] == pytest.approx(three["scores"])


@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["flops", "bytes_moved", "weight_bytes"]),
    factor=st.floats(1.1, 50),
)
@settings(max_examples=50, deadline=None)
def test_more_work_takes_longer_by_the_data_sheet(seed: int, kind: str, factor: float) -> None:
    less = network(seed)
    grown = {kind: round(getattr(less.operations[0], kind) * factor) + 1}
    more = replace(less, operations=(replace(less.operations[0], **grown), *less.operations[1:]))
    model = fit([], A14)
    assert model.predict(more).latency_ms >= model.predict(less).latency_ms


def test_json_and_back() -> None:
    model = fit(measurements(12, noise=0.05), A14, number_bytes=2)
    text = json.dumps(model.to_json(), allow_nan=False)
    again = AnalyticalModel.from_json(json.loads(text), "here")
    for seed in range(5):
        one, other = model.predict(network(seed)), again.predict(network(seed))
        assert other.latency_ms == pytest.approx(one.latency_ms, rel=1e-9)
        assert other.high_ms == pytest.approx(one.high_ms, rel=1e-9)
    assert np.allclose(again.leave_one_out_ms, model.leave_one_out_ms)


STORED = fit(measurements(4), A14).to_json()
ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3),
    st.lists(st.floats(), max_size=3), st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)  # fmt: skip


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_broken_document_is_an_input_error(data: st.DataObject) -> None:
    document = copy.deepcopy(STORED)
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not (isinstance(inner, (dict, list)) and inner and data.draw(st.booleans())):
            break
        place = inner
    place[key] = data.draw(ANY)
    try:
        estimate = AnalyticalModel.from_json(document, "here").predict(network(0))
    except InputError as error:
        assert "here" in str(error) or "unit costs" in str(error)
    else:
        assert estimate.low_ms <= estimate.latency_ms <= estimate.high_ms


@pytest.mark.slow
@given(times=st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_any_times_give_finite_bounds(times: list[float]) -> None:
    seen = [Measurement(network(seed), ms) for seed, ms in enumerate(times)]
    for prior in (A14, eager_prior(0.05, 10.0, 0.01)):
        estimate = fit(seen, prior).predict(network(99))
        assert 0 < estimate.low_ms <= estimate.latency_ms <= estimate.high_ms < np.inf


def test_nonsense_is_refused() -> None:
    nameless = Workload("cell", (Operation("conv3x3"),))
    with pytest.raises(InputError, match="no sizes"):
        fit([Measurement(nameless, 1.0)], A14)
    with pytest.raises(InputError, match="not positive"):
        fit([Measurement(network(0), float("nan"))], A14)
    with pytest.raises(InputError, match="no sizes"):
        fit([], A14).predict(nameless)
    with pytest.raises(InputError, match="above 0"):
        accelerator_prior(-1.0, 25.0, 0.2)
    with pytest.raises(InputError, match="kinds of work"):
        UnitCosts((1.0,), ((1.0,),))


def test_a_neighbour_is_scaled_and_less_sure() -> None:
    fitted, of_chip = fit(measurements(40), A14).posterior, chips()
    borrowed = of_chip["A15"].transferred_prior(of_chip["A14"], fitted)
    index = WORK_KINDS.index("dense")
    assert fitted.medians[index] / borrowed.medians[index] == pytest.approx(15.8 / 11)
    assert all(borrowed.spreads[f] > fitted.spreads[f] for f in WORK_KINDS if f != "call")
    assert borrowed.spreads["call"] == pytest.approx(A14.spreads["call"])
    again = UnitCosts.from_json(json.loads(json.dumps(borrowed.to_json())), "here")
    assert np.allclose(again.log_covariance, borrowed.log_covariance)
    independent = independent_costs(TRUE)
    assert independent.spreads["weights"] == pytest.approx(0.35)
