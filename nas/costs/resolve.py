"""A budget to limits: in numbers, on each device, and refused where no network keeps them."""

import math
from collections.abc import Sequence
from dataclasses import replace

from nas.costs.costs import Costs, layout
from nas.costs.feasibility import contradicting, least_of
from nas.costs.fixed_parts import parts_of
from nas.costs.limits import Budget, Limits, Target, parse_latency
from search_spaces import Architecture, InputError


def resolve(budget: Budget, *costs: Costs, energy: Costs | None = None) -> Limits:
    """A budget's limits on one device or several; a device's own memory limit is one of them.

    Args:
        budget: what is allowed.
        costs: on each device, the main one first.
        energy: of a device that was calibrated on millijoules.

    Raises:
        InputError: not even the network that uses least of a limit keeps it.
    """
    main, *others = costs
    names = [each.device.name for each in costs]
    if len(set(names)) < len(names):
        raise InputError(f"a device is given twice: {', '.join(names)}")
    if budget.other_latency and len(budget.other_latency) != len(others):
        raise InputError(
            f"{len(budget.other_latency) + 1} latency budgets for {len(costs)} devices; give one "
            "for all, or one for each"
        )
    wanted = [budget.latency, *(budget.other_latency or [budget.latency] * len(others))]
    given = [budget.memory_mb, *(each.device.memory_limit_mb for each in costs)]
    targets = tuple(
        _target(budget, each, latency, "latency_ms" if each is main else _objective(each))
        for each, latency in zip(costs, wanted, strict=True)
    )
    memory_mb = min((mb for mb in given if mb is not None), default=None)
    limits = Limits(budget, targets, memory_mb, energy)
    _check_energy(limits)
    apart = contradicting(limits)
    if apart:
        raise InputError(_refusal(limits, apart))
    return limits


def _target(budget: Budget, costs: Costs, latency: str | None, objective: str) -> Target:
    """A device with its limit in ms; InputError where its fastest network passes it."""
    parts = parts_of(costs.space, costs.device, budget.parts)
    free = Target(costs, math.inf, objective, parts)
    if latency is None:
        return free
    value, is_share = parse_latency(latency)
    slowest_ms, fastest_ms = Limits(budget, (free,)).pipelines_ms(
        [costs.slowest, costs.fastest], free
    )
    latency_ms = value * float(slowest_ms) if is_share else value
    if fastest_ms > latency_ms:
        listed = "".join(f" and {part.latency_ms:.4g} ms of {part.name}" for part in parts)
        raise InputError(
            f"the latency budget of {latency_ms:.4g} ms is below the fastest network: "
            f"{describe(costs, costs.fastest)} takes {fastest_ms:.4g} ms "
            f"({budget.steps} steps{listed}) on {costs.device.name}; raise `latency=`"
        )
    return replace(free, latency_ms=latency_ms)


def _refusal(limits: Limits, apart: Sequence[str]) -> str:
    """Why no network keeps the limits that are named."""
    main, smallest = limits.costs, limits.costs.smallest
    if len(apart) == 1:
        least = least_of(limits, apart[0])
        found = limits.excess(least)[apart[0]]
        return (
            f"the {apart[0]} budget ({_allowed(limits, apart[0])}) is kept by no network: "
            f"{describe(main, least)} needs least and passes it by {found:.4g}; raise it"
        )
    said = " and ".join(f"{name} ({_allowed(limits, name)})" for name in apart)
    return (
        f"no network keeps the budgets of {said} together, though each of them can be kept; the "
        f"fastest is {describe(main, main.fastest)}, the smallest {describe(main, smallest)}; "
        "raise one of them"
    )


def _allowed(limits: Limits, name: str) -> str:
    """A limit as people write it."""
    latencies = {t.objective: f"{t.latency_ms:.4g} ms" for t in limits.targets}
    others = {
        "parameters": f"{limits.budget.parameters or 0:,}",
        "memory_mb": f"{limits.memory_mb or 0:g} MB",
        "energy_mj": f"{limits.budget.energy_mj or 0:g} mJ",
    }
    return (latencies | others)[name]


def _check_energy(limits: Limits) -> None:
    wanted_mj = limits.budget.energy_mj
    if wanted_mj is None:
        return
    if limits.energy is None:
        raise InputError(
            "an energy budget needs a device calibrated on a column in _mj; give `energy=FILE`"
        )
    frugal = limits.energy.fastest
    least_mj = float(limits.energies_mj([frugal])[0])
    if least_mj > wanted_mj:
        raise InputError(
            f"the energy budget of {wanted_mj:.4g} mJ is below the most frugal network: "
            f"{describe(limits.costs, frugal)} takes {least_mj:.4g} mJ ({limits.budget.steps} "
            "steps); raise `energy_mj=`"
        )


def _objective(costs: Costs) -> str:
    return f"latency_{costs.device.name}_ms"


def describe(costs: Costs, architecture: Architecture) -> str:
    """A network in a few words: its slots that hold a block."""
    held = {s: b for s, b in layout(costs.space, architecture).items() if b != "none"}
    return " ".join(f"{s}={b}" for s, b in held.items()) or "the image network (no temporal block)"
