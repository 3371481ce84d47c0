r"""Whether a device that was measured here holds half an hour later.

    python examples/benchmarks/drift.py --out ROUNDS.csv [--minutes 70] [--every 30] [--beside 0]
    python examples/benchmarks/drift.py --table ROUNDS.csv [--later 30] [--busy 0.3]

All blocks, 24 networks to fit and others to judge by are visited once a round, and a round begins
every so many seconds; `--beside` processes compute without end meanwhile. Each line stands in the
file as soon as it was measured; with a file that is there the rounds go on. Ctrl-C ends it early.

Then every 8 rounds that follow each other are a measurement: a device is calibrated on its blocks
and networks, and judged on what the other networks take `--later` minutes after it. Printed, over
all such pairs: how often 90% bounds hold with the drift of the machine in them, without it, and
without it where each measured latency is first divided by what five networks of the calibration
take now over then, as a search's report does. Pairs overlap, so few of them are independent.
`--busy S` tells the pairs apart by how many cores others kept busy while either was measured.
"""

import argparse
import csv
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import geometric_mean

import numpy as np
import pandas as pd

import latency
from latency import Device, Measurement
from latency.measurement.drift import drift_of
from latency.measurement.rounds import Round
from latency.sources.contract import Runner
from latency.sources.torch_host import TorchSource
from nas.calibration import profiling
from nas.calibration.profiling import Planned
from nas.cli.output import print_table
from nas.costs.workloads import SpaceCosts
from nas.progress import Progress
from nas.temporal.anchors import ANCHORS
from search_spaces import Architecture, InputError, TemporalSpace, load

ROUNDS = 8  # of a measurement, as `nas profile` makes them
STRIDE = 2  # rounds from one measurement that is judged to the next
CALLS = 3
PAUSE_S = 120.0  # between rounds: more is another measurement
BUSY = "while True:\n    sum(range(10000))"
COLUMNS = ("at_s", "round", "job", "latency_ms", "busy_cores")


@dataclass(frozen=True)
class Networks:
    """What is measured: blocks and networks that a device is fitted to, and others."""

    space: TemporalSpace
    fitted: list[Architecture]
    others: list[Architecture]

    @staticmethod
    def of(space: TemporalSpace, fitted: int, others: int) -> "Networks":
        known = profiling.worth_measuring(space, fitted, 0)
        return Networks(space, known, profiling.held_out(space, known, others, 0))

    @property
    def blocks(self) -> Planned:
        return profiling.plan_blocks(self.space, profiling.block_names(self.space))

    @property
    def planned(self) -> Planned:
        return self.blocks + profiling.plan_networks(self.space, [*self.fitted, *self.others])


