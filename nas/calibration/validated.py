"""How far to trust a device's predictions, in words."""

from latency import Device

ROUGH_PCT = 12.0  # errors that a search inside a budget suffers from
RANKED = 5  # with fewer networks a rank correlation says nothing


def trust(device: Device) -> str:
    """How predictions came out for networks that the fit had not seen."""
    found = device.validation
    if found is None:
        return "not validated"
    usual = ""
    if found.median_error_pct is not None and found.within_10pct_share is not None:
        usual = (
            f" (median {found.median_error_pct:.1f}%, {found.within_10pct_share:.0%} within 10%)"
        )
    factor = "" if found.typical_factor is None else f", typical factor {found.typical_factor:.2f}"
    ranks = f", Spearman {found.spearman:.3f}" if found.networks >= RANKED else ""
    return (
        f"{found.networks} networks, {found.how}: MAPE {found.mape_pct:.1f}%{usual}{factor}"
        f"{ranks}, {found.within_bounds_share:.0%} inside the 90% bounds"
    )


def status(device: Device) -> str:
    """What its costs come from."""
    if said := device.facts.get("status"):
        return str(said)
    if not device.model.networks and device.blocks:
        return f"{len(device.blocks)} blocks or networks measured"
    multiply = ", options multiply" if device.model.link == "log" else ""
    return f"{device.model.networks} networks measured{multiply}"


def drifting(device: Device) -> str | None:
    """How far the machine may be from what was measured, an hour later; None where nobody knows."""
    drift = device.drift
    if drift is None:
        return None
    return (
        f"x{drift.factor:.2f} of an hour later is in the bounds, from {drift.rounds} rounds of "
        f"measuring within {drift.span_s / 60:.0f} minutes"
    )


def doubts(device: Device) -> list[str]:
    """What a person should do about predictions of networks by the names of their options."""
    found = device.validation
    if not device.choices or found is None or found.mape_pct < ROUGH_PCT:
        return []
    summed = "options are added up, and what one takes may depend on another (width times depth)"
    multiplied = "neither adding nor multiplying what options take describes these networks well"
    said = (
        f"{device.name} is off by {found.mape_pct:.0f}% on average for networks that it has not "
        f"seen: {multiplied if device.model.link == 'log' else summed}; "
        "measure more, or give what builds the networks, `build=` and `shape=`"
    )
    return [said]
