"""Few-shot latency on public tables, beside simple baselines.

    python examples/benchmarks/few_shot.py [--data ../shared/data] [--seeds 10] [--samples 10 20]
        [--devices test|all|NAME...]

For each of the test devices, some networks of the table are measured (at random, by seed; `chosen`:
those that `nas profile` would propose) and all others predicted. `borrowing` lends every device
of the table but the six test devices and any of the same hardware. The figures are means over
devices and seeds. Variances were set on the devices named in `TUNED_ON`, with test devices neither
judged nor lent; which families of features to try was decided after the test devices' figures of
early variants had been seen too, so those devices are no blind test of the features. `with graph`
knows which edges of nb201's cell are off every path (examples/nas_bench_201/cell.json), and learns
whether a device runs them. Bounds, and what is expected of dead edges, were set as
few_shot_by_kind.py says, which judges both with kinds of hardware left out.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from few_shot_baselines import Intervals, Vector, flops_linear, gaussian_process, ridge
from few_shot_tables import Data, Score, hardware

import latency
from latency import Sources

TEST_DEVICES = {
    "nb201": ["titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss"],
    "fbnet": ["titan_rtx_64", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss"],
    "hat_xeon": [""],
}
TUNED_ON = {
    "nb201": "1080ti_256 2080ti_1 essential_ph_1 pixel3 samsung_s7 silver_4114 titanx_32",
    "fbnet": "1080ti_64 2080ti_1 essential_ph_1 gold_6240 pixel3 samsung_a50 samsung_s7 "
    "silver_4210r titanx_32",
}
QUANTISED = {"pixel2"}  # to 1 ms, so that a tenth of them are ties
POOL = 1500  # candidates that a choice of networks looks at
CEILING_ROWS = 9000


@cache
def lent_to(data: Data, device: str, *, graph: bool = False) -> Sources | None:
    """Every device but the test devices and those of the same hardware."""
    names = [
        name
        for name in data.devices
        if name not in TEST_DEVICES[data.name] and hardware(name) != hardware(device)
    ]
    return data.lend(names, graph=graph)


def scores(
    data: Data, device: str, count: int, seeds: int, methods: set[str]
) -> Iterator[tuple[str, Score]]:
    """(method, score) of each seed."""
    truth = data.latency_ms(device)
    lent = lent_to(data, device)
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(truth))
        rows = [int(row) for row in order[:count]]
        asked: dict[str, Callable[[], tuple[Sequence[int], Intervals]]] = {}
        if data.name == "nb201":
            asked["FLOPs-linear"] = lambda rows=rows: (
                rows,
                flops_linear(data.architectures, rows, truth),
            )
        asked |= {
            "ridge": lambda rows=rows: (rows, ridge(data.features, rows, truth)),
            "GP": lambda rows=rows: (rows, gaussian_process(data.features, rows, truth)),
            "ours": lambda rows=rows: (rows, data.predict(rows, truth, None)),
            "ours, chosen": lambda order=order: _chosen(data, order, count, truth, None),
        }
        if lent is not None:
            asked["ours, borrowing"] = lambda rows=rows: (rows, data.predict(rows, truth, lent))
            asked["ours, borrowing, chosen"] = lambda order=order: _chosen(
                data, order, count, truth, lent
            )
        if data.on_graph is not None:
            asked["ours, with graph"] = lambda rows=rows: (
                rows,
                data.predict_rows(rows, truth, None, graph=True),
            )
            asked["ours, with graph, borrowing"] = lambda rows=rows: (
                rows,
                data.predict_rows(rows, truth, lent_to(data, device, graph=True), graph=True),
            )
        for method, ask in asked.items():
            if methods and method not in methods:
                continue
            seen, found = ask()
            unseen = np.ones(len(truth), dtype=bool)
            unseen[seen] = False
            yield method, Score.of_unseen(found, truth, unseen)


def _chosen(
    data: Data, order: npt.NDArray[np.intp], count: int, truth: Vector, lent: Sources | None
) -> tuple[Sequence[int], Intervals]:
    pool = [int(row) for row in order[:POOL]]
    picked = latency.worth_measuring([data.workloads[row] for row in pool], count, sources=lent)
    rows = [pool[index] for index in picked]
    return rows, data.predict(rows, truth, lent)


def ceiling(data: Data, device: str) -> float:
    """The share within 10% of a model fitted to 9,000 networks (or four fifths of the table)."""
    truth = data.latency_ms(device)
    order = np.random.default_rng(0).permutation(len(truth))
    count = min(CEILING_ROWS, len(truth) * 4 // 5)
    unseen = np.ones(len(truth), dtype=bool)
    unseen[order[:count]] = False
    found = data.predict([int(row) for row in order[:count]], truth, None)
    return Score.of_unseen(found, truth, unseen).within_10_pct


def report(
    data: Data, samples: Sequence[int], seeds: int, methods: set[str], named: Sequence[str]
) -> None:
    devices = _devices(data, named)
    print(f"\n{data.name}: {len(devices)} device(s), {seeds} seeds; {len(data.workloads)} networks")
    print(f"{'':31}Spearman  within 10%  coverage  interval  |  by device: {' '.join(devices)}")
    for count in samples:
        found: dict[str, dict[str, list[Score]]] = {}
        for device in devices:
            for method, score in scores(data, device, count, seeds, methods):
                found.setdefault(method, {}).setdefault(device, []).append(score)
        for method, by_device in found.items():
            print(f"{count:4}  {method:27}{_line(by_device)}")
    if methods:
        return
    shares = [ceiling(data, device) for device in devices]
    print(f"      fitted to {CEILING_ROWS} or 80%: within 10% {np.mean(shares):.3f}")


def _devices(data: Data, named: Sequence[str]) -> list[str]:
    if named == ["all"]:
        return data.devices
    return TEST_DEVICES[data.name] if named == ["test"] else list(named)


def _line(by_device: dict[str, list[Score]]) -> str:
    means = {
        device: np.mean([list(vars(score).values()) for score in found], axis=0)
        for device, found in by_device.items()
    }
    spearman, within, coverage, interval, _ = np.mean(list(means.values()), axis=0)
    each = " ".join(f"{values[0]:.3f}" for values in means.values())
    clear = [values[0] for device, values in means.items() if device not in QUANTISED]
    rest = f" ({np.mean(clear):.3f} without the quantised)" if len(clear) < len(means) else ""
    return f"{spearman:8.4f} {within:10.3f} {coverage:9.3f} {interval:9.3f}  |  {each}{rest}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tables", nargs="+", default=list(TEST_DEVICES))
    parser.add_argument("--samples", nargs="+", type=int, default=[10, 20, 50, 100])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", nargs="*", default=[], help="default: all")
    parser.add_argument("--devices", nargs="+", default=["test"], help="test, all, or names")
    asked = parser.parse_args()
    for name in asked.tables:
        path = asked.data / f"{name}.csv.gz"
        if not path.exists():
            print(f"{path}: not there, so nothing is benchmarked on it")
            continue
        report(Data(name, path), asked.samples, asked.seeds, set(asked.methods), asked.devices)


if __name__ == "__main__":
    main()
