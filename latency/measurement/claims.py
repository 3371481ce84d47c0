"""Claims of a device file: what it says of its errors must be what its own errors say.

A file holds the networks that its validation is of, each with what was predicted without it: its
measurements, left out one by one, or those under `judged`, which were held out. Files of before
there was `judged` lack the latter; they are believed where something was measured at all.
"""

import math

import numpy as np

from latency.measurement.validation import Seen, Validation
from search_spaces import InputError
from search_spaces.files.document import Json

OF_MEASUREMENTS = "leave"  # how a validation is called whose networks are the measurements
SHARE, PCT = 0.005, 0.05  # that a claimed share, and a claimed mean error, may be off: rounding
MEND = "calibrate it on what was measured, or take its validation out"


def seen_of(found: Json, name: str, where: str) -> tuple[Seen, ...]:
    """The networks that a file holds as `measurements`, or as `judged`."""
    return tuple(Seen.from_json(entry, f"{where}, {name}") for entry in found.get(name) or ())


def validation_of(found: Json, where: str, *, measured: bool) -> Validation | None:
    """What a file says of its errors, checked by the errors that it holds; None where nothing.

    Args:
        found: the document.
        where: its file.
        measured: whether anything was measured at all, blocks included.

    Raises:
        InputError: there are no errors, or of fewer networks, or others than are claimed.
    """
    if not found.get("validation"):
        return None
    validation = Validation.from_json(found["validation"], f"{where}, validation")
    claimed = (
        f"{where}, validation: claims that the bounds hold {validation.within_bounds_share:.0%} "
        f"of {validation.networks} networks ({validation.how})"
    )
    if "judged" not in found and not validation.how.startswith(OF_MEASUREMENTS):
        if not measured:
            raise InputError(f"{claimed}, and holds nothing that was measured; {MEND}")
        return validation
    seen = seen_of(found, "judged", where) or seen_of(found, "measurements", where)
    errors = [(each.latency_ms, each.left_out) for each in seen if each.left_out is not None]
    if len(errors) != validation.networks:
        raise InputError(f"{claimed}, and holds the errors of {len(errors)}; {MEND}")
    held = sum(p.low_ms <= latency_ms <= p.high_ms for latency_ms, p in errors) / len(errors)
    if abs(held - validation.within_bounds_share) > SHARE:
        raise InputError(f"{claimed}, and its own errors say {held:.0%}; {MEND}")
    measured_ms, predicted_ms = np.array([(ms, p.latency_ms) for ms, p in errors]).T
    with np.errstate(all="ignore"):  # what overflows is no error that is claimed
        mape_pct = float(np.mean(np.abs(predicted_ms / measured_ms - 1)) * 100)
    if not math.isclose(mape_pct, validation.mape_pct, rel_tol=0.01, abs_tol=PCT):
        raise InputError(
            f"{where}, validation: claims a mean error of {validation.mape_pct:.3g}%, and its own "
            f"errors say {mape_pct:.3g}%; {MEND}"
        )
    return validation
