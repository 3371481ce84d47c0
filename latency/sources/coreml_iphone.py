"""Measures torch modules as Core ML models on a connected iPhone, through coremltools.

coremltools builds a small app with Xcode, signs it, installs it and talks to it by file transfer:
calls lie far apart, so the phone's clock falls between them (the note `spacing_ms` says how far).
An Xcode performance report calls back to back; `nas import` reads one.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latency.sources import apple
from latency.sources.compute_plan import spelled
from latency.sources.contract import Protocol
from latency.sources.coreml_mac import WARM_UP_S, CoreMLMac
from latency.sources.machine_state import NOT_KNOWN
from latency.sources.placement import Placement
from search_spaces import InputError


class CoreMLiPhone(CoreMLMac):
    """Core ML on the one iPhone that is connected to this Mac."""

    name = "Core ML, remote"
    protocol = Protocol(rounds=2, runs_per_visit=30, warmup_s=0)

    def __init__(
        self,
        compute_units: str = "all",
        team: str = "",
        parts: apple.Toolkit | None = None,
        warmup_s: float = WARM_UP_S,
        run: Callable[..., Any] = subprocess.run,
    ) -> None:
        """Find the phone and start the app on it; `team` is the Apple team that signs it.

        Raises:
            InputError: no Mac, no phone or several, or the app could not be built or started.
        """
        parts = parts or apple.toolkit("measuring on an iPhone")
        super().__init__(compute_units, parts, warmup_s)
        found = _only_phone(parts)
        self._facts = {
            **_hardware(found.identifier, run),
            "os": f"iOS {found.os_version}",
            "compute_unit": compute_units,
            "precision": "float16",
        }
        credentials = parts.Credentials(development_team=team)
        try:
            self._phone = self.loop.wait(found.prepare_for_model_debugging(credentials))
        except Exception as error:  # Xcode, the signing, the cable: all end here
            raise InputError(
                f"the iPhone could not be prepared ({apple.reason(error)}): unlock it, turn its "
                "Developer Mode on, install Xcode, and give `signing_team=`"
            ) from error

    def facts(self) -> dict[str, str]:
        """The phone's model and system; not its name, which its owner gave it."""
        return dict(self._facts)

    def state(self) -> dict[str, str | float]:
        """The tools; the phone tells neither its power nor its heat."""
        return super().state() | {"power": NOT_KNOWN, "thermal": NOT_KNOWN}

    def benchmarker(self, model: Any) -> Any:
        """What times a model on the phone."""
        return self.parts.Benchmarker(model, device=self._phone)

    def placement(self, package: Path, benchmarker: Any) -> Placement:
        """Where a model runs, by its compute plan on the phone: times there are plan weights."""
        operations = self.loop.wait(benchmarker.benchmark_operation_execution(iterations=1))
        costs = [
            (spelled(o.compute_device_usage.preferred_compute_device), o.measurement.samples[0])
            for o in operations
            if o.compute_device_usage is not None and o.measurement.samples
        ]
        return Placement.of(costs, [o.spec.type for o in operations])


def _only_phone(parts: apple.Toolkit) -> Any:
    try:
        phones = parts.Device.get_connected_devices(parts.DeviceType.IPHONE)
    except Exception as error:  # Xcode's tools are missing, or broken
        raise InputError(
            f"cannot look for iPhones ({apple.reason(error)}): install Xcode and open it once"
        ) from error
    if len(phones) != 1:
        raise InputError(
            f"{len(phones)} iPhones are connected, and one is needed: plug it in, unlock it, trust "
            "this Mac, and turn Developer Mode on"
        )
    return phones[0]


def _hardware(identifier: str, run: Callable[..., Any]) -> dict[str, str]:
    """The phone's model, as Xcode's devicectl knows it; `iPhone` where it does not say."""
    facts = {"device": "iPhone"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "devices.json"
        command = ["xcrun", "devicectl", "list", "devices", "--json-output", str(file)]
        try:
            run(command, capture_output=True, check=False)
            listed = json.loads(file.read_text(encoding="utf-8"))["result"]["devices"]
            (phone,) = (entry for entry in listed if entry.get("identifier") == identifier)
            hardware = phone["hardwareProperties"]
            facts["device"] = str(hardware["marketingName"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return facts
    return facts
