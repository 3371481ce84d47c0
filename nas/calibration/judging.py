"""Validation of a fit: each network beside what a fit predicted that had not seen it."""

from collections.abc import Callable, Sequence

import numpy as np

from latency import Device, Measurement
from nas.calibration.residuals import Judged

FOLDS = 5

Fit = Callable[[Sequence[Measurement]], Device]


def held_out(device: Device, unseen: Sequence[Measurement]) -> tuple[Device, list[Judged]]:
    """Networks that were kept back, judged by the device."""
    predicted = device.predict_all([m.workload for m in unseen])
    judged = [Judged(m, p) for m, p in zip(unseen, predicted, strict=True)]
    return device.judged_by(predicted, unseen, "held out"), judged


def left_out(
    device: Device, networks: Sequence[Measurement], fit: Fit, seed: int
) -> tuple[Device, list[Judged]]:
    """Networks that a device was fitted to, each judged by a fit to others.

    To all others, where the device knows networks by names; in folds by `fit`, where it knows them
    by what they run.
    """
    if networks and not device.measurements and len(networks) >= 2 * FOLDS:
        return _in_folds(device, networks, fit, seed)
    judged = [
        Judged(measurement, seen.left_out)
        for measurement, seen in zip(networks, device.measurements, strict=False)
        if seen.left_out is not None
    ]
    return device, judged


def _in_folds(
    device: Device, networks: Sequence[Measurement], fit: Fit, seed: int
) -> tuple[Device, list[Judged]]:
    order = np.random.default_rng(seed).permutation(len(networks))
    judged = []
    for fold in np.array_split(order, FOLDS):
        out = set(fold.tolist())
        fitted = fit([m for index, m in enumerate(networks) if index not in out])
        judged += [Judged(networks[i], fitted.predict(networks[i].workload)) for i in sorted(out)]
    predicted = [each.prediction for each in judged]
    measured = [each.measurement for each in judged]
    return device.judged_by(predicted, measured, f"{FOLDS} folds"), judged
