"""What of power, heat and tools a machine tells at the moment that it measures; as notes of rows.

A battery, a hot room or a governor of clocks moves a latency as much as a network does. On macOS
`pmset` tells, on Linux /sys where it is there (a virtual machine has neither); what is not told is
`not known`. Nothing here names a specimen.
"""

import platform
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

NOT_KNOWN = "not known"
SYS, CPUINFO = Path("/sys"), Path("/proc/cpuinfo")
LONGEST_S = 5.0
Ask = Callable[[Sequence[str]], str]


def machine_state(tools: Sequence[str] = ("torch",)) -> dict[str, str | float]:
    """Notes on this machine as it is now: `power`, `thermal` and `tools`."""
    system = platform.system()
    if system == "Darwin":
        found = mac_state(asked)
    elif system == "Linux":
        found = linux_state(SYS)
    else:
        found = {}
    return {
        "power": found.get("power", NOT_KNOWN),
        "thermal": found.get("thermal", NOT_KNOWN),
        "tools": versions(tools),
    }


def mac_state(ask: Ask) -> dict[str, str]:
    """By `pmset -g batt` (AC Power, Battery Power) and `pmset -g therm` (the speed limit)."""
    found = {}
    source = re.search(r"drawing from '(AC|Battery|UPS) Power'", ask(["-g", "batt"]))
    if source:
        found["power"] = {"AC": "mains", "Battery": "battery"}.get(source[1], "UPS")
    heat = ask(["-g", "therm"])
    limit = re.search(r"CPU_Speed_Limit\s*=\s*(\d+)", heat)
    if limit:
        found["thermal"] = f"speed limit {limit[1]}%"
    elif "No thermal warning level has been recorded" in heat:
        found["thermal"] = "no warning"
    return found


def asked(words: Sequence[str]) -> str:
    """What pmset says; nothing where it cannot be run."""
    try:
        done = subprocess.run(  # noqa: S603 - the system's own program
            ["/usr/bin/pmset", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def linux_state(root: Path) -> dict[str, str]:
    """By the kinds of /sys/class: power_supply, thermal zones; and the governor of the clock."""
    found = {}
    supplies = sorted((root / "class" / "power_supply").glob("*"))
    kinds = {each: _read(each / "type") for each in supplies}
    online = [each for each, kind in kinds.items() if kind == "Mains" and _is_on(each)]
    states = [_read(each / "status") for each, kind in kinds.items() if kind == "Battery"]
    if online:
        found["power"] = "mains"
    elif states:
        found["power"] = "battery" if "Discharging" in states else "mains"
    zones = (root / "class" / "thermal").glob("thermal_zone*/temp")
    degrees = [int(text) / 1000 for text in map(_read, sorted(zones)) if text.isdigit()]
    said = [f"hottest {max(degrees):.0f} C"] if degrees else []
    governor = _read(root / "devices" / "system" / "cpu" / "cpu0" / "cpufreq" / "scaling_governor")
    if governor:
        said.append(f"governor {governor}")
    if said:
        found["thermal"] = ", ".join(said)
    return found


def processor(cpuinfo: Path = CPUINFO) -> str:
    """What the processor is called, as it is sold; its architecture where Linux does not tell."""
    told = re.search(r"^model name\s*:\s*(\S.*)$", _read(cpuinfo), re.MULTILINE)
    return " ".join(told[1].split()) if told else platform.processor() or platform.machine()


def versions(tools: Sequence[str]) -> str:
    """The versions of Python and of packages, as `python 3.12.1, torch 2.8.0`."""
    said = [f"python {'.'.join(map(str, sys.version_info[:3]))}"]
    for name in tools:
        try:
            said.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(said)


def _is_on(supply: Path) -> bool:
    return _read(supply / "online") == "1"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
