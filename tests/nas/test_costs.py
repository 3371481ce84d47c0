"""BlockCosts are the sum of what was measured; budgets are said in numbers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import latency
from latency import Device, Measurement
from nas.costs.block_costs import BlockCosts
from nas.costs.fixed_parts import FixedPart
from nas.costs.limits import Budget
from nas.costs.modules import block_inputs, block_run, clip_inputs
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from search_spaces import (
    REPEATS,
    SELF_ATTENTION_3D,
    WINDOW,
    InputError,
    Slot,
    TemporalSpace,
    UNetShape,
    encode,
    load,
    read_table,
    temporal_space,
)
from supernet import VideoUNet, parameter_count


@pytest.mark.long
def test_costs_of_parts_are_the_costs_of_the_network(
    plain_costs: SpaceCosts, device: Device
) -> None:
    costs = BlockCosts(plain_costs, device)
    rng = np.random.default_rng(0)
    for _ in range(10):
        architecture = plain_costs.space.sample(rng)
        predicted = costs.network_ms(architecture)
        assert predicted.low_ms < predicted.latency_ms < predicted.high_ms
        whole = device.predict(plain_costs.workload(architecture))
        assert predicted.latency_ms == pytest.approx(whole.latency_ms)
        network = VideoUNet(plain_costs.space, architecture)
        assert costs.parameters(architecture) == parameter_count(network)
        traced = latency.trace(network, *clip_inputs(plain_costs.space))
        composed = plain_costs.workload(architecture)
        assert composed.flops == traced.flops
        assert composed.weight_bytes == traced.weight_bytes
        assert composed.peak_bytes >= traced.peak_bytes
        assert costs.memory_mb(architecture) >= (traced.peak_bytes + traced.weight_bytes) / 1e6


def test_fastest_and_slowest_are_those_of_the_whole_space(
    plain_costs: SpaceCosts, device: Device
) -> None:
    costs = BlockCosts(plain_costs, device)
    all_ms = {a: costs.network_ms(a).latency_ms for a in plain_costs.space.enumerate()}
    assert all_ms[costs.fastest] == min(all_ms.values())
    assert all_ms[costs.slowest] == max(all_ms.values())


@pytest.mark.parametrize("name", ["made up", "iphone-13"])
def test_costs_of_many_are_those_of_each(
    space_costs: SpaceCosts, device: Device, name: str
) -> None:
    costs = BlockCosts(space_costs, device if name == "made up" else latency.load_device(name))
    rng = np.random.default_rng(2)
    many = [space_costs.space.sample(rng) for _ in range(50)] + [costs.fastest, costs.slowest]
    table = costs.table
    assert table.latencies_ms(many).tolist() == [costs.network_ms(a).latency_ms for a in many]
    assert table.parameters(many).tolist() == [costs.parameters(a) for a in many]
    assert table.memories_mb(many) == pytest.approx([costs.memory_mb(a) for a in many], rel=1e-12)


def test_a_share_is_of_the_slowest_network(plain_costs: SpaceCosts, device: Device) -> None:
    costs = BlockCosts(plain_costs, device)
    limits = resolve(Budget("80%", steps=4, parts=(FixedPart("decoder", 10.0),)), costs)
    slowest_ms = 4 * costs.network_ms(costs.slowest).latency_ms + 10.0
    assert limits.latency_ms == pytest.approx(0.8 * slowest_ms)
    assert limits.pipeline_ms(costs.slowest) == pytest.approx(slowest_ms)
    assert not limits.keeps(costs.slowest)
    assert limits.keeps(costs.fastest)


def test_other_limits(plain_costs: SpaceCosts, device: Device) -> None:
    costs = BlockCosts(plain_costs, device)
    image = costs.fastest
    limits = resolve(Budget(None, parameters=costs.parameters(image) + 5000), costs)
    assert limits.keeps(image)
    assert not limits.keeps(costs.slowest)
    assert limits.excess(image) == {"parameters": -5000.0}
    memory_mb = costs.memory_mb(image)
    assert resolve(Budget(None, memory_mb=memory_mb), costs).keeps(image)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget("0.001"), "below the fastest network: the image network .* takes"),
        (Budget("1%"), "below the fastest network"),
        (
            Budget("60%", parameters=10),
            r"parameters budget \(10\) is kept by no network: .* needs",
        ),
        (Budget("60%", memory_mb=0.01), "memory_mb budget .* is kept by no network"),
    ],
)
def test_budgets_that_nothing_keeps(
    budget: Budget, message: str, plain_costs: SpaceCosts, device: Device
) -> None:
    with pytest.raises(InputError, match=message):
        resolve(budget, BlockCosts(plain_costs, device))


@pytest.mark.parametrize("latency_ms", ["fast", "-3", "0", "nan%", "inf", "10ms", ""])
def test_budgets_that_are_no_numbers(latency_ms: str) -> None:
    with pytest.raises(InputError, match="latency budget"):
        Budget(latency_ms)


def test_a_device_that_knows_nothing_of_the_blocks_says_so(plain_costs: SpaceCosts) -> None:
    names = [latency.from_choices(str(n), [("edge", f"op{n}")]) for n in range(3)]
    tabular = latency.calibrate([Measurement(w, n + 1.0) for n, w in enumerate(names)], "table")
    with pytest.raises(InputError, match="no rates and no measurement of 'backbone'"):
        BlockCosts(plain_costs, tabular)


def test_a_device_s_memory_limit_is_a_budget(plain_costs: SpaceCosts, device: Device) -> None:
    roomy = BlockCosts(plain_costs, device)
    needed_mb = roomy.memory_mb(roomy.slowest)
    limited = replace(device, memory_limit_mb=0.9 * needed_mb)
    limits = resolve(Budget(None), BlockCosts(plain_costs, limited))
    assert set(limits.excess(roomy.slowest)) == {"memory_mb"}
    assert not limits.keeps(roomy.slowest)
    large = roomy.too_large(0.9 * needed_mb)
    for block in large:
        slot, _, option = block.partition("=")
        assert not any(
            limits.keeps(a)
            for a in plain_costs.space.enumerate()
            if str(plain_costs.space.block(a, slot_of(plain_costs.space, slot))) == option
        )
    with pytest.raises(InputError, match="memory"):
        resolve(Budget(None), BlockCosts(plain_costs, replace(device, memory_limit_mb=0.01)))


def slot_of(space: TemporalSpace, name: str) -> Slot:
    return next(slot for slot in space.slots if slot.name == name)


def test_a_float16_device_needs_half_the_memory(plain_costs: SpaceCosts) -> None:
    phone = BlockCosts(plain_costs, latency.load_device("iphone-13"))
    traced = plain_costs.workload(phone.slowest)
    assert phone.memory_mb(phone.slowest) == pytest.approx(
        (traced.weight_bytes + traced.peak_bytes) / 2e6
    )


@pytest.mark.parametrize("name", ["made up", "iphone-13", "mac-m4"])
def test_encoded_costs_are_the_costs(plain_costs: SpaceCosts, device: Device, name: str) -> None:
    costs = BlockCosts(plain_costs, device if name == "made up" else latency.load_device(name))
    rng = np.random.default_rng(1)
    architectures = [plain_costs.space.sample(rng) for _ in range(20)]
    found = costs.encoded().predict(encode(plain_costs.space, architectures))
    for index, architecture in enumerate(architectures):
        one = costs.network_ms(architecture)
        for values, value in zip(found, (one.latency_ms, one.low_ms, one.high_ms), strict=True):
            assert values[index] == pytest.approx(value, rel=1e-3)


def test_the_costs_of_all_blocks_are_told(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    asked = ["costs", "--device", "iphone-13", "--out", "costs.csv"]
    code, out, _ = call(*asked, "--memory-mb", "1.2", "--json")
    assert code == 0
    found = json.loads(out)
    space = load("moving_digits")
    assert isinstance(space, TemporalSpace)
    costs = BlockCosts(SpaceCosts(space), latency.load_device("iphone-13"))
    assert len(found["blocks"]) == len(space.slots) * (len(space.blocks()) - 1)
    networks = [space.sample(np.random.default_rng(seed)) for seed in range(5)]
    told = {(row["slot"], row["option"]): row for row in found["blocks"]}
    for network in networks:
        rows = [
            told[slot.name, str(space.block(network, slot))]
            for slot in space.slots
            if space.block(network, slot).operator.module
        ]
        summed_ms = found["image"]["latency_ms"] + sum(row["predicted_ms"] for row in rows)
        assert summed_ms == pytest.approx(costs.network_ms(network).latency_ms)
        peak_mb = max((row["peak_mb"] for row in rows), default=0)
        memory_mb = found["image"]["memory_mb"] + peak_mb + sum(r["weights_mb"] for r in rows)
        assert memory_mb == pytest.approx(costs.memory_mb(network))
        assert all(row["low_ms"] < row["predicted_ms"] < row["high_ms"] for row in rows)
    excluded = {f"{slot}={option}" for (slot, option), row in told.items() if row["notes"]}
    assert excluded == set(costs.too_large(1.2))
    code, _, err = call(*asked)
    assert (code, "costs.csv: exists; choose another file" in err) == (2, True)
    for given in ("nan", "0", "inf"):
        code, _, err = call(*asked[:3], "--memory-mb", given)
        assert (code, err) == (2, f"nas: --memory-mb {given}: give a finite number above 0\n")
        with pytest.raises(InputError, match="no finite number above 0"):
            Budget(memory_mb=float(given))
    assert read_table(tmp_path / "costs.csv").of_blocks, "a table of blocks, as any other"
    code, out, err = call(*asked[:3], "--memory-mb", "1.2")
    assert "excluded, as they pass 1.2 MB" in out or not excluded
    code, _, err = call("costs", "--device", "host")
    assert (code, "nas profile" in err) == (2, True)


def test_a_large_space_needs_a_memory_limit(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    sheet = {"format": "temporal-nas/device", "version": "1.0", "name": "bare"}
    sheet["rates"] = {"gflop_per_s": 900, "gb_per_s": 25, "launch_ms": 0.02}  # type: ignore[assignment]
    (tmp_path / "bare.json").write_text(json.dumps(sheet))
    small = "snapgen_v(frames=2,height=8,width=8,channels=32)"
    code, _, err = call("search", "--space", small, "--device", "bare.json", "--out", "run")
    assert code == 2
    assert "'bare' names no memory limit" in err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_costs_of_repeats_are_those_of_the_module() -> None:
    slot_shape = UNetShape(1, (16,), 4, 8, 8, 2, 10)
    operator = SELF_ATTENTION_3D.elastic(WINDOW, REPEATS)
    costs = SpaceCosts(temporal_space("repeated", slot_shape, (operator,)))
    (slot,) = costs.space.slots
    for block in costs.space.blocks():
        run = block_run(slot, block)
        assert run is not None
        whole = latency.trace(run, *block_inputs(costs.space, slot))
        part = costs.block(slot, block)
        assert part is not None
        assert (part.workload.flops, part.workload.weight_bytes) == (
            whole.flops, whole.weight_bytes,
        )  # fmt: skip
        assert part.workload.peak_bytes == whole.peak_bytes
        assert part.workload.digest == whole.digest
        assert part.parameters == parameter_count(run)
