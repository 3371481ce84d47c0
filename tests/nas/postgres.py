"""A PostgreSQL server of one's own, for as long as a test takes."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

# What a killed driver wrote is with the server; that a server survives a power failure is its own.
SETTINGS = "fsync=off\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\n"


@dataclass(frozen=True)
class Server:
    """A server, its data in a folder."""

    programs: Path
    data: Path
    port: int
    user: str | None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://nas:hush@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-w", "-l", f"{self.data}/log", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments], user=self.user, cwd="/",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{program} ended with {done.returncode}"


def programs() -> Path | None:
    """Where initdb is: Debian keeps it off the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


@contextmanager
def server() -> Iterator[Server]:
    """A server that runs; skips the test where PostgreSQL or its driver is not installed."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    where = programs()
    if where is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    user = None
    if os.getuid() == 0:  # it refuses to run as root
        names = [entry.pw_name for entry in pwd.getpwall()]
        user = next((name for name in ("postgres", "nobody") if name in names), None)
        if user is None:
            pytest.skip("PostgreSQL does not run as root, and there is no other user")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="nas-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    started = Server(where, folder / "data", port, user)
    try:
        started._run("initdb", "-D", str(started.data), "-U", "nas", "-A", "trust", "--no-sync")
        with (started.data / "postgresql.conf").open("a") as settings:
            settings.write(f"{SETTINGS}port={port}\n")
        started.start()
        try:
            yield started
        finally:
            if (started.data / "postmaster.pid").exists():
                started.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
