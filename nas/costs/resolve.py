"""A budget to limits: in numbers, on each device, and refused where no network keeps them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nas.costs import extremes
from nas.costs.contract import Costs, Sized
from nas.costs.fixed_parts import FixedPart, PartFolder, parts_of
from nas.costs.limits import Budget, Limits, Target, parse_latency
from nas.costs.predicted_parts import predicted
from search_spaces import Architecture, InputError


@dataclass(frozen=True)
class Feasibility:
    """How it is found out whether any network keeps the limits.

    Args:
        contradicting: the fewest limits that none keeps together, by name.
        least_of: the network that needs least of a limit.
    """

    contradicting: Callable[[Limits], list[str]] = extremes.contradicting
    least_of: Callable[[Limits, str], Architecture] = extremes.least_of


LOOKING = Feasibility()


def resolve(
    budget: Budget,
    *costs: Costs,
    energy: Costs | None = None,
    sized: Sized | None = None,
    feasibility: Feasibility = LOOKING,
) -> Limits:
    """A budget's limits on one device or several; a device's own memory limit is one of them.

    Args:
        budget: what is allowed.
        costs: on each device, the main one first.
        energy: of a device that was calibrated on millijoules.
        sized: what networks hold, where there is no device.
        feasibility: by looking at networks, unless costs add (`nas.costs.feasibility`).

    Raises:
        InputError: not even the network that uses least of a limit keeps it; or a limit on what is
            not known of these networks.
    """
    others = costs[1:]
    names = [each.device.name for each in costs]
    if len(set(names)) < len(names):
        raise InputError(f"a device is given twice: {', '.join(names)}")
    if budget.other_latency and len(budget.other_latency) != len(others):
        raise InputError(
            f"{len(budget.other_latency) + 1} latency budgets for {len(costs)} devices; give one "
            "for all, or one for each"
        )
    all_alike = [budget.latency] * len(others)
    wanted = [budget.latency, *(budget.other_latency or all_alike)] if costs else []
    _check_known(budget, costs, sized)
    given = [budget.memory_mb, *(_memory_limit_mb(each) for each in costs)]
    targets = tuple(
        _target(budget, each, latency, "latency_ms" if each is costs[0] else _objective(each))
        for each, latency in zip(costs, wanted, strict=True)
    )
    memory_mb = min((mb for mb in given if mb is not None), default=None)
    limits = Limits(budget, targets, memory_mb, energy, sized)
    _check_energy(limits)
    apart = feasibility.contradicting(limits)
    if apart:
        raise InputError(_refusal(limits, apart, feasibility))
    return limits


def _memory_limit_mb(costs: Costs) -> float | None:
    """The device's own; None where nobody knows how much memory these networks need."""
    return costs.device.memory_limit_mb if "memory_mb" in costs.sizes else None


def _check_known(budget: Budget, costs: Sequence[Costs], sized: Sized | None) -> None:
    """Refuse limits on what nobody knows of these networks beforehand."""
    if not costs and (budget.latency is not None or budget.other_latency):
        raise InputError(
            "a latency budget needs a device that predicts it; give a `device=`, which "
            "`nas calibrate` makes of measured networks"
        )
    known = {*(costs[0].sizes if costs else ()), *(sized.sizes if sized else ())}
    for field, name in (("parameters", "parameters_count"), ("memory_mb", "memory_mb")):
        if getattr(budget, field) is not None and name not in known:
            raise InputError(
                f"a budget on {name} needs the networks themselves, which are known by name "
                "alone; give what builds them, `build=`"
            )


def _target(budget: Budget, costs: Costs, latency: str | None, objective: str) -> Target:
    """A device with its limit in ms; InputError where its fastest network passes it."""
    parts = parts_of(costs.published_parts, _given_parts(budget, costs))
    free = Target(costs, math.inf, objective, parts)
    if latency is None:
        return free
    value, is_share = parse_latency(latency)
    slowest_ms, fastest_ms = Limits(budget, (free,)).limited_ms(
        [costs.slowest, costs.fastest], free
    )
    latency_ms = value * float(slowest_ms) if is_share else value
    if fastest_ms > latency_ms:
        listed = "".join(f" and {part.latency_ms:.4g} ms of {part.name}" for part in parts)
        raise InputError(
            f"the latency budget of {latency_ms:.4g} ms is below the fastest network: "
            f"{costs.describe(costs.fastest)} takes {_at_most(budget)}{fastest_ms:.4g} ms"
            f"{_counted(budget.steps, listed)} on {costs.device.name}; raise `latency=`"
        )
    return replace(free, latency_ms=latency_ms)


def _given_parts(budget: Budget, costs: Costs) -> tuple[FixedPart, ...]:
    """The parts that a user gives, those in folders priced by what they are."""
    most = [mb for mb in (budget.memory_mb, _memory_limit_mb(costs)) if mb is not None]
    return tuple(
        predicted(part, costs.space, costs.device, min(most, default=None))
        if isinstance(part, PartFolder)
        else part
        for part in budget.parts or ()
    )


def _at_most(budget: Budget) -> str:
    return "" if budget.bound == "prediction" else "up to "


def _counted(steps: int, parts: str = "") -> str:
    """What a time is of, where it is not of one call alone."""
    counted = f"{steps} steps" if steps > 1 else ""
    said = f"{counted}{parts}" if counted else parts.removeprefix(" and ")
    return f" ({said})" if said else ""


def _refusal(limits: Limits, apart: Sequence[str], feasibility: Feasibility) -> str:
    """Why no network keeps the limits that are named."""
    needs = {name: feasibility.least_of(limits, name) for name in apart}
    words = {name: _described(limits, each) for name, each in needs.items()}
    if len(apart) == 1:
        (name,) = apart
        over = limits.excess(needs[name])[name]
        return (
            f"the {name} budget ({_allowed(limits, name)}) is kept by no network: "
            f"{words[name]} needs least and passes it by {over:.4g}; raise it"
        )
    said = " and ".join(f"{name} ({_allowed(limits, name)})" for name in apart)
    least = "; ".join(f"least of {name} needs {network}" for name, network in words.items())
    return (
        f"no network keeps the budgets of {said} together, though each of them can be kept: "
        f"{least}; raise one of them"
    )


def _described(limits: Limits, architecture: Architecture) -> str:
    return limits.costs.describe(architecture) if limits.targets else str(architecture)


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
            f"{_described(limits, frugal)} takes {least_mj:.4g} mJ"
            f"{_counted(limits.budget.steps)}; raise `energy_mj=`"
        )


def _objective(costs: Costs) -> str:
    return f"latency_{costs.device.name}_ms"
