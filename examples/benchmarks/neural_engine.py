"""Published Neural Engine latencies, from few others: figures of `latency.cost_model`.

python examples/benchmarks/neural_engine.py [--data ../shared/data] [--seeds 10]

Three questions. Image backbones on A14, a family of designs left out at a time. Convolution chains
on M6, from a random third (seeds 0 to SEEDS - 1; which engine ran is an outcome and no feature).
Stable Diffusion U-Nets: what bounds say before one was measured, and where one measurement on A14
brings the others. Nothing is tuned here; the data are facts of other projects and stay outside.
"""

import argparse
import csv
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from latency import Measurement, Prediction
from latency.cost_model.analytical import fit
from latency.cost_model.unit_costs import UnitCosts
from latency.cost_model.work_amounts import Vector, compress_weights
from latency.predictor.chips import chips
from latency.predictor.published import NUMBER_BYTES, published, workloads
from latency.workload.workload import Operation, Workload

NETWORK_ROWS = "ane_published/image_backbones_iphone.csv"
CHAIN_ROWS = "ane_published/m6_ane_conv_chains.csv"
DIFFUSION_ROWS = "ane_published/ml_stable_diffusion.csv"
CHAIN = re.compile(r"(\d+)x(\d+)\+bias\+relu x(\d+) C(\d+)->C(\d+); .*weights=(shared|per-layer)")
SD21, SDXL = "SD 2.1-base UNet", "SDXL-base-ios UNet"
Predictor = Callable[[Sequence[Measurement], Sequence[Measurement]], Vector]


@dataclass(frozen=True)
class Row:
    """A measurement, and the family of designs that it is of."""

    measurement: Measurement
    family: str


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def backbones(data: Path) -> list[Row]:
    """The 19 image backbones of the data folder."""
    known = workloads()
    return [
        Row(Measurement(known[row["model"]], float(row["latency_ms"])), family(row["model"]))
        for row in read(data / NETWORK_ROWS)
    ]


def family(model: str) -> str:
    return model.partition(":")[0].rpartition("-")[0]


def more_networks() -> list[Row]:
    """A14 rows that the data folder's backbones leave out: RepViT and MobileCLIP."""
    return [
        Row(row.measurement, row.family)
        for row in published("A14")
        if row.family in {"RepViT", "MobileCLIP"}
    ]


def chain(row: dict[str, str]) -> Workload | None:
    """The workload of a chain of convolutions, or of a language model's MLP; others have no sizes.

    Weights that all layers share are counted where they are first read.
    """
    found = CHAIN.search(row["notes"])
    if found:
        rows, columns, layers, given, made = (int(text) for text in found.groups()[:5])
        height, width = (int(text) for text in row["input_shape"].split("x")[2:])
        pixels, stored = height * width, 2 * (given * made * rows * columns + made)
        convolutions = [
            Operation(
                "convolution",
                (1, made, height, width),
                flops=2 * given * made * rows * columns * pixels,
                bytes_moved=2 * (given + made) * pixels,
                weight_bytes=0 if layer and found[6] == "shared" else stored,
                window=rows * columns,
            )
            for layer in range(layers)
        ]
        relu = Operation("elementwise", (1, made, height, width), 0, 4 * made * pixels)
        operations = (*convolutions, *[relu] * layers)
        return Workload(row["model"], operations, number_bytes=NUMBER_BYTES).compact()
    found = re.match(r"LLM MLP (\d+)-(\d+)-\d+ x(\d+)", row["model"])
    if found is None:
        return None
    outer, inner, layers = (int(text) for text in found.groups())
    product = 2 * outer * inner
    pair = [
        Operation("matmul", (1, n), product, 2 * (outer + inner), product) for n in (inner, outer)
    ]
    return Workload(row["model"], tuple(pair * layers), number_bytes=NUMBER_BYTES).compact()


def analytical(prior: UnitCosts) -> Predictor:
    """Latency and bounds by `latency.cost_model.analytical`."""

    def predict(known: Sequence[Measurement], asked: Sequence[Measurement]) -> Vector:
        model = fit(known, prior, NUMBER_BYTES)
        return np.array([triple(model.predict(m.workload)) for m in asked]).T

    return predict


def triple(estimate: Prediction) -> tuple[float, float, float]:
    return estimate.latency_ms, estimate.low_ms, estimate.high_ms


def linear(*features: Callable[[Workload], float]) -> Predictor:
    """A constant and features, fitted in ratio; no bounds."""

    def columns(rows: Sequence[Measurement]) -> Vector:
        return np.array([[1.0, *(feature(m.workload) for feature in features)] for m in rows])

    def predict(known: Sequence[Measurement], asked: Sequence[Measurement]) -> Vector:
        times_ms = np.array([m.latency_ms for m in known])
        weights, *_ = np.linalg.lstsq(columns(known) / times_ms[:, None], np.ones(len(known)))
        found = columns(asked) @ weights
        return np.stack([found, np.full_like(found, np.nan), np.full_like(found, np.nan)])

    return predict


def gflop(workload: Workload) -> float:
    return workload.flops / 1e9


def weight_mb(workload: Workload) -> float:
    return workload.weight_bytes / 1e6


def families_left_out(rows: Sequence[Row], predict: Predictor) -> Vector:
    """(3, rows): each row as predicted from the other families."""
    found = np.zeros((3, len(rows)))
    for left in {row.family for row in rows}:
        chosen = np.array([row.family == left for row in rows])
        known = [row.measurement for row in rows if row.family != left]
        found[:, chosen] = predict(known, [r.measurement for r in rows if r.family == left])
    return found


