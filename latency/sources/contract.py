"""What a measurement source is: it names its device, and makes a module ready to be timed.

The order of the visits, their storage and the resumption are the same for all (`visits.py`,
`journal.py`), so a source of one's own is two methods.
"""

import copy
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Inputs = tuple[Tensor, ...]
Notes = Mapping[str, str | float]


@dataclass(frozen=True)
class Protocol:
    """How to measure: each round visits everything once, in a new random order.

    Interleaving spreads whatever else the machine does over all that is compared. With `sustain_s`
    the device is then kept busy until its clock has settled, so long at most, and all rounds are
    made once more: what they find is what it sustains.
    """

    rounds: int = 8
    runs_per_visit: int = 4
    warmup_s: float = 1.0  # before the first visit of a process
    seed: int = 0
    sustain_s: float = 0.0

    @property
    def all_rounds(self) -> int:
        """The rounds, and those that are made again."""
        return 2 * self.rounds if self.sustain_s else self.rounds


@dataclass(frozen=True)
class Sampled:
    """What one visit found: the time of each call, and what else is worth a note in the table."""

    samples_ms: list[float]
    notes: Notes = field(default_factory=dict)


Runner = Callable[[int], Sampled]  # from a number of calls to their times


class Source(typing.Protocol):
    """Times torch modules on one device.

    `nas.testing.SourceConformance` checks all that is said here. A source may have a method
    `state()`, too: notes on power, heat and tools at that moment (`latency.sources.machine_state`).
    """

    name: str  # the column `source`
    chains: tuple[int, ...]  # how often a block is repeated in the chains that are timed
    protocol: Protocol  # rounds and calls that suit the device

    def facts(self) -> dict[str, str]:
        """The reserved columns device, soc, compute_unit, os, precision, as far as known.

        Nothing that names one specimen or its owner: no serial number, no name given by a person.
        """
        ...

    def prepare(self, module: nn.Module, inputs: Inputs) -> Runner:
        """Make a module ready to be called many times; it is given back by being dropped.

        The runner calls it so many times, throws cold calls of its own away, and returns as many
        times in ms as calls were asked for.

        Raises:
            InputError: the module cannot be run there.
        """
        ...


def state_of(source: Source) -> Notes:
    """What a source tells of the moment; nothing where it has no `state`."""
    told = getattr(source, "state", None)
    found: Notes = told() if callable(told) else {}
    return found


@dataclass(frozen=True)
class Job:
    """Something to measure, built only when its turn comes; a chain of equals if `repeats` > 1."""

    build: Callable[[], tuple[nn.Module, Inputs]]
    repeats: int = 1

    def made(self) -> tuple[nn.Module, Inputs]:
        """The module and its inputs.

        Every parameter is random: where a normalisation has weight 1, or a fresh block ends in
        zeros, converters leave operations out.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module, inputs = self.build()
            if self.repeats > 1:
                module = Chain(module, self.repeats)
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=0.02)
        return module.eval(), inputs


class Chain(nn.Module):
    """Copies of a block one after another: the output of each is the first input of the next.

    The copies have weights of their own, which must be fetched as those of a network must.
    """

    def __init__(self, block: nn.Module, repeats: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(copy.deepcopy(block) for _ in range(repeats))

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        """Shape kept, as the block keeps it."""
        for block in self.blocks:
            x = block(x, *rest)
        return x
