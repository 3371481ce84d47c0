"""How closely a search looked at how many networks, and what that cost."""

from collections.abc import Sequence
from typing import Any

from nas.problem.fidelity import Fidelity
from nas.run.results import Found


def seen(
    evaluated: Sequence[Found], fidelity: Fidelity | None, spent: int
) -> dict[str, Any] | None:
    """How many networks the search saw how closely, and what that cost; None without a fidelity."""
    if fidelity is None:
        return None
    counts = [found.count for found in evaluated]
    looks = {c: sum((count or 0) >= c for count in counts) for c in fidelity.levels}
    return {"name": fidelity.name, "spent": spent, "networks": looks}


def seen_in_words(found: dict[str, Any] | None) -> str:
    """How a search spent what it had, in a clause; empty where all evaluations are alike."""
    if not found:
        return ""
    counts = {int(count): n for count, n in found["networks"].items() if n}
    steps = ", ".join(f"{n} on {count}" for count, n in counts.items())
    return f"{found['spent']:,} {found['name']}: {steps}"
