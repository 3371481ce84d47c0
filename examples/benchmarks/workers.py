"""How much faster more workers are, and how many one driver can feed.

python examples/benchmarks/workers.py [--trials 64] [--clips 64] [--most 64]

First real evaluations of a small supernet: one worker of one thread, two workers of one thread
each, and this process with one thread and with two. Then evaluations that only sleep: the driver
is the bottleneck where more workers bring no more evaluations a second.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.evaluators import Evaluator
from nas.evaluators.ray_pool import RayPool
from nas.evaluators.serial import Serial
from nas.problem.problem import Objective, Problem
from nas.strategies import random
from nas.study.record import Record
from nas.study.storage import sqlite
from nas.study.study import Study
from nas.temporal.quality import Quality, elsewhere
from search_spaces import Architecture, SearchSpace, load
from supernet import Supernet, Validation
from supernet.data.loading import load_clips

DATA = "digits"


def problem(space: SearchSpace, seed: int = 0) -> Problem:
    return Problem(
        space,
        (Objective("validation_loss"), Objective("choices_count", known=True)),
        known=lambda architectures: np.array([[float(len(a))] for a in architectures]),
        seed=seed,
    )


def rate(space: SearchSpace, evaluator: Evaluator, trials: int, warm: int) -> float:
    """Evaluations a second through the driver and SQLite, once every worker is up."""
    with tempfile.TemporaryDirectory() as folder:
        url, begun = sqlite(Path(folder) / "study.db"), 0.0
        asked = problem(space)
        record = Record(url, "workers", asked)
        study = Study(asked, random, record)
        study.run(warm, evaluator)
        begun = time.perf_counter()
        study.run(warm + trials, evaluator)
        took_s = time.perf_counter() - begun
        record.close()
    return trials / took_s


def real(trials: int, clips: int) -> None:
    space = load("moving_digits")
    supernet = Supernet(space).eval()
    make, weights = elsewhere(supernet, DATA, clips)
    found = {}
    for workers in (1, 2):
        pool = RayPool(make, weights, workers, None, None)
        found[workers] = rate(space, pool, trials, 4 * workers)
        pool.close()
        print(
            f"{workers} worker(s), one thread each    {found[workers]:8.2f} evaluations/s",
            flush=True,
        )
    quality = Quality(supernet, Validation(load_clips(DATA, space.unet, "validation"), clips))
    for threads in (1, 2):
        torch.set_num_threads(threads)
        here = rate(space, Serial(quality), trials, 4)
        print(f"this process, {threads} thread(s)         {here:8.2f} evaluations/s", flush=True)
    print(f"two workers: {found[2] / found[1]:.2f} times one (wanted: 1.7)")


def sleeping(seconds: float) -> Callable[[Any], Callable[[Architecture], float]]:
    def make(_: Any) -> Callable[[Architecture], float]:
        def quality(architecture: Architecture) -> float:
            time.sleep(seconds)
            return float(len(architecture))

        return quality

    return make


def simulated(most: int, seconds: float) -> None:
    """Workers that sleep share cores, so there may be more of them than cores."""
    space = load("moving_digits")
    print(f"evaluations that sleep {seconds:g} s, through SQLite:")
    workers = 1
    while workers <= most:
        pool = RayPool(sleeping(seconds), None, workers, None, None)
        found = rate(space, pool, max(20, 4 * workers), 2 * workers)
        pool.close()
        ideal = workers / seconds
        print(
            f"    {workers:4} workers {found:8.2f} /s, {found / ideal:5.0%} of {ideal:.1f}",
            flush=True,
        )
        if found < 0.5 * ideal:
            print(
                f"one driver ends {found:.0f} evaluations a second; with evaluations of T seconds "
                f"it feeds {found:.0f} x T workers (of 60 s: {found * 60:.0f})"
            )
            return
        workers *= 2
    print(f"the driver was no bottleneck for {workers // 2} workers")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--most", type=int, default=16, help="sleeping workers (a process each)")
    parser.add_argument("--sleep", type=float, default=0.1, help="seconds of their evaluations")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    real(options.trials, options.clips)
    simulated(options.most, options.sleep)


if __name__ == "__main__":
    main()
