"""Connects a job to Ray: to a running cluster, or to one that is started for the job.

A cluster that ``RAY_ADDRESS`` names is joined. Otherwise Ray is started here. It then listens on the loopback address
only and ends with the job. Usage statistics are never sent.
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
_STARTS = 4  # attempts: Ray gives up a slow start, and its settings do not change every limit
_START_SECONDS = 300  # for the limits that a setting changes
_END_SECONDS = 30
# Ray reads these when it is imported, or in the processes that it starts.
_SILENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
_PATIENT = {
    "RAY_gcs_server_port_wait_time_s": _START_SECONDS,
    "RAY_gcs_server_request_timeout_seconds": _START_SECONDS,
    "RAY_worker_register_timeout_seconds": _START_SECONDS,
    "RAY_agent_register_timeout_ms": _START_SECONDS * 1000,
}
_ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # lets Ray use 127.0.0.1 as its address
    "RAY_AUTH_MODE": "token",  # keeps other users of the machine out
}


def require_answer(address: str) -> None:
    """MachineError when nothing listens at ``host:port``, for which Ray itself would wait minutes. Other forms pass."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise MachineError(
            f"no Ray answers at {address} (RAY_ADDRESS): {error}; start the cluster, or unset it to compute here"
        ) from error


@contextlib.contextmanager
def connected(workers: int) -> Iterator[Any]:
    """Connect to Ray, without its log output, for the length of the block.

    Args:
        workers: a Ray that is started here gets room for this number.

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
        _start(ray, options)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray
    finally:
        ray.shutdown()
        _remove(folder)


def _prepared(folder: Path, workers: int) -> dict[str, Any]:
    """The arguments of ``ray.init``; also sets the environment variables that Ray reads."""
    os.environ.update(_SILENT)
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if "RAY_ADDRESS" not in os.environ:
        os.environ.update(_ALONE)
        for name, value in _PATIENT.items():
            os.environ.setdefault(name, str(value))
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray would keep one in the home folder
        options |= {"address": "local", "include_dashboard": False, "_temp_dir": str(folder)}
        options |= {"num_cpus": max(os.cpu_count() or 1, workers), "_node_ip_address": "127.0.0.1"}
    return options


def _start(ray: Any, options: dict[str, Any]) -> None:
    """Start or join Ray. A start that timed out, as it may beside other heavy jobs, is tried again."""
    import psutil  # installed with Ray

    before = set(psutil.Process().children(recursive=True))
    for left in reversed(range(_STARTS)):
        try:
            ray.init(**options)
            return
        except Exception as error:  # Ray raises no narrower class when its node fails to start
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            _end_children(before)
            if left and "timed out" in said and "address" in options:
                continue
            raise MachineError(
                f"Ray cannot be started or reached ({said}); run the same command again when the machine is less busy,"
                " or with --engine local"
            ) from error


def _end_children(before: set[Any]) -> None:
    """Kill the processes that a failed start left running."""
    import psutil

    started = set(psutil.Process().children(recursive=True)) - before
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(started, timeout=_END_SECONDS)


def _remove(folder: Path) -> None:
    """Remove Ray's folder; processes that are ending may still open files in it, so try until it is gone."""
    end = time.monotonic() + _END_SECONDS
    while folder.exists() and time.monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
