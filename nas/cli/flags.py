"""How fields are spelled on a command line: `memory_mb=` of a library's message is --memory-mb.

The libraries name the fields of their functions, as Python spells them; flags are known here alone.
"""

import re

FIELD = re.compile(r"`([a-z][a-z_0-9]*)=([^`\s]*)`")
OTHERWISE = {"latency": "latency-ms", "parameters": "params", "parts": "part"}


def in_flags(text: str) -> str:
    """A text with its fields as flags: `out=` as --out, `steps=8` as --steps 8."""
    return FIELD.sub(_flag, text)


def _flag(found: re.Match[str]) -> str:
    name, value = found.groups()
    flag = f"--{OTHERWISE.get(name, name.replace('_', '-'))}"
    return flag if value in ("", "True") else f"{flag} {value}"
