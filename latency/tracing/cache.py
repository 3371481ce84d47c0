"""Traced workloads kept on disk by content, so that a large network is traced once.

A workload is found again by what it depends on: the module's classes, settings and shapes of
parameters, the loaded code that they reach, the versions of the installed packages, the inputs'
shapes and types. No value of a weight is in it. What cannot be described so is traced each time,
and a cache that cannot be read or written changes no result.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from latency.tracing.code_digest import Code, reachable
from latency.tracing.fingerprint import Indescribable, fingerprint
from latency.tracing.tracing import trace
from latency.workload.workload import Workload
from search_spaces import InputError
from search_spaces.files.document import check, dumps, write_atomically

FORMAT = "temporal-nas/traced"
VERSION = "1.0"
MOST_ENTRIES = 2048  # the oldest go first; an entry of a large network takes about 100 kB


def traced(
    module: nn.Module, inputs: Sequence[Tensor], name: str = "network", folder: Path | None = None
) -> Workload:
    """`latency.trace`, or what it gave before for the same content.

    Args:
        module: as for `trace`.
        inputs: as for `trace`.
        name: what reports call the workload; another name is no other content.
        folder: where workloads are kept; the user's cache without it.

    Raises:
        InputError: as `trace` does; a failure is not kept.
    """
    return Tracer(folder)(module, inputs, name)


class Tracer:
    """`traced`, for many modules: the code that they share is looked through once.

    To be let go when the modules are traced; code that changes meanwhile is not seen.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._codes: dict[frozenset[str], Code] = {}

    def __call__(
        self, module: nn.Module, inputs: Sequence[Tensor], name: str = "network"
    ) -> Workload:
        """See `traced`."""
        try:
            known = fingerprint(module, inputs, self._codes)
        except (Indescribable, RecursionError):
            return trace(module, *inputs, name=name)
        file = (self._folder or default_folder()) / f"{known.key}.json"
        found = _read(file)
        if found is not None:
            return replace(found, name=name)
        workload = trace(module, *inputs, name=name)
        # A network that loads code while it runs depends on more than was looked at before.
        code = reachable(known.owners)
        if code.modules == known.code.modules:
            _write(file, workload)
        self._codes[known.owners] = code
        return workload


def default_folder() -> Path:
    """TEMPORAL_NAS_CACHE, or `temporal-nas` in the user's cache folder, and `workloads` therein."""
    ours = os.environ.get("TEMPORAL_NAS_CACHE")
    if ours:
        return Path(ours) / "workloads"
    theirs = Path(os.environ.get("XDG_CACHE_HOME") or ".")
    cache = theirs if theirs.is_absolute() else Path("~/.cache").expanduser()
    return cache / "temporal-nas" / "workloads"


def _read(file: Path) -> Workload | None:
    """A workload that was written whole; None of anything else."""
    try:
        entry = check(json.loads(file.read_bytes()), FORMAT, 1, str(file))
        if entry["sha256"] == _digest(entry["workload"]):
            return Workload.from_json(entry["workload"], str(file))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, InputError):
        pass  # not there, cut short, of another version: it is traced again and written anew
    return None


def _write(file: Path, workload: Workload) -> None:
    content = workload.to_json()
    entry = {"format": FORMAT, "version": VERSION, "sha256": _digest(content), "workload": content}
    with suppress(OSError):  # a full disk or a folder of someone else's: go on without
        write_atomically(file, dumps(entry))
        entries = sorted(file.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for old in entries[:-MOST_ENTRIES]:
            old.unlink(missing_ok=True)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
