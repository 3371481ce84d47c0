"""Calibration: fit a device to measured blocks, measured networks, or both."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from latency.cost_model import analytical
from latency.cost_model.analytical import DIRECTIONS, AnalyticalModel
from latency.cost_model.designs import fit_designs
from latency.cost_model.laplace import WIDEST
from latency.cost_model.unit_costs import UnitCosts, eager_prior
from latency.measurement.measurement import Measurement, check_measurements
from latency.measurement.validation import Prediction, Seen, validate
from latency.predictor.device import Device
from latency.regression import bounds, network_fit
from latency.regression.linear_model import LinearModel
from latency.regression.links import linked
from latency.regression.transfer import Sources
from search_spaces import InputError

# A processor that nothing is known of: a laptop's, to a factor of e^1.5 either way.
UNKNOWN = eager_prior(tflop_per_s=0.2, gb_per_s=20, operation_ms=0.01).scaled(
    {}, spread=0.1, common=1.5
)


def calibrate(
    measurements: Sequence[Measurement],
    name: str,
    facts: dict[str, Any] | None = None,
    borrow: Sources | None = None,
    launch_ms: float | None = None,
    like: Device | None = None,
    always_ms: float = 0.0,
) -> Device:
    """Calibrate a device on measured blocks, measured networks, or both.

    Of networks whose options have names alone, what options take adds in ms; or it multiplies, and
    `model.link` is `log`, where the networks left out are clearly better predicted so. With fewer
    than ten, numbers that vary freely, dead edges or `borrow`, it adds.

    Args:
        measurements: what was seen on the device.
        name: the device's name.
        facts: what else is known of it, kept in its file.
        borrow: other devices to transfer from, measured on the same space
            (`latency.learn_sources`).
        launch_ms: what a call takes beside its blocks, until networks say better.
        like: a device whose costs of work this one's start from, as a shipped neighbour's.
        always_ms: what every network takes beside its parts, as a backbone that was measured.

    Raises:
        InputError: too few measurements, or such that no model can come of them.
    """
    check_measurements(measurements)
    networks = [m for m in measurements if m.of_network]
    device = replace(
        _from_blocks(
            [m for m in measurements if not m.of_network], networks, name, launch_ms, like
        ),
        facts=facts or {},
    )
    if len(networks) > 1:
        return _fitted_to(device, networks, borrow, always_ms)
    constant = device.model.intercept + always_ms * np.eye(1, len(device.model.intercept))[0]
    return replace(device, model=replace(device.model, intercept=constant))


def _from_blocks(
    blocks: Sequence[Measurement],
    networks: Sequence[Measurement],
    name: str,
    launch_ms: float | None,
    like: Device | None,
) -> Device:
    """The device before networks correct it: measured blocks, and an analytical cost model.

    The cost model is fitted to the blocks, or to the networks where there are no blocks.
    """
    same_work: dict[str, list[Measurement]] = {}
    for block in blocks:
        same_work.setdefault(block.workload.digest, []).append(block)
    sized = [m for m in (blocks or networks) if m.workload.measurable]
    prior, number_bytes = _prior(like)
    if like is not None and not sized:
        raise InputError(
            f"{like.name!r} tells what work of known sizes costs, and these options have names "
            "alone; borrow columns of measured networks instead"
        )
    fit = _of_designs if _are_designs(sized) else analytical.fit
    costs = fit(sized, prior, number_bytes) if sized else None
    tabular = [p for m in (*networks, *blocks) for p in m.workload.leaves if not p.measurable]
    return Device(
        name=name,
        model=sum_of_parts(costs, launch_ms or 0.0),
        blocks={
            digest: (same[0].workload.name, float(np.mean([m.latency_ms for m in same])))
            for digest, same in same_work.items()
        },
        analytical=costs,
        memory_limit_mb=like.memory_limit_mb if like else None,
        choices=tuple(dict.fromkeys(p.choice for p in tabular)),
        numeric=tuple(dict.fromkeys(p.choice for p in tabular if p.name == p.choice)),
    )


def _are_designs(sized: Sequence[Measurement]) -> bool:
    """Whether what was measured is whole networks, which share neither parts nor choices.

    A part is named after its choice (`down0=conv3d`), and so is a network of a space.
    """
    names = ((m.workload.name, m.workload.choice) for m in sized if not m.of_network)
    return len([1 for name, choice in names if name == choice]) == len(sized)


def _of_designs(
    measurements: Sequence[Measurement], prior: UnitCosts, number_bytes: int | None
) -> AnalyticalModel:
    """Costs from networks of different designs; one measured again counts once, by its mean.

    The bounds are conformal, and never narrower than the model's own.
    """
    again: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        again.setdefault(measurement.workload.digest, []).append(measurement)
    once = [
        replace(same[0], latency_ms=float(np.mean([m.latency_ms for m in same])))
        for same in again.values()
    ]
    model, errors = fit_designs(once, prior, number_bytes)
    quantile = bounds.conformal_quantile(errors.tolist())
    return replace(model, width=float(np.clip(quantile / bounds.UNVALIDATED, 1.0, WIDEST)))


def _fitted_to(
    device: Device, networks: Sequence[Measurement], borrow: Sources | None, always_ms: float
) -> Device:
    """The device corrected by measured networks, with conformal bounds and leave-one-out errors."""
    if borrow is None and not always_ms and _have_names_alone(device, networks):
        fitted = network_fit.fit_names(networks)
    else:
        fitted = network_fit.fit(networks, device.base_ms, borrow, always_ms)
    measured = linked([m.latency_ms for m in networks], fitted.model.link)
    errors = (measured - fitted.leave_one_out) / fitted.leave_one_out_sd
    quantile = bounds.quantile_of_fit([float(error) for error in errors])
    predictions = [
        Prediction(*(float(ms) for ms in each))
        for each in zip(*fitted.leave_one_out_ms(quantile), strict=True)
    ]
    return replace(
        device,
        model=fitted.model,
        quantile=quantile,
        measurements=tuple(
            Seen(m.workload.name, m.latency_ms, prediction)
            for m, prediction in zip(networks, predictions, strict=True)
        ),
        validation=validate(predictions, networks, "leave one out"),
    )


def _prior(like: Device | None) -> tuple[UnitCosts, int | None]:
    """The prior on unit costs, wider than a neighbour's posterior; and the bytes of a number."""
    if like is None:
        return UNKNOWN, None
    if like.analytical is None:
        raise InputError(f"device {like.name!r} has no costs by kind of work to start from")
    return like.analytical.posterior.scaled({}), like.analytical.number_bytes


def sum_of_parts(sized: AnalyticalModel | None, launch_ms: float | None = None) -> LinearModel:
    """The model before any network was measured: the sum of a network's parts, and a call."""
    if sized is None:
        return LinearModel.sum_of_parts(np.array([launch_ms or 0.0, 0.0]))
    constant = np.zeros(2 + DIRECTIONS)
    constant[0], constant[1:-1] = sized.call_cost
    if launch_ms is not None:
        constant[:] = 0.0
        constant[0] = launch_ms
    return LinearModel.sum_of_parts(constant, sized.log_deviation)


def _have_names_alone(device: Device, networks: Sequence[Measurement]) -> bool:
    """Whether nothing is known of the parts but their names: neither times nor sizes, nor a graph.

    What stands on the edges of a cell runs one after another, and adds.
    """
    parts = {id(part): part for m in networks for part in m.workload.leaves}.values()
    return not (
        device.blocks or device.numeric or any(part.measurable or part.dead for part in parts)
    )
