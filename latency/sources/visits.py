"""Visits: each job of a measurement is timed a little in every round, in an order drawn by lot."""

import math
import random
import statistics
import time
from collections import OrderedDict
from collections.abc import Container, Generator, Iterable, Mapping
from dataclasses import dataclass, field

from latency.measurement.measurement import Timing
from latency.measurement.rounds import Round
from latency.sources.contract import Job, Notes, Protocol, Runner, Source
from latency.sources.settling import settle
from search_spaces import InputError

KEPT_BYTES = 2e9  # parameters of modules that stay ready between their visits


@dataclass(frozen=True)
class Visit:
    """The samples of one job in one round."""

    job: str
    round: int
    samples_ms: tuple[float, ...]
    notes: Notes = field(default_factory=dict)
    at_s: float | None = None  # seconds since 1970; None in journals of earlier versions

    @property
    def key(self) -> tuple[str, int]:
        """What makes a visit one of its own."""
        return self.job, self.round


@dataclass(frozen=True)
class Measured:
    """What all visits of one job found."""

    timing: Timing
    notes: str  # as it stands in the table: `ran_on=ne:0.97,cpu:0.03; warmup_s=1`
    steady: Timing | None = None  # once the clock had settled, where that was waited for
    rounds: tuple[Round, ...] = ()  # those before that


def visits(
    source: Source,
    jobs: Mapping[str, Job],
    protocol: Protocol,
    done: Container[tuple[str, int]] = (),
) -> Generator[Visit, None, None]:
    """Visit every job once a round, and leave out what was done before.

    The clock is settled on the first job.

    The order follows from the seed alone, so that an interrupted measurement goes on in it. Stop
    whenever you like: what was yielded counts.

    Raises:
        InputError: the source cannot run a job, or returned what is no time.
    """
    bench = _Bench(source, jobs)
    warm = protocol.warmup_s <= 0
    settled: Notes = {}
    for number in range(protocol.all_rounds):
        order = list(jobs)
        random.Random(f"{protocol.seed} {number}").shuffle(order)  # noqa: S311 - an order, no secret
        for name in order:
            if (name, number) in done:
                continue
            try:
                runner = bench.runner(name)
                if not warm:
                    _warm_up(runner, protocol.warmup_s)
                    warm = True
                if number >= protocol.rounds and not settled:
                    settled = settle(bench.runner(next(iter(jobs))), protocol.sustain_s)
                sampled = runner(protocol.runs_per_visit)
            except InputError as error:
                raise InputError(f"{name}: {error}") from error
            _check(source, name, sampled.samples_ms, protocol.runs_per_visit)
            notes = {**sampled.notes, **settled}
            yield Visit(name, number, tuple(sampled.samples_ms), notes, round(time.time(), 1))


def gather(found: Iterable[Visit], rounds: int | None = None) -> dict[str, Measured]:
    """The visits of each job in one: samples together, numbers among the notes as medians.

    Rounds from number `rounds` on were made after the clock had settled.
    """
    by_job: dict[str, list[Visit]] = {}
    for visit in found:
        by_job.setdefault(visit.job, []).append(visit)
    measured = {}
    for name, visited in by_job.items():
        burst = [visit for visit in visited if rounds is None or visit.round < rounds]
        steady = [visit for visit in visited if rounds is not None and visit.round >= rounds]
        notes = notes_text(_together([visit.notes for visit in visited]))
        measured[name] = Measured(
            _timing(burst), notes, _timing(steady) if steady else None, _rounds(burst)
        )
    return measured


def _rounds(visited: list[Visit]) -> tuple[Round, ...]:
    ordered = sorted(visited, key=lambda each: each.round)
    return tuple(
        Round(each.at_s, statistics.median(each.samples_ms))
        for each in ordered
        if each.at_s is not None
    )


def _timing(visited: list[Visit]) -> Timing:
    return Timing.of([sample for visit in visited for sample in visit.samples_ms])


def notes_text(notes: Notes) -> str:
    """Notes as a table holds them."""
    return "; ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in notes.items()
    )


def _together(notes: list[Notes]) -> Notes:
    last = notes[-1]
    numbers = {
        name: [float(each[name]) for each in notes if isinstance(each.get(name), float)]
        for name, value in last.items()
        if isinstance(value, float)
    }
    return dict(last) | {name: statistics.median(values) for name, values in numbers.items()}


def _warm_up(runner: Runner, seconds: float) -> None:
    """Keep the device busy until its clock has risen."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        runner(1)


def _check(source: Source, name: str, samples_ms: list[float], calls: int) -> None:
    if len(samples_ms) != calls:
        raise InputError(
            f"source {source.name!r}: {len(samples_ms)} times of {calls} calls of {name!r}"
        )
    for sample in samples_ms:
        if not (math.isfinite(sample) and sample > 0):
            raise InputError(f"source {source.name!r}: {name!r} took {sample} ms, which is no time")


class _Bench:
    """Modules that are ready to be timed; those visited longest ago make room for others."""

    def __init__(self, source: Source, jobs: Mapping[str, Job]) -> None:
        self._source = source
        self._jobs = jobs
        self._ready: OrderedDict[str, tuple[Runner, int]] = OrderedDict()

    def runner(self, name: str) -> Runner:
        """The runner of a job; made if it is not ready."""
        if name not in self._ready:
            module, inputs = self._jobs[name].made()
            size = sum(p.numel() * p.element_size() for p in module.parameters())
            while self._ready and size + self._size() > KEPT_BYTES:
                self._ready.popitem(last=False)
            self._ready[name] = self._source.prepare(module, inputs), size
        self._ready.move_to_end(name)
        return self._ready[name][0]

    def _size(self) -> int:
        return sum(size for _, size in self._ready.values())