def inside(found: Vector, times_ms: Vector) -> str:
    if np.isnan(found[1]).any():
        return "   -"
    return f"{np.mean((found[1] <= times_ms) & (times_ms <= found[2])) * 100:3.0f}%"


def report_families(title: str, rows: Sequence[Row], prior: UnitCosts) -> None:
    predictors = {
        "FLOPs": linear(gflop),
        "weights": linear(weight_mb),
        "FLOPs and weights": linear(gflop, weight_mb),
        "data sheet alone": lambda _, asked: analytical(prior)([], asked),
        "analytical": analytical(prior),
    }
    times_ms = np.array([row.measurement.latency_ms for row in rows])
    print(f"\n{title}: {len(rows)} networks, a family left out at a time")
    print(f"{'':20}  MAPE  Spearman  within 10%  in 90% bounds")
    for name, predict in predictors.items():
        found = families_left_out(rows, predict)
        errors = np.abs(found[0] / times_ms - 1)
        rank = spearmanr(found[0], times_ms).statistic
        print(
            f"{name:20} {errors.mean() * 100:4.1f}%     {rank:5.3f}        "
            f"{np.mean(errors <= 0.1) * 100:3.0f}%           {inside(found, times_ms)}"
        )
    for name in sorted({row.family for row in rows}):
        chosen = np.array([row.family == name for row in rows])
        ratios = found[0][chosen] / times_ms[chosen] - 1
        print(f"  analytical, {name}: mean error {ratios.mean() * 100:+.1f}%")


def report_chains(data: Path, seeds: int, prior: UnitCosts) -> None:
    given = read(data / CHAIN_ROWS)
    built = [(chain(row), float(row["latency_ms"])) for row in given]
    rows = [Measurement(workload, time_ms) for workload, time_ms in built if workload is not None]
    predictors = {"FLOPs": linear(gflop), "analytical": analytical(prior)}
    medians: dict[str, list[float]] = {name: [] for name in predictors}
    covered: list[float] = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(rows))
        known = [rows[i] for i in order[: len(rows) // 3]]
        asked = [rows[i] for i in order[len(rows) // 3 :]]
        times_ms = np.array([m.latency_ms for m in asked])
        for name, predict in predictors.items():
            found = predict(known, asked)
            medians[name].append(float(np.median(np.abs(found[0] / times_ms - 1))))
        covered.append(float(np.mean((found[1] <= times_ms) & (times_ms <= found[2]))))
    print(
        f"\nConvolution chains on M6: {len(rows)} of {len(given)} rows, as the others state no "
        f"shape; from {len(rows) // 3}, {seeds} seeds"
    )
    for name, values in medians.items():
        low, high = min(values) * 100, max(values) * 100
        print(f"{name:20} median error {np.mean(values) * 100:4.1f}% ({low:.1f} to {high:.1f})")
    print(f"{'':20} in 90% bounds {np.mean(covered) * 100:.0f}%")


def report_diffusion(data: Path, rows: Sequence[Row]) -> None:
    """U-Nets before and after one of them was measured on A14."""
    of_chip = chips()
    base = [row.measurement for row in rows]
    a14 = of_chip["A14"]
    before = fit(base, a14.data_sheet, NUMBER_BYTES)
    unet = {SD21: compress_weights(workloads()[SD21], 6), SDXL: workloads()[SDXL]}
    unet[SDXL] = compress_weights(unet[SDXL], 4.04)
    seen = [r for r in read(data / DIFFUSION_ROWS) if r["compute_unit"] == "CPU_AND_NE"]
    mean_ms: dict[tuple[str, str], float] = {}
    for model, soc in dict.fromkeys((row["model"], row["soc"]) for row in seen):
        times = [float(r["latency_ms"]) for r in seen if (r["model"], r["soc"]) == (model, soc)]
        mean_ms[model, soc] = float(np.mean(times))
    measured = Measurement(unet[SD21], mean_ms[SD21, "A14"])
    after = fit([*base, measured], a14.data_sheet, NUMBER_BYTES)
    print(f"\nStable Diffusion U-Nets from {len(base)} image networks on A14, in ms")
    print(f"{'':32} measured  image networks alone      with one SD 2.1 on A14")
    for (model, soc), time_ms in mean_ms.items():
        line = f"{model:20} {soc:11} {time_ms:8.0f}"
        for model_of_a14 in (before, after):
            if soc == "A14":
                found = model_of_a14.predict(unet[model])
            else:
                borrowed = of_chip[soc].transferred_prior(a14, model_of_a14.posterior)
                own = [r.measurement for r in published(soc) if r.family == "SwiftFormer"]
                found = fit(own, borrowed, NUMBER_BYTES).predict(unet[model])
            kept = "in " if found.low_ms <= time_ms <= found.high_ms else "OUT"
            error = (found.latency_ms / time_ms - 1) * 100
            bounds = f"({found.low_ms:.0f} to {found.high_ms:.0f})"
            line += f"  {found.latency_ms:5.0f} {bounds:14} {kept} {error:+4.0f}%"
        print(line)
    print("A15 has four rows of its own (SwiftFormer); M1 and M2 are data-sheet ratios alone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    if not (options.data / NETWORK_ROWS).exists():
        print(f"no published rows in {options.data}; give the folder by --data")
        sys.exit(0)
    of_chip = chips()
    rows, more = backbones(options.data), more_networks()
    report_families("Image backbones on A14", rows, of_chip["A14"].data_sheet)
    report_families("With RepViT and MobileCLIP", [*rows, *more], of_chip["A14"].data_sheet)
    report_chains(options.data, options.seeds, of_chip["M6"].data_sheet)
    report_diffusion(options.data, rows)


if __name__ == "__main__":
    main()
