"""Connect a job to Ray: to a running cluster, or to one that is started for the job.

If ``RAY_ADDRESS`` is set, the job joins that cluster. Otherwise Ray is started on this machine. It then listens only on
the loopback address, and all its processes end with the job. Usage statistics are never sent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semconv.errors import MachineError

_ANSWER_SECONDS = 10
_STARTS = 4  # attempts: Ray gives up a slow start, and not all of its time limits are settings
_START_SECONDS = 300  # for the time limits that are settings
_END_SECONDS = 30
# Environment variables that Ray reads when it is imported, or in the processes that it starts.
_SILENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
_PATIENT = {
    "RAY_gcs_server_port_wait_time_s": _START_SECONDS,
    "RAY_gcs_server_request_timeout_seconds": _START_SECONDS,
    "RAY_worker_register_timeout_seconds": _START_SECONDS,
    "RAY_agent_register_timeout_ms": _START_SECONDS * 1000,
}
_ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # lets Ray use 127.0.0.1 as its address
    "RAY_AUTH_MODE": "token",  # so that other users of the machine cannot connect
}


def require_answer(address: str) -> None:
    """Raise MachineError if nothing listens at ``host:port``; Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise MachineError(
            f"no Ray cluster answers at {address} (RAY_ADDRESS): {error}; start the cluster, or unset RAY_ADDRESS to compute on"
            " this machine"
        ) from error


@contextlib.contextmanager
def connected(workers: int) -> Iterator[Any]:
    """Connect to Ray for the length of the block, without log output of Ray.

    Args:
        workers: the number of workers that a Ray started on this machine must have room for.

    Raises:
        MachineError: Ray cannot be started or reached.
    """
    require_answer(os.environ.get("RAY_ADDRESS", ""))
    folder = Path(tempfile.mkdtemp(prefix="semconv-ray-"))
    options = _prepared(folder, workers)
    import ray
    import ray.data

    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        _start(ray, options, folder)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray
    finally:
        _end(ray, folder)
        _remove(folder)


def _prepared(folder: Path, workers: int) -> dict[str, Any]:
    """Set the environment variables that Ray reads, and return the arguments for ``ray.init``."""
    os.environ.update(_SILENT)
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if "RAY_ADDRESS" not in os.environ:
        os.environ.update(_ALONE)
        for name, value in _PATIENT.items():
            os.environ.setdefault(name, str(value))
        # Without this token, Ray would store one in the home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        options |= {"address": "local", "include_dashboard": False, "_temp_dir": str(folder)}
        options |= {"num_cpus": max(os.cpu_count() or 1, workers), "_node_ip_address": "127.0.0.1"}
    return options


def _start(ray: Any, options: dict[str, Any], folder: Path) -> None:
    """Start or join Ray. Retry a start that timed out, which happens on a busy machine."""
    for left in reversed(range(_STARTS)):
        try:
            ray.init(**options)
            return
        except Exception as error:  # Ray raises no narrower class when its node fails to start
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            _end(ray, folder)
            if left and "timed out" in said and "address" in options:
                continue
            raise MachineError(
                f"Ray cannot be started or reached ({said}); run the same command again when the machine is less busy,"
                " or with --engine local"
            ) from error


def _end(ray: Any, folder: Path) -> None:
    """Disconnect from Ray, and end all processes of a Ray that was started with this folder.

    ``ray.shutdown`` gives the parent of the workers one second to end them, then kills it. On a busy machine that is too
    short, and the workers would outlive the job.
    """
    import psutil  # is installed with Ray

    processes = _processes(ray, folder)  # once the parent has ended, nothing connects its workers with this job
    ray.shutdown()
    processes |= _processes(ray, folder)  # a worker that was just being started
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    end = time.monotonic() + _END_SECONDS
    while any(_is_running(process) for process in processes) and time.monotonic() < end:
        time.sleep(0.05)


def _processes(ray: Any, folder: Path) -> set[Any]:
    """Return the processes of a Ray that was started with this folder: its programs, and all their children."""
    import psutil

    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if str(folder) in words and str(Path(ray.__file__).parent) in words:
                found |= {process, *process.children(recursive=True)}
    return found


def _is_running(process: Any) -> bool:
    """Return whether a process has not ended; a zombie has ended, and its parent may never collect it."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _remove(folder: Path) -> None:
    """Remove Ray's folder; processes that are ending may still open files in it, so try until it is gone."""
    end = time.monotonic() + _END_SECONDS
    while folder.exists() and time.monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
