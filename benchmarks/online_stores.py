"""Servers for Feast on free ports of the loopback address: Redis and PostgreSQL as blocks of yaml, and Feast's own.

Their data folders go with them. Tests use them too.
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
from pathlib import Path

LOOPBACK = "127.0.0.1"
_START_SECONDS = 180
_ACCOUNT = "postgres"  # of Debian's package; PostgreSQL refuses to run as root

OnlineStore = Callable[[], contextlib.AbstractContextManager[str]]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def sqlite() -> Iterator[str]:
    """The default, which needs no server."""
    yield "online_store:\n  type: sqlite\n  path: ../data/online_store.db\n"


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A Redis that keeps nothing on the disk."""
    server, port = _program("redis-server"), free_port()
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            server,
            "--port",
            str(port),
            "--bind",
            LOOPBACK,
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            folder,
        ]
        with _running(arguments, lambda: is_listening(port), "redis-server"):
            yield f'online_store:\n  type: redis\n  connection_string: "{LOOPBACK}:{port}"\n'


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL cluster of its own, with a password, under an account that is not root."""
    prefix = ["runuser", "-u", _ACCOUNT, "--"] if os.geteuid() == 0 else []
    port, password = free_port(), secrets.token_hex(16)
    folder = Path(tempfile.mkdtemp(prefix="semconv-postgres-", dir="/tmp"))  # that account must be able to reach it
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
        with _running(arguments, lambda: is_listening(port), "postgres", cwd=folder):
            yield (
                f"online_store:\n  type: postgres\n  host: {LOOPBACK}\n  port: {port}\n  database: postgres\n"
                f"  user: feast\n  password: {password}\n  sslmode: disable\n"
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


ONLINE_STORES: dict[str, OnlineStore] = {"sqlite": sqlite, "redis": redis, "postgres": postgres}


@contextlib.contextmanager
def feature_server(repository: Path) -> Iterator[str]:
    """``feast serve`` on a repository, with one worker; its address."""
    port, feast = free_port(), str(Path(sys.executable).with_name("feast"))
    # 0: by default a worker is replaced after a thousand requests, which breaks connections that are open.
    options = ["--workers", "1", "--max-requests", "0", "--no-access-log"]
    arguments = [feast, "serve", "--host", LOOPBACK, "--port", str(port), *options]
    with _running(arguments, lambda: is_listening(port), "feast serve", cwd=repository):
        yield f"http://{LOOPBACK}:{port}"


def is_installed(name: str) -> bool:
    """Whether this machine has what an online store of :data:`ONLINE_STORES` needs."""
    try:
        return name == "sqlite" or bool(_program({"redis": "redis-server", "postgres": "initdb"}[name]))
    except FileNotFoundError:
        return False


def use_online_store(yaml: Path, block: str) -> None:
    """Put a block in place of ``online_store`` in a project's ``feature_store.yaml``, and touch nothing else."""
    lines, kept, is_inside = yaml.read_text().splitlines(keepends=True), [], False
    for line in lines:
        is_inside = line.startswith("online_store:") or (is_inside and line.startswith(" "))
        kept.append("" if is_inside else line)
    yaml.write_text("".join(kept) + block)


@contextlib.contextmanager
def _running(
    arguments: Sequence[str], is_ready: Callable[[], bool], what: str, cwd: Path | None = None
) -> Iterator[None]:
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(arguments, cwd=cwd, stdout=said, stderr=subprocess.STDOUT) as process,
    ):
        try:
            if not _becomes(is_ready, process):
                said.seek(0)
                raise RuntimeError(f"{what} did not start: {said.read().decode(errors='replace')[-2000:]}")
            yield
        finally:
            process.terminate()
            process.wait(_START_SECONDS)


def _becomes(is_ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
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
