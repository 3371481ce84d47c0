"""Whole traced networks on a device of one's own: how well a few foretell the others.

    python examples/benchmarks/whole_networks.py [--networks 40] [--out FILE.csv] [--rounds 8]
    python examples/benchmarks/whole_networks.py --table FILE.csv [--networks 64]

Image networks of timm, each of a design of its own, are measured with one image at a time by torch
on this machine's processor; or their latencies are read from a table: columns model, latency_ms and
image_size (224 without it), or those of timm's own benchmark files
(results/benchmark-infer-*.csv in its repository), where an image takes its share of a batch. Of a
table that holds more than --networks, so many are drawn at random.

Each is traced, 5, 10 and 20 of them at random are calibrated on, all others predicted, over many
draws. Printed: the typical factor (the median of |log measured / predicted|, as a factor), the rank
correlation, how often the 90% bounds hold (and in how many draws at least 80% of them do), their
typical width as a factor, and the interval score of the log latency (Gneiting and Raftery 2007;
less is better). For comparison: ridge regression of the log latency on the logarithms of
multiply-adds, activations and parameters, its penalty by leave-one-out.

Needs timm (the dependency group `whole-networks`, installed with --no-deps) and huggingface_hub.
Nothing is downloaded: weights are random.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from timm_networks import NETWORKS, Row, measured, read, traced

import latency
from latency import Measurement, Prediction, Workload
from latency.sources.contract import Protocol
from latency.sources.torch_host import TorchSource
from nas.cli.output import print_table
from search_spaces import InputError

Vector = npt.NDArray[np.float64]
COUNTS = (5, 10, 20)
MISSED = 20.0  # 2 / (1 - coverage): what a unit outside the bounds costs in the interval score
PENALTIES = np.logspace(-3, 3, 25)


def by_device(known: Sequence[Measurement], others: Sequence[Workload]) -> list[Prediction]:
    """By a device that was calibrated on what is known."""
    return latency.calibrate(known, "host").predict_all(others)


def by_ridge(known: Sequence[Measurement], others: Sequence[Workload]) -> list[Prediction]:
    """By ridge regression on counts, which has no bounds."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
    model.fit([counts(m.workload) for m in known], np.log([m.latency_ms for m in known]))
    found = np.exp(model.predict([counts(workload) for workload in others]))
    return [Prediction(ms, math.nan, math.nan) for ms in found.tolist()]


def counts(workload: Workload) -> list[float]:
    """Logarithms of multiply-adds, activations of products, and parameters."""
    made = sum(o.count * math.prod(o.shape) for o in workload.operations if o.flops)
    parameters = workload.parameters or workload.weight_bytes / workload.number_bytes
    return [math.log(max(each, 1.0)) for each in (workload.flops / 2, made, parameters)]


METHODS = {"calibrate": by_device, "ridge on counts": by_ridge}


def judged(method: str, among: Sequence[Measurement], count: int, draw: int) -> Vector:
    """Typical error, Spearman, coverage, width and interval score of one draw, (5,)."""
    order = np.random.default_rng([count, draw]).permutation(len(among))
    known, others = ([among[i] for i in part] for part in (order[:count], order[count:]))
    found = METHODS[method](known, [m.workload for m in others])
    truth = np.log([m.latency_ms for m in others])
    with np.errstate(divide="ignore"):
        middle, low, high = np.log([[p.latency_ms, p.low_ms, p.high_ms] for p in found]).T
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return np.array(
        [
            np.median(np.abs(truth - middle)),
            spearmanr(middle, truth).statistic,
            np.mean(outside == 0) if np.isfinite(outside).all() else math.nan,
            np.median(high - low) / 2,
            np.mean(high - low + MISSED * outside),
        ]
    )


def summary(method: str, count: int, draws: Sequence[Vector]) -> list[object]:
    """A row of the table that is printed: means over the draws."""
    error, rank, coverage, width, score = np.mean(draws, axis=0).tolist()
    row: list[object] = [count, method, f"{math.exp(error):.3f}", f"{rank:.3f}"]
    if math.isnan(coverage):
        return [*row, "", "", "", ""]
    often = np.mean([each[2] >= 0.8 for each in draws])
    return [*row, f"{coverage:.1%}", f"{often:.0%}", f"{math.exp(width):.2f}", f"{score:.3f}"]


def judge(rows: Sequence[Row], sizes: Sequence[int], draws: int) -> None:
    """Trace, calibrate on a few, and print what that says of the others."""
    among = traced(rows, lambda why: print(f"left out: {why}", file=sys.stderr))
    if len(among) < max(sizes) + 2:
        raise InputError(
            f"{len(among)} networks: to calibrate on {max(sizes)} and judge by the others takes "
            f"{max(sizes) + 2}; measure more, or give fewer by --counts"
        )
    shown = ("measured", "by", ">typical factor", ">Spearman", ">bounds hold")
    columns = (*shown, ">80% hold", ">width", ">score")
    table = [
        summary(method, count, [judged(method, among, count, draw) for draw in range(draws)])
        for count in sizes
        for method in METHODS
    ]
    print(f"{len(among)} networks, {draws} draws")
    print_table(columns, table)


def chosen(rows: Sequence[Row], most: int, seed: int) -> list[Row]:
    """All rows, or so many at random, in the order of the table."""
    picked = np.random.default_rng(seed).permutation(len(rows))[:most]
    return [rows[i] for i in sorted(picked.tolist())]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=len(NETWORKS))
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, help="latencies that somebody measured")
    parser.add_argument("--out", type=Path, help="keeps what is measured; killed, it goes on")
    parser.add_argument("--rounds", type=int, default=8)
    asked = parser.parse_args()
    if min(asked.networks, asked.draws, asked.rounds, min(asked.counts) - 1) < 1:
        parser.error("counts are 2 or more, all others 1 or more")
    try:
        if asked.table is not None:
            rows = chosen(read(asked.table), asked.networks, asked.seed)
        else:
            protocol = Protocol(rounds=asked.rounds, seed=asked.seed)
            with tempfile.TemporaryDirectory() as folder:
                out = asked.out or Path(folder) / "networks.csv"
                rows = measured(NETWORKS[: asked.networks], TorchSource(), protocol, out)
        judge(rows, asked.counts, asked.draws)
    except InputError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
