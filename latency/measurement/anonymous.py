"""What must not stand in a contribution: text that may name a specimen of a device, or its owner.

Serial numbers and identifiers, addresses, paths, and the names of a machine and of its user.
"""

import getpass
import os
import platform
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from search_spaces import InputError

# UUIDs, and the identifiers of Apple's devices (40 hexadecimal digits; 8, a dash, 16).
IDENTIFIER = re.compile(
    r"\b(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{40}|[0-9a-f]{8}-[0-9a-f]{16})\b",
    re.IGNORECASE,
)
# What is looked for, the most telling first.
KINDS = {
    "an identifier of a device": IDENTIFIER,
    "a network's address": re.compile(
        r"\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b|\b\d{1,3}(?:\.\d{1,3}){3}\b", re.IGNORECASE
    ),
    "a mail address": re.compile(r"\S@\S+\.\w"),
    "a path": re.compile(
        r"(?:^|[^\w.])~?/[\w.-]+/|\b[a-z]:\\|\\\\\w|\bfile:|(?:^|[\s=,;:])(?:~|\.\.?)/",
        re.IGNORECASE,
    ),
    "an owner": re.compile(r"\w['\u2019]s\b"),
    "a serial number": re.compile(
        r"\b(?=[A-Z0-9]*[0-9])(?=[A-Z0-9]*[A-Z])[A-Z0-9]{10,}\b"
        r"|\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{12,}\b"
        r"|\b[0-9]{12,}\b"
        r"|(?i:\bserial(?:[ _-]?n|:)|\bimei\b|\budid\b|\bs/n\b)"
    ),
}
# Users and machines that are called so by the thousand, and words that facts are made of.
COMMON = frozenset(
    {"", "admin", "android", "arm", "build", "cpu", "debian", "device", "gpu", "host", "iphone"}
    | {"linux", "localhost", "mac", "macbook", "none", "phone", "root", "runner", "test", "torch"}
    | {"ubuntu", "user", "windows", "work"}
)
LONG = 5  # letters of a name that is found inside other words, too


def own_names() -> frozenset[str]:
    """What this machine, its user and the user's home are called; without what is common."""
    machine = platform.node()
    found = {machine, machine.partition(".")[0]}
    with suppress(KeyError, OSError, RuntimeError):  # a user without an entry, as in containers
        found |= {Path.home().name, getpass.getuser()}
        if hasattr(os, "getuid"):
            import pwd

            found.add(pwd.getpwuid(os.getuid()).pw_gecos.partition(",")[0])
    return frozenset(name.lower() for name in found if len(name) > 1) - COMMON


def named_in(text: str, own: Iterable[str] = ()) -> str | None:
    """What a text may name, in words: `a path`; None where it names nobody.

    Args:
        text: a name or a cell.
        own: names besides, in lower case.
    """
    for kind, pattern in KINDS.items():
        if pattern.search(text):
            return kind
    lower = text.lower()
    words = set(re.split(r"[^\w]+|_", lower))
    for name in own:
        if name in words or (len(name) >= LONG and name in lower):
            return "this machine, or its user"
    return None


def check_names_nobody(text: str, where: str, own: Iterable[str] = ()) -> str:
    """The text itself, once it is known to name nobody.

    Raises:
        InputError: it may name a specimen or its owner; what was found is not repeated.
    """
    kind = named_in(text, own)
    if kind is not None:
        raise InputError(
            f"{where}: may name one specimen or its owner ({kind}); say what is sold, and nothing "
            "that tells one from another"
        )
    return text
