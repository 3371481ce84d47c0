"""A search on this machine: its blocks and some networks are measured, and judged by others."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import latency
from latency import Device
from latency.predictor.shipped import HOST
from latency.sources.contract import Protocol
from latency.sources.journal import Journal
from latency.sources.torch_host import TorchSource, host_facts
from latency.sources.visits import Measured
from nas.calibration import profiling
from nas.costs.workloads import SpaceCosts
from nas.progress import Progress, counter
from nas.run.run_folder import RunFolder
from nas.tables import write_rows
from search_spaces import read_table

NETWORK_PROTOCOL = Protocol(rounds=6, runs_per_visit=3)


def profiled_host(costs: SpaceCosts, folder: RunFolder, progress: Progress) -> Device:
    """This machine as a device, measured in a run's folder now or by an earlier try of the run."""
    return _HostProfile(costs, folder, progress).device()


@dataclass(frozen=True)
class _HostProfile:
    costs: SpaceCosts
    folder: RunFolder
    progress: Progress

    def device(self) -> Device:
        """Measure every block and some networks here; others, unseen, judge the predictions."""
        title = "measure this machine"
        files = [self.folder.file(f"measured/{n}.csv") for n in ("blocks", "networks", "unseen")]
        if all(file.exists() for file in files):
            self.progress.skip(title, "measured before")
        else:
            with self.folder.timed("measure"):
                self._measure(title, *files)
        return self._calibrated(*files)

    def _measure(self, title: str, blocks: Path, networks: Path, unseen: Path) -> None:
        space, settings = self.costs.space, self.folder.settings
        unseen_count = int(min(settings.unseen_networks, space.size // 2))
        count = int(min(settings.calibration_networks, space.size - unseen_count))
        fitted = profiling.worth_measuring(space, count, settings.seed)
        source, names = TorchSource(), profiling.block_names(space)
        seen = profiling.plan_blocks(space, names), profiling.plan_networks(space, fitted)
        judged = profiling.plan_networks(
            space, profiling.held_out(space, fitted, unseen_count, settings.seed)
        )
        plans = {"visits": seen[0] + seen[1] + judged, "again": judged}
        total = sum(len(plan.jobs) for plan in plans.values()) * NETWORK_PROTOCOL.rounds
        with self.progress.stage(title, total) as advance:
            count_visit = counter(advance)
            first, again = (
                self._measured(name, plan, source, count_visit) for name, plan in plans.items()
            )
        write_rows(blocks, seen[0].measured_rows(first, source))
        write_rows(networks, seen[1].measured_rows(first, source))
        second = [
            {**row, "again_ms": again[row["id"]].timing.latency_ms}
            for row in judged.measured_rows(first, source)
        ]
        write_rows(unseen, second)
        for name in plans:
            self._journal(name).unlink(missing_ok=True)

    def _measured(
        self,
        name: str,
        plan: profiling.Planned,
        source: TorchSource,
        count_visit: Callable[[], None],
    ) -> dict[str, Measured]:
        """Measure what an earlier try of this run has not; one on another machine is forgotten."""
        protocol = replace(NETWORK_PROTOCOL, seed=self.folder.settings.seed)
        settings = profiling.settings_of(self.costs.space, source, plan, protocol)
        with Journal(self._journal(name), settings, forget_others=True) as journal:
            for _ in journal.visits:
                count_visit()
            return profiling.measure(source, plan, protocol, journal, count_visit)

    def _journal(self, name: str) -> Path:
        return self.folder.file(f"measured/{name}.partial.jsonl")

    def _calibrated(self, blocks: Path, networks: Path, unseen: Path) -> Device:
        """The device of this run's measurements, judged on the networks it has not seen."""
        space, costs = self.costs.space, self.costs
        seen = [
            measurement
            for table in (read_table(blocks), read_table(networks, space))
            for measurement in profiling.measurements_of(table, "latency_ms", costs)
        ]
        device = latency.calibrate(seen, HOST, dict(host_facts()))
        table = read_table(unseen, space)
        judged = profiling.measurements_of(table, "latency_ms", costs)
        device = device.validated(judged, "held out")
        device.save(self.folder.file("device.json"))
        predicted = [device.predict(m.workload) for m in judged]
        self.folder.results["unseen"] = {
            "measured_ms": [m.latency_ms for m in judged],
            "again_ms": [float(ms) for ms in table.metric("again_ms")],
            "predicted_ms": [p.latency_ms for p in predicted],
            "low_ms": [p.low_ms for p in predicted],
            "high_ms": [p.high_ms for p in predicted],
        }
        return device
