"""A connection to Ray: started on this machine, or joined where an address says."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search_spaces import InputError

ANSWER_S = 20  # for a cluster to answer
PROBE = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False, logging_level='CRITICAL')"


def check_address(address: str) -> None:
    """Refuse an address where no cluster answers within `ANSWER_S` seconds.

    Ray itself would try for two minutes and then end the process, so another process tries first.

    Raises:
        InputError: says what became of the try.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdigit():
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
        done = subprocess.run(  # noqa: S603  # this Python
            [sys.executable, "-c", PROBE, address],
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=False,
        )
    except (OSError, OverflowError) as error:
        raise InputError(f"ray {address}: no cluster there: {error}") from None
    except subprocess.TimeoutExpired:
        raise InputError(
            f"ray {address}: something is there, but no cluster answers within {ANSWER_S} s"
        ) from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise InputError(f"ray {address}: {lines[-1]}")


@contextmanager
def connected(address: str | None, cpus: int) -> Iterator[Any]:
    """A connection to Ray, started here with so many CPUs where there is no address.

    Raises:
        InputError: no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would let all else go first (15): on a machine that does anything else, for hours.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    here: dict[str, Any] = {} if address else {"num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(
            address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"PYTHONPATH": _own_code()}},
            **here,
        )
    except (ConnectionError, ValueError) as error:
        raise InputError(f"ray {address}: {error}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _own_code() -> str:
    """Where a user's own parts are found, by the workers as by the command: not Python's own."""
    installed = {str(Path(prefix).resolve()) for prefix in (sys.prefix, sys.base_prefix)}
    paths = [Path.cwd(), *(Path(entry or ".").resolve() for entry in sys.path)]
    own = [str(p) for p in paths if not any(p.is_relative_to(prefix) for prefix in installed)]
    return os.pathsep.join(dict.fromkeys(own))