def busy_s() -> tuple[float, float]:
    """Seconds that all cores were busy, and that this process was; nothing where none says."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0, 0.0
    user, nice, system, _, _, irq, softirq, *_ = map(int, stat.read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / 100, time.process_time()


def measure(networks: Networks, out: Path, minutes: float, every_s: float) -> None:
    """Append rounds to the table until the time is over."""
    source = TorchSource()
    runners = {name: source.prepare(*job.made()) for name, job in networks.planned.jobs.items()}
    first = int(read(out)["round"].max()) + 1 if out.exists() else 0
    end = time.monotonic() + minutes * 60
    with out.open("a", newline="") as file, Progress().stage("rounds", round(minutes)) as advance:
        rows = csv.writer(file)
        if first == 0:
            rows.writerow(COLUMNS)
        for number in range(first, sys.maxsize):
            begin = time.monotonic()
            rows.writerows(one_round(runners, number))
            file.flush()
            advance(min(round(minutes), round(minutes - (end - time.monotonic()) / 60)))
            if time.monotonic() + every_s > end:
                break
            time.sleep(max(0.0, begin + every_s - time.monotonic()))


def one_round(runners: dict[str, Runner], number: int) -> list[list[object]]:
    order = list(runners)
    random.Random(number).shuffle(order)  # noqa: S311 - an order, no secret
    begin, (all_s, own_s) = time.monotonic(), busy_s()
    found = [
        [round(time.time(), 1), number, name, np.median(runners[name](CALLS).samples_ms)]
        for name in order
    ]
    now_s, now_own_s = busy_s()
    others = (now_s - all_s - (now_own_s - own_s)) / (time.monotonic() - begin)
    return [[*row, round(max(others, 0.0), 2)] for row in found]


def read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    if list(table.columns) != list(COLUMNS):
        raise InputError(f"{path}: expected the columns {', '.join(COLUMNS)}, as --out writes them")
    return table


@dataclass(frozen=True)
class Session:
    """Rounds that follow each other, as one measurement."""

    table: pd.DataFrame

    @property
    def times_ms(self) -> dict[str, float]:
        return dict(self.table.groupby("job")["latency_ms"].median())

    @property
    def begin_s(self) -> float:
        return float(self.table["at_s"].min())

    @property
    def end_s(self) -> float:
        return float(self.table["at_s"].max())

    @property
    def busy_cores(self) -> float:
        return float(self.table["busy_cores"].mean())

    def device(self, networks: Networks, costs: SpaceCosts) -> Device:
        """A device, calibrated on this measurement alone."""
        times_ms = self.times_ms
        seen = [
            Measurement(costs.block_workload(row["slot"], row["option"]), times_ms[row["id"]])
            for row in networks.blocks.rows
        ]
        names = [profiling.network_id(each) for each in networks.fitted]
        seen += [
            Measurement(costs.workload(each), times_ms[name])
            for each, name in zip(networks.fitted, names, strict=True)
        ]
        jobs = self.table.sort_values("round").groupby("job")
        rounds = [
            [Round(*each) for each in zip(job["at_s"], job["latency_ms"], strict=True)]
            for name, job in jobs
            if name in names
        ]
        return replace(latency.calibrate(seen, "host"), drift=drift_of([rounds]))


@dataclass(frozen=True)
class Pair:
    """How a device holds later: of the networks that it was not fitted to, which are in bounds."""

    ratio: float  # of anchors, now to then
    drifting: float
    same_hour: float
    compared: float
    factor: float  # of the drift
    busy_cores: float

    @staticmethod
    def of(
        before: Session, device: Device, later: Session, networks: Networks, costs: SpaceCosts
    ) -> "Pair":
        then_ms, now_ms = before.times_ms, later.times_ms
        known = sorted((profiling.network_id(a) for a in networks.fitted), key=then_ms.__getitem__)
        anchors = [known[round(p * (len(known) - 1) / (ANCHORS - 1))] for p in range(ANCHORS)]
        ratio = geometric_mean(now_ms[each] / then_ms[each] for each in anchors)
        measured = np.array([now_ms[profiling.network_id(a)] for a in networks.others])
        workloads = [costs.workload(each) for each in networks.others]

        def held(by: Device, times_ms: np.ndarray) -> float:
            found = by.predict_all(workloads)
            inside = [p.low_ms <= t <= p.high_ms for p, t in zip(found, times_ms, strict=True)]
            return float(np.mean(inside))

        assert device.drift is not None
        return Pair(
            ratio=ratio,
            drifting=held(device, measured),
            same_hour=held(device.same_hour, measured),
            compared=held(device.same_hour, measured / ratio),
            factor=device.drift.factor,
            busy_cores=max(before.busy_cores, later.busy_cores),
        )


def sessions(table: pd.DataFrame) -> Iterator[Session]:
    """Rounds that follow each other without a pause between."""
    begins_s = table.groupby("round")["at_s"].min().sort_values()
    for first in range(0, len(begins_s) - ROUNDS + 1, STRIDE):
        chosen = begins_s.iloc[first : first + ROUNDS]
        if chosen.diff().max() <= PAUSE_S:
            yield Session(table[table["round"].isin(chosen.index)])


def pairs(table: pd.DataFrame, networks: Networks, later_s: float) -> Iterator[Pair]:
    """Each measurement, beside the first one that begins so much later, and after it."""
    costs, found = SpaceCosts(networks.space), list(sessions(table))
    for before in found:
        earliest_s = max(before.begin_s + later_s, before.end_s)
        after = next((s for s in found if s.begin_s >= earliest_s), None)
        if after is not None:
            yield Pair.of(before, before.device(networks, costs), after, networks, costs)


def judge(table: pd.DataFrame, networks: Networks, later_s: float, busy: float) -> None:
    """Print how often bounds hold."""
    found = list(pairs(table, networks, later_s))
    if not found:
        print(f"no two measurements are {later_s / 60:g} minutes apart")
        return
    kinds: list[tuple[str, Callable[[Pair], bool]]] = [
        ("all", lambda _: True),
        (f"others kept up to {busy:g} cores busy", lambda pair: pair.busy_cores <= busy),
        ("more", lambda pair: pair.busy_cores > busy),
    ]
    rows = []
    for title, chosen in kinds:
        if some := [pair for pair in found if chosen(pair)]:
            shares = (
                np.mean([getattr(p, n) for p in some])
                for n in ("drifting", "same_hour", "compared")
            )
            apart = math.exp(float(np.median([abs(math.log(pair.ratio)) for pair in some])))
            width = float(np.median([pair.factor for pair in some]))
            rows.append(
                (
                    title,
                    len(some),
                    *(f"{share:.0%}" for share in shares),
                    f"x{width:.2f}",
                    f"x{apart:.2f}",
                )
            )
    print_table(
        [
            "",
            ">pairs",
            ">held",
            ">without drift",
            ">like with like",
            ">90% of drift",
            ">anchors moved",
        ],
        rows,
    )


@contextmanager
def computing(count: int) -> Iterator[None]:
    """So many processes beside this one."""
    busy = [sys.executable, "-c", BUSY]
    beside = [subprocess.Popen(busy) for _ in range(count)]  # noqa: S603 - our own words
    try:
        yield
    finally:
        for process in beside:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path)
    where.add_argument("--table", type=Path)
    parser.add_argument("--space", default="moving_digits")
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--every", type=float, default=30, help="seconds from round to round")
    parser.add_argument("--beside", type=int, default=0)
    parser.add_argument("--later", type=float, default=30, help="minutes")
    parser.add_argument("--fitted", type=int, default=24)
    parser.add_argument("--others", type=int, default=40)
    parser.add_argument("--busy", type=float, default=0.3, help="cores")
    asked = parser.parse_args()
    space = load(asked.space)
    assert isinstance(space, TemporalSpace)
    networks = Networks.of(space, asked.fitted, asked.others)
    if asked.out is not None:
        with computing(asked.beside):
            try:
                measure(networks, asked.out, asked.minutes, asked.every)
            except KeyboardInterrupt:
                print("ended early")
    judge(read(asked.table or asked.out), networks, asked.later * 60, asked.busy)


if __name__ == "__main__":
    main()
