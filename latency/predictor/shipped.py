"""Find a device: shipped by name, or from a file."""

from pathlib import Path

from latency.predictor.device import Device, read_device
from search_spaces import InputError

HOST = "host"


def shipped() -> dict[str, Path]:
    """List the devices that come with the toolkit, name to file."""
    folder = Path(__file__).parents[1] / "devices"
    return {file.stem: file for file in sorted(folder.glob("*.json"))}


def load_device(name: str) -> Device:
    """Load a device by its shipped name or from its file.

    Raises:
        InputError: nothing of that name; this machine, which is measured and not looked up.
    """
    if name == HOST:
        raise InputError(
            "device 'host' is measured, not looked up: `nas search` does so by itself; elsewhere "
            "give the device.json of a run, or of `nas profile` and `nas calibrate`"
        )
    if name in shipped():
        return read_device(shipped()[name])
    if name.endswith(".json") or Path(name).is_file():
        return read_device(Path(name))
    listed = ", ".join([HOST, *shipped()])
    raise InputError(f"unknown device {name!r}; known: {listed}; or give a device's JSON file")
