"""Strategies x seeds on a benchmark, in as many processes as wanted, each with one thread."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nas.benchmark.results import Results, Run
from nas.benchmark.sources import source_digest
from nas.benchmark.tabular import Benchmark, Evaluate
from nas.problem.problem import Problem
from nas.progress import Progress
from search_spaces import Architecture, InputError

# The architectures that a strategy, by its name, had evaluated, in order, all different.
Search = Callable[[str, Problem, int, Evaluate], Sequence[Architecture]]
Job = tuple[str, int]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def by_study(
    strategy: str, problem: Problem, trials: int, evaluate: Evaluate
) -> list[Architecture]:
    """A strategy of ours or of a user's, asked and told by `nas.study.study`."""
    from nas.evaluators.serial import Serial
    from nas.strategies import load_strategy
    from nas.study.study import Study

    study = Study(problem, load_strategy(strategy))
    return [found.architecture for found in study.run(trials, Serial(evaluate))]


def compared(
    benchmark: Benchmark,
    strategies: Sequence[str],
    trials: int,
    seeds: Sequence[int],
    out: Path,
    *,
    workers: int = 1,
    search: Search = by_study,
    progress: Progress | None = None,
) -> list[Run]:
    """Run every strategy with every seed, but for what stands in `out`, and read all back from it.

    How runs are judged is no part of them: another reference needs no run. Where more trials are
    asked for, a run begins again, as strategies keep no state, and what is new of it is added.

    Args:
        benchmark: what they search.
        strategies: names that `search` knows.
        trials: different architectures that each evaluates.
        seeds: one run each.
        out: the CSV to fill; a run is added when it is finished.
        workers: processes, one thread each.
        search: how a strategy is run; a function of a module where there are several workers.
        progress: where progress goes; by default stderr.

    Returns:
        The runs, by strategy and seed, in the order asked.

    Raises:
        InputError: a strategy or seed is named twice, or `out` holds something else.
    """
    jobs = [(strategy, seed) for seed in seeds for strategy in strategies]
    if doubled := sorted({str(name) for name in strategies if list(strategies).count(name) > 1}):
        raise InputError(f"strategy {doubled[0]} is named twice")
    names = [objective.name for objective in benchmark.objectives]
    progress = progress or Progress()
    # Programs that bring a search of their own say themselves when theirs has changed.
    sources = {name: source_digest(name) for name in strategies} if search is by_study else {}
    with Results.opened(out, benchmark.space, names, benchmark.settings) as results:
        changed = results.of_other_source(sources)
        if changed:
            listed = ", ".join(sorted({name for name, _ in changed}))
            progress.say(f"{listed}: changed since {out.name} was written, so it runs anew")
        results.forget(changed)
        there = results.finished(trials)
        missing = [job for job in jobs if job not in there]
        done = len(jobs) - len(missing)
        with progress.stage(f"bench {', '.join(names)}", len(jobs)) as advance:
            for run in _runs(benchmark, missing, trials, workers, search):
                results.append(run, trials, sources.get(run.strategy))
                done += 1
                advance(done)
        found = {run.key: run for run in results.runs(trials)}
    return [found[strategy, seed] for strategy in strategies for seed in seeds]


def run_one(benchmark: Benchmark, job: Job, trials: int, search: Search = by_study) -> Run:
    """One strategy with one seed; its own time is what this process computes beside evaluations."""
    strategy, seed = job
    evaluating_s = 0.0

    def evaluate(architecture: Architecture) -> tuple[float, ...]:
        nonlocal evaluating_s
        begun = time.process_time()
        found = benchmark.evaluate(architecture)
        evaluating_s += time.process_time() - begun
        return found

    problem = benchmark.problem(seed)
    begun = time.process_time()
    proposed = search(strategy, problem, trials, evaluate)
    own_ms = (time.process_time() - begun - evaluating_s) * 1e3
    evaluated = list(dict.fromkeys(proposed))[:trials]
    if not evaluated:
        raise InputError(f"strategy {strategy!r} proposed nothing")
    # The table's own values: a strategy is judged by what is there, not by what it says it found.
    values = np.asarray(benchmark.values[benchmark.lookup.rows(evaluated)])
    return Run(strategy, seed, evaluated, values, own_ms / len(evaluated))


def _runs(
    benchmark: Benchmark, jobs: Sequence[Job], trials: int, workers: int, search: Search
) -> Iterator[Run]:
    """Runs as they are finished."""
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield run_one(benchmark, job, trials, search)
        return
    context = multiprocessing.get_context("spawn")
    with (
        _one_thread(),
        ProcessPoolExecutor(
            min(workers, len(jobs)), context, _open, (benchmark, trials, search)
        ) as pool,
    ):
        waiting = [pool.submit(_run, job) for job in jobs]
        try:
            for finished in as_completed(waiting):
                yield finished.result()
        except BrokenProcessPool:
            raise ChildProcessError(
                "a worker process was killed (by the system where memory ran out); what is "
                "finished is kept, and fewer `workers=` go on"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_opened: dict[str, Any] = {}  # of a worker process, so that the table travels once


def _open(benchmark: Benchmark, trials: int, search: Search) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once and without a word
    _opened.update(benchmark=benchmark, trials=trials, search=search)


def _run(job: Job) -> Run:
    return run_one(_opened["benchmark"], job, _opened["trials"], _opened["search"])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that are started meanwhile compute with one thread each."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
