"""Where a network ran: the share of its time on each device, and the operations that it is of.

Core ML has estimates of it (compute plans, Xcode's reports); ONNX Runtime and Qualcomm AI Hub
measure it, operation by operation.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

NO_WORK = ("const", "constexpr")  # operations that are there before the first call
KIND = re.compile(r"[A-Za-z0-9_.:/-]+")  # of an operation; nothing that means more in a note
ACCELERATORS, PROCESSOR = ("ne", "npu", "gpu"), "cpu"  # what is fallen back to is named last


@dataclass(frozen=True)
class Placement:
    """Where a model runs: the share of its cost on each device; and of what it is."""

    shares: dict[str, float]  # ne, gpu, cpu, or as whoever measured says; empty: nothing is known
    operations: dict[str, int]  # kind to how many; constants are left out

    @staticmethod
    def of(costs: Iterable[tuple[str, float]], kinds: Iterable[str]) -> "Placement":
        """From (device, cost) of the operations that have one, and the kinds of all of them."""
        found: Counter[str] = Counter()
        for device, cost in costs:
            found[device] += cost  # type: ignore[assignment]  # a Counter adds floats as well
        total = sum(found.values())
        others = sorted(found.keys() - {*ACCELERATORS, PROCESSOR})
        named = (name for name in (*ACCELERATORS, *others, PROCESSOR) if found[name])
        shares = {name: found[name] / total for name in named} if total else {}
        kinds = [kind.rpartition(".")[2] for kind in kinds]
        working = [kind for kind in kinds if not kind.startswith(NO_WORK)]
        return Placement(shares, dict(Counter(working).most_common()))

    @property
    def notes(self) -> dict[str, str | float]:
        """As the column `notes` has it."""
        content: dict[str, str | float] = {}
        if self.shares:
            content["ran_on"] = ",".join(f"{name}:{s:.2f}" for name, s in self.shares.items())
        content["operations"] = ",".join(f"{kind}:{n}" for kind, n in self.operations.items())
        return content

    @property
    def text(self) -> str:
        """The notes as a cell holds them."""
        return "; ".join(f"{name}={value}" for name, value in self.notes.items())
