"""Profiles of a space as tables: what is asked for, measured visit by visit, or written to do."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from latency.sources.contract import Notes, Protocol, Source, state_of
from latency.sources.journal import Journal, journal_path
from nas.calibration import profiling
from nas.calibration.profiling import Build, Exists, Planned
from nas.progress import Progress
from nas.tables import write_rows
from search_spaces import InputError, SearchSpace, TemporalSpace, read_table

TRIED_JOBS = 3
TRIED_S = 10.0


@dataclass(frozen=True)
class Wanted:
    """What is to be measured of a space.

    Args:
        space: any; only of a U-Net's are blocks and networks built.
        blocks: every block of every slot.
        networks: so many whole networks, those from which most is learned first.
        chains: in which blocks stand; None for those of whatever measures.
        rounds: visits to each; None for those of whatever measures.
        seed: of the order, and of the networks.
        build: a network with its inputs, where the space is no U-Net's; None where nothing does.
        exists: which networks it can build; None for all.
        sustain_s: measure once more after the clock has settled, for which so long is waited at
            most; 0: do not.
    """

    space: SearchSpace
    blocks: bool
    networks: int | None
    chains: tuple[int, ...] | None
    rounds: int | None
    seed: int
    build: Build | None = None
    exists: Exists | None = None
    sustain_s: float = 0.0

    def planned(self, chains: tuple[int, ...]) -> Planned:
        """The blocks or the networks, or both; `chains` counts where none were asked for.

        Raises:
            InputError: the space has fewer networks than asked for.
        """
        planned = Planned({}, [])
        if self.blocks and isinstance(self.space, TemporalSpace):
            names = profiling.block_names(self.space)
            planned += profiling.plan_blocks(self.space, names, self.chains or chains)
        if self.networks is not None:
            chosen = profiling.worth_measuring(self.space, self.networks, self.seed, self.exists)
            planned += profiling.plan_networks(self.space, chosen, self.build)
        return planned

    def protocol(self, source: Source) -> Protocol:
        """The source's own, as far as nothing else was asked for."""
        rounds = self.rounds or source.protocol.rounds
        return replace(source.protocol, rounds=rounds, seed=self.seed, sustain_s=self.sustain_s)

    def worthwhile(self) -> "Wanted":
        """Where nothing was named: all blocks, and enough networks."""
        if self.blocks or self.networks is not None:
            return self
        has_blocks = isinstance(self.space, TemporalSpace)
        return replace(self, blocks=has_blocks, networks=profiling.enough_networks(self.space))


def checked(wanted: Wanted, out: Path | None, *, resume: bool) -> Path:
    """The table to measure to, before a device is asked.

    Raises:
        InputError: what cannot be measured, or would overwrite something.
    """
    enough = wanted.worthwhile().networks
    if not isinstance(wanted.space, TemporalSpace):
        if wanted.build is None:
            raise InputError(
                f"space {wanted.space.name!r} has no U-Net to build networks of: give what builds "
                "them, `build=my_module:function`; or measure by hand, "
                f"`networks={wanted.networks or enough}` `plan=True` `out=todo.csv` writes which"
            )
        if wanted.blocks:
            raise InputError(
                f"space {wanted.space.name!r} has no U-Net, so no blocks; measure `networks=N`"
            )
    if wanted.blocks == (wanted.networks is not None):
        raise InputError(
            "say what to measure: `blocks=True`, or `networks=N` (two tables, two calls); worth "
            f"measuring are all blocks, then {enough} networks or more; `plan=True` lists them"
        )
    if out is None:
        raise InputError(
            "give `out=`, the table to write; or `plan=True`, to see what would be measured"
        )
    wanted.planned((1,))  # refuses more networks than there are
    if out.exists() and not resume:
        raise InputError(f"{out}: exists; choose another file for `out=`, or remove it")
    if journal_path(out).exists() and not resume:
        raise InputError(
            f"{journal_path(out)}: a measurement was left here; go on with it by `resume=True`, or "
            "remove it"
        )
    return out


def measure_table(wanted: Wanted, source: Source, out: Path, progress: Progress) -> int:
    """Measure what is not measured yet, and write the table; returns its number of rows.

    Raises:
        InputError: what stands there is of something else.
    """
    planned, protocol = wanted.planned(source.chains), wanted.protocol(source)
    if out.exists() and not journal_path(out).exists():
        return _finished_before(planned, out)
    settings = profiling.settings_of(wanted.space, source, planned, protocol)
    total = len(planned.jobs) * protocol.all_rounds
    with Journal(journal_path(out), settings) as journal:
        begun = state_of(source)
        try:
            with progress.stage("measure", total) as advance:
                advance(len(journal.visits))
                measured = profiling.measure(
                    source, planned, protocol, journal, lambda: advance(len(journal.visits))
                )
        except InputError:
            if not journal.visits:  # nothing to go on with: the next try may be of other settings
                journal.remove()
            raise
        state = both_states(begun, state_of(source))
        write_rows(out, planned.measured_rows(measured, source, state))
        journal.remove()
    return len(planned.rows)


def both_states(begun: Notes, ended: Notes) -> Notes:
    """What was told before and after a measurement: once where it is the same."""
    return {
        name: value if begun.get(name) == value else f"{begun.get(name)}, then {value}"
        for name, value in ended.items()
    }


def _finished_before(planned: Planned, out: Path) -> int:
    """Nothing is left to do, if the table is the one that was asked for."""
    table = read_table(out)
    ids = list(table.reserved["id"]) if "id" in table.reserved else []
    if ids != [row["id"] for row in planned.rows]:
        raise InputError(
            f"{out}: is whole, and holds something other than was asked for; choose another `out=`"
        )
    return len(ids)


def about_seconds(source: Source, planned: Planned, protocol: Protocol) -> float | None:
    """How long a plan will take, from one visit of each of a few jobs; None without jobs.

    Raises:
        InputError: the source cannot run one of them.
    """
    names = list(planned.jobs)
    tried = list(dict.fromkeys([names[0], names[len(names) // 2], names[-1]])) if names else []
    if not tried:
        return None
    begun = time.perf_counter()
    taken: list[tuple[float, float]] = []
    for name in tried[:TRIED_JOBS]:
        start = time.perf_counter()
        runner = source.prepare(*planned.jobs[name].made())
        runner(1)
        ready = time.perf_counter()
        runner(protocol.runs_per_visit)
        taken.append((ready - start, time.perf_counter() - ready))
        if time.perf_counter() - begun > TRIED_S:
            break
    prepare_s = sum(each for each, _ in taken) / len(taken)
    visit_s = sum(each for _, each in taken) / len(taken)
    waited_s = protocol.warmup_s + protocol.sustain_s
    return waited_s + len(names) * (prepare_s + protocol.all_rounds * visit_s)
