"""How far to trust a device's predictions, in words."""

from latency import Device

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
    ranks = f", Spearman {found.spearman:.3f}" if found.networks >= RANKED else ""
    return (
        f"{found.networks} networks, {found.how}: MAPE {found.mape_pct:.1f}%{usual}{ranks}, "
        f"{found.within_bounds_share:.0%} inside the 90% bounds"
    )


def status(device: Device) -> str:
    """What its costs come from."""
    return str(device.facts.get("status") or f"{device.model.networks} networks measured")
