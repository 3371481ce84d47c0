"""This machine as a search's device: some networks are measured, others judge what comes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import latency
from latency import Device, Measurement
from latency.measurement.drift import drift_of
from latency.predictor.shipped import HOST
from latency.sources.contract import Protocol
from latency.sources.journal import Journal
from latency.sources.torch_host import TorchSource, host_facts
from latency.sources.visits import Measured
from nas.calibration import profiling
from nas.progress import Progress, counter
from nas.run.run_folder import RunFolder
from nas.tables import write_rows
from search_spaces import Architecture, SearchSpace, Table, read_table

NETWORK_PROTOCOL = Protocol(rounds=6, runs_per_visit=3)
Plan = Callable[[list[Architecture]], profiling.Planned]
UNSEEN = "unseen"
FEW = 200  # networks that are all looked at, where some cannot be built


@dataclass(frozen=True)
class HostProfile:
    """What of a space is measured here, and what that says of its workloads.

    Args:
        space: the architectures.
        plan: how whole networks are measured.
        parts: what is measured beside them, by the name of its table.
        measurements: a column of a table as (workload, latency) pairs.
        folder: of the run; what is measured stands in it.
        progress: where progress is shown.
        exists: which networks can be built; None for all.
    """

    space: SearchSpace
    plan: Plan
    parts: Mapping[str, profiling.Planned]
    measurements: Callable[[Table, str], list[Measurement]]
    folder: RunFolder
    progress: Progress
    exists: profiling.Exists | None = None

    def device(self) -> Device:
        """This machine, measured in the run's folder now or by an earlier try of the run."""
        title = "measure this machine"
        names = [*self.parts, "networks", UNSEEN]
        files = {name: self.folder.file(f"measured/{name}.csv") for name in names}
        if all(file.exists() for file in files.values()):
            self.progress.skip(title, "measured before")
        else:
            with self.folder.timed("measure"):
                self._measure(title, files)
        return self._calibrated(files)

    def _measure(self, title: str, files: Mapping[str, Path]) -> None:
        space, settings = self.space, self.folder.settings
        there = self._there()
        unseen_count = int(min(settings.unseen_networks, there // 2))
        count = int(min(settings.calibration_networks, there - unseen_count))
        fitted = profiling.worth_measuring(space, count, settings.seed, self.exists)
        source = TorchSource()
        seen = {**self.parts, "networks": self.plan(fitted)}
        judged = self.plan(
            profiling.held_out(space, fitted, unseen_count, settings.seed, self.exists)
        )
        every = judged
        for plan in reversed(seen.values()):
            every = plan + every
        plans = {"visits": every, "again": judged}
        total = sum(len(plan.jobs) for plan in plans.values()) * NETWORK_PROTOCOL.rounds
        with self.progress.stage(title, total) as advance:
            count_visit = counter(advance)
            first, again = (
                self._measured(name, plan, source, count_visit) for name, plan in plans.items()
            )
        for name, plan in seen.items():
            write_rows(files[name], plan.measured_rows(first, source))
        both = {
            name: replace(first[name], rounds=first[name].rounds + again[name].rounds)
            for name in again
        }
        second = [
            {**row, "again_ms": again[row["id"]].timing.latency_ms}
            for row in judged.measured_rows(both, source)
        ]
        write_rows(files[UNSEEN], second)
        for name in plans:
            self._journal(name).unlink(missing_ok=True)

    def _there(self) -> int:
        """How many networks there are; of a small space, how many can be built."""
        if self.exists is None or self.space.size > FEW:
            return int(self.space.size)
        return sum(self.exists(each) for each in self.space.enumerate())

    def _measured(
        self,
        name: str,
        plan: profiling.Planned,
        source: TorchSource,
        count_visit: Callable[[], None],
    ) -> dict[str, Measured]:
        """Measure what an earlier try of this run has not; one on another machine is forgotten."""
        protocol = replace(NETWORK_PROTOCOL, seed=self.folder.settings.seed)
        settings = profiling.settings_of(self.space, source, plan, protocol)
        with Journal(self._journal(name), settings, forget_others=True) as journal:
            for _ in journal.visits:
                count_visit()
            return profiling.measure(source, plan, protocol, journal, count_visit)

    def _journal(self, name: str) -> Path:
        return self.folder.file(f"measured/{name}.partial.jsonl")

    def _calibrated(self, files: Mapping[str, Path]) -> Device:
        """The device of this run's measurements, judged on the networks it has not seen."""
        blocks = dict.fromkeys(self.parts)
        tables = {
            name: read_table(file, blocks.get(name, self.space)) for name, file in files.items()
        }
        table = tables.pop(UNSEEN)
        seen = [m for each in tables.values() for m in self.measurements(each, "latency_ms")]
        device = latency.calibrate(seen, HOST, dict(host_facts()))
        judged = self.measurements(table, "latency_ms")
        device = device.validated(judged, "held out")
        predicted = device.predict_all([m.workload for m in judged])
        self.folder.results[UNSEEN] = {
            "measured_ms": [m.latency_ms for m in judged],
            "again_ms": [float(ms) for ms in table.metric("again_ms")],
            "predicted_ms": [p.latency_ms for p in predicted],
            "low_ms": [p.low_ms for p in predicted],
            "high_ms": [p.high_ms for p in predicted],
        }
        device = replace(device, drift=drift_of([profiling.rounds_in(table)]))
        if not self.folder.only_read:
            device.save(self.folder.file("device.json"))
        return device
