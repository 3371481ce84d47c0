"""What a machine tells of its power and heat, from what macOS and Linux say."""

import platform
from collections.abc import Sequence
from pathlib import Path

import pytest

from latency.measurement.anonymous import named_in
from latency.sources.contract import state_of
from latency.sources.machine_state import (
    NOT_KNOWN,
    asked,
    linux_state,
    mac_state,
    machine_state,
    processor,
    versions,
)
from latency.sources.torch_host import TorchSource

ON_BATTERY = """Now drawing from 'Battery Power'
 -InternalBattery-0 (id=21364835)\t83%; discharging; 5:31 remaining present: true
"""
ON_MAINS = "Now drawing from 'AC Power'\n"
COOL = """Note: No thermal warning level has been recorded
Note: No performance warning level has been recorded
Note: No CPU power status has been recorded
"""
HOT = """2026-05-01 10:00:00 +0200 CPU Power notify
\tCPU_Scheduler_Limit \t= 100
\tCPU_Available_CPUs \t= 8
\tCPU_Speed_Limit \t= 71
"""


@pytest.mark.parametrize(
    ("battery", "heat", "told"),
    [
        (ON_BATTERY, COOL, {"power": "battery", "thermal": "no warning"}),
        (ON_MAINS, HOT, {"power": "mains", "thermal": "speed limit 71%"}),
        ("", "", {}),
    ],
)
def test_of_macos(battery: str, heat: str, told: dict[str, str]) -> None:
    def ask(words: Sequence[str]) -> str:
        return battery if "batt" in words else heat

    assert mac_state(ask) == told


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")


def test_of_linux(tmp_path: Path) -> None:
    assert linux_state(tmp_path) == {}
    battery = {"class/power_supply/BAT0/type": "Battery"}
    write(tmp_path, {**battery, "class/power_supply/BAT0/status": "Discharging"})
    assert linux_state(tmp_path) == {"power": "battery"}
    write(tmp_path, {"class/power_supply/BAT0/status": "Full"})
    assert linux_state(tmp_path) == {"power": "mains"}
    write(tmp_path, {"class/power_supply/AC/type": "Mains", "class/power_supply/AC/online": "1"})
    zones = {
        "class/thermal/thermal_zone0/temp": "41000",
        "class/thermal/thermal_zone1/temp": "54321",
    }
    write(tmp_path, {**zones, "class/thermal/thermal_zone2/temp": "broken"})
    write(tmp_path, {"devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave"})
    told = {"power": "mains", "thermal": "hottest 54 C, governor powersave"}
    assert linux_state(tmp_path) == told


def test_of_this_machine() -> None:
    found = machine_state()
    assert set(found) == {"power", "thermal", "tools"}
    assert found == {**found, **state_of(TorchSource())}
    assert not [text for text in found.values() if named_in(str(text))]
    if platform.system() != "Darwin":
        assert asked(["-g", "batt"]) == "", "it has no pmset"
    if not Path("/sys/class/thermal").is_dir():
        assert found["thermal"] == NOT_KNOWN


def test_tools_that_are_not_installed_are_left_out() -> None:
    assert versions(["no-such-package"]) == f"python {platform.python_version()}"


def test_a_processor_is_called_as_it_is_sold(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nmodel name\t: AMD  Ryzen 9\nmodel name\t: other\n")
    assert processor(told) == "AMD Ryzen 9"
    told.write_text("processor\t: 0\nBogoMIPS\t: 48.00\n")
    assert processor(told) == processor(tmp_path / "nothing") != ""
