"""What a trial costs beside its evaluation: plain Optuna, and our driver with and without storage.

python examples/benchmarks/storage_overhead.py [--trials 1000] [--grow 10000] [--strategies NAMES]

Evaluations take no time, so what is left is the driver's own: asking, telling, writing. The
baseline is Optuna's RandomSampler with ask, suggest and tell on the same storage, set up the same
way. Wall-clock and processor time are both shown: on a machine that does other things meanwhile,
compare the second.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import optuna

from nas.evaluators.serial import Serial
from nas.problem.problem import Objective, Problem
from nas.strategies import load_strategy
from nas.study.record import Record
from nas.study.storage import opened, sqlite
from nas.study.study import Study
from search_spaces import Architecture, Choice, SearchSpace
from search_spaces.space.integer_encoding import IntegerEncoder

CHOICES, OPTIONS = 22, ("none", "conv1d", "conv3d", "attention")
SPACE = SearchSpace("slots", tuple(Choice(f"slot{n}", OPTIONS) for n in range(CHOICES)))
CODER = IntegerEncoder(SPACE)


def latencies_ms(architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
    return CODER.codes(architectures).sum(axis=1)


PROBLEM = Problem(
    SPACE,
    (Objective("validation_loss"), Objective("latency_ms", known=True)),
    known=lambda architectures: latencies_ms(architectures)[:, None],
    violations=lambda architectures: {"latency_ms": latencies_ms(architectures) - 40},
)


def loss(architecture: Architecture) -> float:
    return 1 / (1 + sum(n * OPTIONS.index(str(o)) for n, o in enumerate(architecture.values())))


def plain(url: str, trials: int) -> None:
    """What Optuna's documentation says to do."""
    study = optuna.create_study(
        storage=opened(url), directions=["minimize"] * 2, sampler=optuna.samplers.RandomSampler(0)
    )
    for _ in range(trials):
        trial = study.ask()
        architecture = SPACE.suggest(trial)
        study.tell(trial, [loss(architecture), float(latencies_ms([architecture])[0])])


def ours(strategy: str, url: str | None, trials: int) -> None:
    record = Record(url, "ours", PROBLEM) if url else None
    evaluated = Study(PROBLEM, load_strategy(strategy), record).run(trials, Serial(loss))
    assert len(evaluated) == trials
    if record is not None:
        record.close()


def timed(name: str, trials: int, job: Callable[[], None]) -> float:
    """Processor ms a trial."""
    wall, own = time.perf_counter(), time.process_time()
    job()
    wall_ms = (time.perf_counter() - wall) / trials * 1e3
    own_ms = (time.process_time() - own) / trials * 1e3
    print(f"{name:44}{trials:8} trials{own_ms:10.2f} ms{wall_ms:10.2f} ms", flush=True)
    return own_ms


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--grow", type=int, default=10_000, help="and so many, for the growth")
    parser.add_argument("--strategies", default="random,nsga2,tpe,cost-aware")
    options = parser.parse_args()
    names = options.strategies.split(",")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(f"{'own time a trial':44}{'':15}{'processor':>13}{'wall clock':>13}")
    with tempfile.TemporaryDirectory() as folder:
        urls = iter(sqlite(Path(folder) / f"{n}.db") for n in range(99))
        base = timed(
            "plain Optuna, random, SQLite",
            options.trials,
            lambda: plain(next(urls), options.trials),
        )
        for name in names:
            found = timed(
                f"ours, {name}, SQLite",
                options.trials,
                lambda name=name: ours(name, next(urls), options.trials),
            )
            print(f"    {found / base:.2f} times the plain one")
        for name in names:
            counts = [options.trials, *([options.grow] if options.grow > options.trials else [])]
            first, *rest = (
                timed(f"ours, {name}, no storage", n, lambda name=name, n=n: ours(name, None, n))
                for n in counts
            )
            for grown in rest:
                print(f"    {grown / first:.2f} times as much a trial as at {options.trials}")
        if options.grow > options.trials:
            grown = timed(
                "ours, random, SQLite",
                options.grow,
                lambda: ours("random", next(urls), options.grow),
            )
            print(f"    {grown / base:.2f} times the plain one at {options.trials}")


if __name__ == "__main__":
    main()
