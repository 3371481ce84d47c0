"""Runs a study and kills its driver at random moments, many times; then lets it end.

python killed_driver.py URL LOG KILLS TRIALS

The log has a line when an evaluation begins and one when its trial was written. Drivers are forks:
importing everything for each would take the time that is better spent on kills.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from nas.evaluators.serial import Serial
from nas.problem.problem import Objective, Problem
from nas.strategies import nsga2
from nas.study.evaluations import Evaluated
from nas.study.record import Record
from nas.study.study import Study
from search_spaces import Architecture, Choice, SearchSpace

SPACE = SearchSpace("digits", tuple(Choice(f"digit{n}", (0, 1, 2, 3)) for n in range(5)))
PROBLEM = Problem(
    SPACE,
    (Objective("some_loss"), Objective("sum_count", known=True)),
    known=lambda architectures: np.array([[sum(map(int, a.values()))] for a in architectures]),
    violations=lambda architectures: {
        "sum_count": np.array([sum(map(int, a.values())) - 11.0 for a in architectures])
    },
)


def loss(architecture: Architecture) -> float:
    return float(sum(int(digit) * 4**place for place, digit in enumerate(architecture.values())))


def drive(url: str, log: Path, trials: int) -> None:
    """One driver, until it ends or is killed."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def say(word: str, architecture: Architecture) -> None:
        os.write(handle, f"{time.time():.6f} {word} {architecture.digest}\n".encode())

    def quality(architecture: Architecture) -> float:
        say("asked", architecture)
        time.sleep(0.01)
        return loss(architecture)

    def written(found: Evaluated) -> None:
        say("written", found.architecture)

    Study(PROBLEM, nsga2, Record(url, "killed", PROBLEM)).run(trials, Serial(quality), written)


def main(url: str, log: Path, kills: int, trials: int) -> None:
    rng = random.Random(0)
    for kill in range(kills):
        pid = os.fork()
        if pid == 0:
            drive(url, log, trials)
            os._exit(0)
        # Some die while they open the storage, the others in the middle of their work.
        if kill % 3:
            enough = lines(log) + rng.randint(1, 8)
            while lines(log) < enough and os.waitpid(pid, os.WNOHANG) == (0, 0):
                time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05 if kill % 3 else 0.6))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), f"driver {kill} was not killed: it ended with {status}"
    drive(url, log, trials)


def lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
