"""Devices that a search names: of times, or of energies."""

from latency import Device
from latency.predictor.shipped import load_device
from search_spaces import InputError


def measured_in(unit: str, name: str) -> Device:
    """A device that predicts times, or energies.

    Raises:
        InputError: nothing of that name, or a device of the other kind.
    """
    device = load_device(name)
    if device.unit != unit:
        wanted, field = ("an energy (_mj)", "device") if unit == "mJ" else ("a time", "energy")
        raise InputError(
            f"{name}: was calibrated on {device.facts.get('column', 'latency_ms')}, not on "
            f"{wanted}; it is one for `{field}=`"
        )
    return device
