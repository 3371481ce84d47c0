"""Find a device: shipped by name, or from a file."""

from pathlib import Path

from latency.predictor.contribution import DEVICE
from latency.predictor.device import Device, read_device
from search_spaces import InputError

HOST = "host"
FOLDER, CONTRIBUTED = Path(__file__).parents[1] / "devices", "contributed"


def shipped() -> dict[str, Path]:
    """List the devices that come with the toolkit, name to file; contributed ones last."""
    own = {file.stem: file for file in sorted(FOLDER.glob("*.json"))}
    others = sorted((FOLDER / CONTRIBUTED).glob(f"*/{DEVICE}"))
    return own | {file.parent.name: file for file in others if file.parent.name not in own}


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
