"""What is known of a task's networks before one is evaluated: costs on devices, or sizes alone."""

from dataclasses import dataclass
from functools import cached_property

from latency import Device
from latency.predictor.shipped import HOST
from nas.calibration.validated import doubts
from nas.costs.contract import Costs, Sized
from nas.costs.devices import measured_in
from nas.costs.named_costs import NamedCosts
from nas.costs.traces import Traces
from nas.costs.unpriced import Unpriced
from nas.progress import Progress
from nas.run.settings import SearchSettings
from nas.task.task import Task
from nas.task.tracing import traces_of
from search_spaces import InputError

SIZES = ("parameters_count", "memory_mb", "flops_count")


@dataclass(frozen=True)
class Pricing:
    """The devices of a search of a task, opened.

    Args:
        task: whose networks are priced.
        settings: that name the devices.
        main: the main device; None for this machine, or for none.
        others: beside it.
        energy: a device of energies.
    """

    task: Task
    settings: SearchSettings
    main: Device | None
    others: tuple[Device, ...]
    energy: Device | None

    @property
    def on_host(self) -> bool:
        """Whether this machine is the device, which is measured then."""
        return self.settings.device == HOST

    @cached_property
    def traces(self) -> Traces | None:
        """Of the networks, where there is what builds them and something asks what they run."""
        return traces_of(self.task, self.settings.seed) if self._asks_for_traces else None

    @property
    def _asks_for_traces(self) -> bool:
        """Whether a device prices operations, or sizes are traded off or limited."""
        devices = [each for each in (self.main, *self.others, self.energy) if each is not None]
        budget, objectives = self.settings.budget, self.settings.objectives
        return (
            self.on_host
            or any(not device.choices for device in devices)
            or budget.parameters is not None
            or budget.memory_mb is not None
            or any(name.startswith(SIZES) for name in objectives)
        )

    def costs(self, main: Device | None, progress: Progress) -> list[Costs]:
        """On each device, the main one first."""
        devices = [each for each in (main, *self.others) if each is not None]
        found = [self._priced(device) for device in devices]
        for each in found:
            for line in (*each.doubts, *doubts(each.device)):
                progress.say(line)
        return found

    def energies(self) -> Costs | None:
        """What networks need of a device that was calibrated on millijoules."""
        return None if self.energy is None else self._priced(self.energy)

    def sized(self) -> Sized:
        """What networks hold, whatever they run on."""
        if self.traces is None:
            return Unpriced(self.task.space)
        from nas.costs.traced_costs import TracedSizes

        return TracedSizes(self.traces)

    def _priced(self, device: Device) -> Costs:
        if device.choices:
            return NamedCosts(self.task.space, device)
        if self.traces is None:
            raise InputError(
                f"device {device.name!r} knows what operations cost, and nothing of the choices of "
                f"space {self.task.space.name!r}: give what builds the networks, `build=`, or a "
                "device that was calibrated on a table of them"
            )
        from nas.costs.traced_costs import TracedCosts

        return TracedCosts(self.traces, device)


def priced(task: Task, settings: SearchSettings) -> Pricing:
    """The devices that settings name, opened.

    Raises:
        InputError: nothing of such a name; this machine, where nothing builds the networks.
    """
    if settings.device is None and settings.other_devices:
        raise InputError("a device beside none; give the main one first, `device=`")
    if settings.device == HOST and task.build is None:
        raise InputError(
            "to measure this machine, networks must be built; give `build=`, or a device that "
            "was calibrated on a table"
        )
    known = settings.device not in (None, HOST)
    main = measured_in("ms", str(settings.device)) if known else None
    others = tuple(measured_in("ms", name) for name in settings.other_devices)
    energy = measured_in("mJ", settings.energy) if settings.energy else None
    return Pricing(task, settings, main, others, energy)
