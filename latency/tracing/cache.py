"""Traced workloads memoized on disk, so that the blocks of a space are traced once.

Whoever asks says what a network depends on: a key, and the packages whose code makes it. All of
that code is in the digest, so nothing has to be found out about the module itself; one that is
made of anything else is traced each time. A cache that cannot be read or written changes no
result.
"""

import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import platformdirs
import torch
from torch import Tensor, nn

from latency.tracing.tracing import trace
from latency.workload.workload import Workload
from search_spaces import InputError
from search_spaces.files.document import check, dumps, write_atomically

FORMAT = "temporal-nas/traced"
VERSION = "2.0"
MOST_ENTRIES = 2048  # the oldest go first; an entry of a large network takes about 100 kB
STARTED = time.time()  # code that was changed since is not the code that runs


def traced(
    module: nn.Module,
    inputs: Sequence[Tensor],
    name: str = "network",
    folder: Path | None = None,
    *,
    key: str | None = None,
    packages: Sequence[str] = (),
) -> Workload:
    """`latency.trace`, or what it gave before for the same key and code.

    Args:
        module: as for `trace`.
        inputs: as for `trace`.
        name: what reports call the workload; another name is no other content.
        folder: where workloads are kept; the user's cache without it.
        key: tells the module from all others of the same classes; None: it is traced each time.
        packages: the packages that hold the classes of the module's parts and all that they call,
            torch aside.

    Raises:
        InputError: as `trace` does; a failure is not kept.
    """
    kept = folder or default_folder()
    code = _code(("latency", "search_spaces", *packages))
    if key is None or kept is None or code is None or not _made_of(module, packages):
        return trace(module, *inputs, name=name)
    shapes = [f"{tuple(x.shape)} {x.dtype}" for x in (*inputs, *module.state_dict().values())]
    file = kept / f"{_digest([key, code, str(torch.get_default_dtype()), shapes])}.json"
    found = _read(file)
    if found is None:
        found = trace(module, *inputs, name=name)
        _write(file, found)
    return replace(found, name=name)


def default_folder() -> Path | None:
    """TEMPORAL_NAS_CACHE, or the user's cache folder, and `workloads` therein; None without one."""
    ours = os.environ.get("TEMPORAL_NAS_CACHE")
    cache = Path(ours) if ours else platformdirs.user_cache_path("temporal-nas")
    return cache / "workloads" if ours or cache.is_absolute() else None


def _made_of(module: nn.Module, packages: Sequence[str]) -> bool:
    """Whether every part is of a class of torch or of these packages."""
    tops = {type(part).__module__.partition(".")[0] for part in module.modules()}
    return tops <= {"torch", *packages}


@functools.cache
def _code(packages: tuple[str, ...]) -> str | None:
    """A digest of all sources of packages, and the versions of what runs them.

    None where sources are not at hand (an archive), or were changed since this process began.
    """
    texts, now = [torch.__version__, platform.python_version()], time.time()
    for package in packages:
        spec = find_spec(package)
        folders = [Path(each) for each in (spec and spec.submodule_search_locations) or ()]
        files = sorted(file for folder in folders for file in folder.rglob("*.py"))
        if not files or any(STARTED < file.stat().st_mtime <= now for file in files):
            return None
        texts += [f"{file} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files]
    return _digest(texts)


def _read(file: Path) -> Workload | None:
    """A workload that was written whole; None of anything else."""
    try:
        entry = check(json.loads(file.read_bytes()), FORMAT, 2, str(file))
        if entry["sha256"] == _digest(entry["workload"]):
            return Workload.from_json(entry["workload"], str(file))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, InputError):
        pass  # not there, cut short, of another version: it is traced again and written anew
    return None


def _write(file: Path, workload: Workload) -> None:
    content = workload.to_json()
    entry = {"format": FORMAT, "version": VERSION, "sha256": _digest(content), "workload": content}
    with suppress(OSError, InputError):  # a full disk, a folder of someone else's: go on without
        write_atomically(file, dumps(entry))
        entries = sorted(file.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for old in entries[:-MOST_ENTRIES]:
            old.unlink(missing_ok=True)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
