"""Servers for Feast on free ports of this machine: Redis and PostgreSQL as online stores, and Feast's own server.

Each server has a temporary data folder, which is removed when the server ends. Tests use this module too.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

LOOPBACK = "127.0.0.1"
_START_SECONDS = 180
_ACCOUNT = "postgres"  # of Debian's package; PostgreSQL refuses to run as root

OnlineStore = Callable[[], contextlib.AbstractContextManager[str]]  # starts a server; gives its block of yaml


def free_port() -> int:
    """Return a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    """Return whether a process accepts connections on the port."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def sqlite() -> Iterator[str]:
    """Use Feast's default, which needs no server."""
    yield "online_store:\n  type: sqlite\n  path: ../data/online_store.db\n"


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Run a Redis that keeps nothing on the disk."""
    server, port = _program("redis-server"), free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = {"port": str(port), "bind": LOOPBACK, "save": "", "appendonly": "no", "dir": folder}
        arguments = [server, *(part for name, value in options.items() for part in (f"--{name}", value))]
        with _running(arguments, lambda: is_listening(port), "redis-server"):
            yield f'online_store:\n  type: redis\n  connection_string: "{LOOPBACK}:{port}"\n'


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run a new PostgreSQL cluster with a password, under an account that is not root."""
    prefix = ["runuser", "-u", _ACCOUNT, "--"] if os.geteuid() == 0 else []
    port, password = free_port(), secrets.token_hex(16)
    folder = Path(tempfile.mkdtemp(prefix="semconv-postgres-", dir="/tmp"))  # the account must be able to reach it
    try:
        secret, data = folder / "password", folder / "data"
        secret.write_text(password)
        if prefix:
            for path in (folder, secret):
                shutil.chown(path, _ACCOUNT)
        init = [_program("initdb"), "-D", str(data), "--auth=scram-sha-256", f"--pwfile={secret}", "-U", "feast"]
        subprocess.run([*prefix, *init, "--no-sync"], check=True, capture_output=True, cwd=folder)
        settings = {"port": port, "listen_addresses": LOOPBACK, "unix_socket_directories": "", "fsync": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        arguments = [*prefix, _program("postgres"), "-D", str(data), *options]
        with _running(arguments, lambda: _is_answering(port, password), "postgres", cwd=folder):
            yield (
                f"online_store:\n  type: postgres\n  host: {LOOPBACK}\n  port: {port}\n  database: postgres\n"
                f"  user: feast\n  password: {password}\n  sslmode: disable\n"
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_answering(port: int, password: str) -> bool:
    """Return whether PostgreSQL accepts a connection; it listens already while it starts."""
    import psycopg

    url = f"postgresql://feast:{password}@{LOOPBACK}:{port}/postgres?connect_timeout=1"
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
        return True
    return False


ONLINE_STORES: dict[str, OnlineStore] = {"sqlite": sqlite, "redis": redis, "postgres": postgres}


@contextlib.contextmanager
def feature_server(repository: Path) -> Iterator[str]:
    """Run ``feast serve`` with one worker on a feature repository, and yield its address."""
    port, feast = free_port(), str(Path(sys.executable).with_name("feast"))
    # By default a worker is replaced after a thousand requests, which breaks open connections; 0 prevents that.
    options = ["--workers", "1", "--max-requests", "0", "--no-access-log"]
    arguments = [feast, "serve", "--host", LOOPBACK, "--port", str(port), *options]
    with _running(arguments, lambda: is_listening(port), "feast serve", cwd=repository):
        yield f"http://{LOOPBACK}:{port}"


def is_installed(name: str) -> bool:
    """Return whether the server and the Python client of one of the :data:`ONLINE_STORES` are installed."""
    if name == "sqlite":
        return True
    server, client = {"redis": ("redis-server", "redis"), "postgres": ("initdb", "psycopg")}[name]
    with contextlib.suppress(FileNotFoundError):
        return bool(_program(server)) and find_spec(client) is not None
    return False


def use_online_store(yaml: Path, block: str) -> None:
    """Replace the block ``online_store`` in a project's ``feature_store.yaml``, and change nothing else."""
    lines, kept, is_inside = yaml.read_text().splitlines(keepends=True), [], False
    for line in lines:
        is_inside = line.startswith("online_store:") or (is_inside and line.startswith(" "))
        kept.append("" if is_inside else line)
    yaml.write_text("".join(kept) + block)


@contextlib.contextmanager
def _running(
    arguments: Sequence[str], is_ready: Callable[[], bool], what: str, cwd: Path | None = None
) -> Iterator[None]:
    """Run a program, wait until it is ready, and end it after the ``with``."""
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(arguments, cwd=cwd, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        try:
            if not _becomes_ready(is_ready, process):
                output.seek(0)
                raise RuntimeError(f"{what} did not start: {output.read().decode(errors='replace')[-2000:]}")
            yield
        finally:
            process.terminate()
            process.wait(_START_SECONDS)


def _becomes_ready(is_ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _program(name: str) -> str:
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )
    if found is None:
        raise FileNotFoundError(f"{name} is not installed; `make test-services` installs it")
    return found
