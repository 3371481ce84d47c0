"""What a search of a task costs beside a bare study: seconds of 1,000 trials, and of a start.

The same strategy, problem and storage, three times each, in turn: `nas.search` of a task that a
table prices, and `Study.run` alone. What differs is the run folder, the baseline of as many random
picks (which a bare study runs here, too), trials.csv, pictures and the report.

    python examples/benchmarks/task_overhead.py
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

import latency
import nas
from nas import strategies
from nas.costs.limits import Budget, Limits
from nas.costs.named_costs import NamedCosts
from nas.costs.resolve import resolve
from nas.evaluators.serial import Serial
from nas.study.record import Record
from nas.study.storage import sqlite
from nas.study.study import Study
from search_spaces import Architecture, Choice, SearchSpace

SPACE = SearchSpace("stages", [Choice(f"stage{n}", ("a", "b", "c", "d", "e")) for n in range(8)])
OBJECTIVES = ("error_pct", "latency_ms")
LIMIT_MS = 20.0


def weight(name: str, option: object) -> float:
    """What an option of a stage takes: something that a strategy has to find out."""
    return 1 + (ord(str(option)) - ord("a")) * (1 + int(name[-1]) % 3) / 2


def error(architecture: Architecture) -> float:
    """Less where stages are dear, with an interaction of neighbours."""
    weights = [weight(name, option) for name, option in architecture.items()]
    pairs = sum(a * b for a, b in itertools.pairwise(weights))
    return 100 / (1 + 0.1 * sum(weights) + 0.01 * pairs)


def phone() -> latency.Device:
    """A device that was calibrated on 100 networks of the space."""
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(100):
        drawn = SPACE.sample(rng)
        ms = sum(weight(name, option) for name, option in drawn.items())
        seen.append(latency.Measurement(latency.from_choices(str(drawn), [*drawn.items()]), ms))
    return latency.calibrate(seen, "phone")


def bare(folder: Path, device: latency.Device, trials: int, strategy: str) -> None:
    """Two studies on a storage, the searched one and the random one, and nothing around them."""
    limits = resolve(Budget(str(LIMIT_MS), steps=1), NamedCosts(SPACE, device))
    problem = limits.problem(OBJECTIVES, 0, finds=None)
    url = sqlite(folder / "study.db")
    for name in (strategy, "random"):
        record = Record(url, name, problem, partial(described, limits))
        Study(problem, strategies.load_strategy(name), record).run(trials, Serial(error))
        record.close()


def described(limits: Limits, architecture: Architecture) -> dict[str, float]:
    """What a trial says of its network, as the pipeline has it."""
    return {"network_ms": float(limits.costs.latencies_ms([architecture])[0])}


def started() -> float:
    """Seconds until the first evaluation of `nas search`, as typed, of a task without modules."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        phone().save(here / "phone.json")
        (here / "mine.py").write_text(
            "import sys, time\n"
            "from examples.benchmarks.task_overhead import SPACE, error\n"
            "def timed(architecture):\n"
            "    print(time.time(), flush=True)\n"
            "    sys.exit(0)\n"
        )
        words = ["search", "--space", "mine:SPACE", "--evaluate", "mine:timed", "--device"]
        words += ["phone.json", "--objectives", ",".join(OBJECTIVES), "--out", "run"]
        begun = time.time()
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "nas", *words], cwd=here, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return float(done.stdout.split()[0]) - begun


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--strategy", default="cost-aware")
    given = parser.parse_args()
    device = phone()
    seconds: dict[str, list[float]] = {"bare": [], "task": []}
    for _ in range(given.repeats):
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            bare(Path(folder), device, given.trials, given.strategy)
            seconds["bare"].append(time.perf_counter() - begun)
            device.save(Path(folder) / "phone.json")
            task = nas.Task(SPACE, error, OBJECTIVES)
            begun = time.perf_counter()
            nas.search(
                Path(folder) / "run", task, device=str(Path(folder) / "phone.json"),
                at_most={"latency_ms": LIMIT_MS}, trials=given.trials, strategy=given.strategy,
            )  # fmt: skip
            seconds["task"].append(time.perf_counter() - begun)
    usual = {name: statistics.median(each) for name, each in seconds.items()}
    for name, each in seconds.items():
        listed = ", ".join(f"{s:.1f}" for s in each)
        print(f"{name}: {listed} s for {given.trials} trials and as many random picks")
    print(f"overhead: {usual['task'] / usual['bare'] - 1:.1%} (of the medians)")
    print(f"until the first evaluation: {min(started() for _ in range(3)):.2f} s")


if __name__ == "__main__":
    main()
