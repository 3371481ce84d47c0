"""Ray clusters: one is started on this machine, or joined where an address says."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Timer
from typing import Any

from search_spaces import InputError

ANSWER_S = 60  # for a cluster to answer
PROBE = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False, logging_level='CRITICAL')"
REFUSED = "InvalidAuthToken"  # what Ray says again and again where a cluster wants another token
UNFOUND = "no authentication token was found"


def check_address(address: str) -> None:
    """Refuse an address where no cluster lets this user in within `ANSWER_S` seconds.

    Ray itself would try for two minutes and then end the process, so another process tries first.

    Raises:
        InputError: says what became of the try.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdigit():
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
        code, said = _tried(address)
    except (OSError, OverflowError) as error:
        raise InputError(f"ray {address}: no cluster there: {error}") from None
    if code == 0:
        return
    if REFUSED in said or UNFOUND in said:
        raise InputError(f"ray {address}: {_token_mend(said)}")
    if code is None:
        raise InputError(
            f"ray {address}: something is there, but no cluster answers within {ANSWER_S} s"
        )
    lines = said.strip().splitlines() or [f"exit code {code}"]
    raise InputError(f"ray {address}: {lines[-1]}")


def _tried(address: str) -> tuple[int | None, str]:
    """What came of joining a cluster: the exit code, None where it took too long; and the words."""
    process = subprocess.Popen(  # noqa: S603  # this Python
        [sys.executable, "-c", PROBE, address],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    late = Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer, lines = Timer(ANSWER_S, stop), list[str]()
    timer.start()
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if REFUSED in line:  # it would be so for as long as Ray tries
                process.kill()
                break
        code = process.wait()
    timer.cancel()
    return None if late.is_set() else code, "".join(lines)


def _token_mend(said: str) -> str:
    """What to do where a cluster authenticates by tokens, as `ray start` sets it up."""
    token = "`ray get-auth-token` prints it on the head node"  # noqa: S105  # no password
    if UNFOUND in said:
        return f"RAY_AUTH_MODE is token, and there is none; set RAY_AUTH_TOKEN ({token})"
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token":
        return f"the cluster refuses this user's token; set RAY_AUTH_TOKEN to its own ({token})"
    return (
        "the cluster wants a token; set RAY_AUTH_MODE=token, and, unless ~/.ray/auth_token is the "
        f"cluster's, RAY_AUTH_TOKEN ({token})"
    )


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

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        paths = {"env_vars": {"PYTHONPATH": _own_code()}}
        try:
            ray.init(address, runtime_env=paths, **quiet)
        except (ConnectionError, ValueError) as error:
            raise InputError(f"ray {address}: {error}") from None
    else:  # its workers begin at once with our environment, and a second later with one of Ray's
        with _environment(PYTHONPATH=_own_code()):
            try:
                ray.init("local", num_cpus=cpus, include_dashboard=False, **quiet)
            except Exception as error:  # of no other kind, where a service ended
                raise InputError(
                    f"Ray did not start on this machine: {' '.join(str(error).split())[:200]} (a "
                    "file here that is called like a module of Python's, as queue.py, keeps it "
                    "from starting; with one worker it is not needed)"
                ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Variables for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _own_code() -> str:
    """Where a user's own parts are found, by the workers as by the command: not Python's own."""
    installed = {str(Path(prefix).resolve()) for prefix in (sys.prefix, sys.base_prefix)}
    paths = [Path.cwd(), *(Path(entry or ".").resolve() for entry in sys.path)]
    own = [str(p) for p in paths if not any(p.is_relative_to(prefix) for prefix in installed)]
    return os.pathsep.join(dict.fromkeys(own))
