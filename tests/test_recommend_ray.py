"""The engine for many machines, on one: real Ray, two workers, the rows of the local engine."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lists_case
import psutil
import pyarrow as pa
import pytest

from semconv.errors import MachineError
from semconv.pipeline.list_parts import read_parts
from semconv.pipeline.ray_engine import counted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed; `pip install -e '.[ray]'` brings it"
    ),
]
SETTINGS = lists_case.SETTINGS.replace("shard_users = 4", "shard_users = 1")
PATIENCE_SECONDS = 240


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lists_case.make_tuned(tmp_path_factory.mktemp("lists") / "tuned")


@pytest.fixture(scope="module")
def local_rows(tuned: Path) -> pa.Table:
    project = lists_case.copied(tuned, tuned.parent / "local", SETTINGS)
    return lists_case.lists(project, project.recommend())


@pytest.fixture
def root(tuned: Path, tmp_path: Path) -> Path:
    return lists_case.copied(tuned, tmp_path / "project", SETTINGS).layout.root


def start(root: Path, engine: str) -> subprocess.Popen[str]:
    """The command in a process of its own, whose temporary files go beside the project."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    scratch = Path(f"/tmp/semconv-test-{os.getpid()}")  # a socket's path is at most 107 bytes long
    scratch.mkdir(exist_ok=True)
    words = ["--project", str(root), "recommend", "--engine", engine, "--ray-actors", "2", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "semconv_cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"},
    )


def finish(job: subprocess.Popen[str]) -> tuple[str, str]:
    output, errors = job.communicate(timeout=PATIENCE_SECONDS)
    assert job.returncode == 0, errors
    return output, errors


def parts(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in root.glob("data/runs/recommend-*/part-*")}


def rows(root: Path) -> pa.Table:
    (folder,) = root.glob("data/runs/recommend-*")
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith("part-")) == [
        "complete.json",
        "lock",
        "states.safetensors",
    ]
    return read_parts(folder)


def wait_until(is_there: Callable[[], bool], job: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_there():
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def workers(job: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(job.pid).children(recursive=True)
    return [child for child in children if child.is_running() and "MapWorker" in " ".join(child.cmdline())]


def addresses(job: subprocess.Popen[str]) -> set[str]:
    """What the job and its children listen on."""
    family = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
    return {
        connection.laddr.ip
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback


def test_two_workers_make_the_rows_of_one_process_and_listen_to_themselves(root: Path, local_rows: pa.Table) -> None:
    job = start(root, "ray")
    wait_until(lambda: bool(parts(root)), job)
    listened = addresses(job)
    family = psutil.Process(job.pid).children(recursive=True)
    output, errors = finish(job)
    assert json.loads(output)["status"] == "finished"  # nothing of Ray's among it
    assert f"{lists_case.NUM_USERS} of {lists_case.NUM_USERS} users in" in errors
    assert listened
    assert [address for address in listened if not is_loopback(address)] == []
    assert rows(root).equals(local_rows)
    assert not psutil.wait_procs(family, timeout=20)[1], "Ray ends with the job"
    assert not list(Path(f"/tmp/semconv-test-{os.getpid()}").iterdir())


def test_a_worker_that_is_killed_costs_its_shard_alone(root: Path, local_rows: pa.Table) -> None:
    job = start(root, "ray")
    wait_until(lambda: len(parts(root)) >= 3 and bool(workers(job)), job)
    before = parts(root)
    os.kill(workers(job)[0].pid, signal.SIGKILL)
    finish(job)
    after = parts(root)
    assert len(before) < len(after) == lists_case.NUM_USERS
    assert before.items() <= after.items()
    assert rows(root).equals(local_rows)


@pytest.mark.parametrize(("first", "second"), [("ray", "local"), ("local", "ray")])
def test_a_job_that_is_killed_under_one_engine_goes_on_under_the_other(
    root: Path, local_rows: pa.Table, first: str, second: str
) -> None:
    job = start(root, first)
    wait_until(lambda: len(parts(root)) >= 3, job)
    computing = [psutil.Process(job.pid), *workers(job)]
    job.kill()
    job.communicate()
    assert not psutil.wait_procs(computing, timeout=60)[1], "workers end with the process that started them"
    before = parts(root)
    assert 3 <= len(before) < lists_case.NUM_USERS
    finish(start(root, second))
    assert before.items() <= parts(root).items()
    assert rows(root).equals(local_rows)


def test_what_a_worker_meets_ends_the_job_as_in_one_process(root: Path) -> None:
    (weights,) = root.glob("data/runs/finetune-*/model/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    found = {}
    for engine in ("local", "ray"):
        job = start(root, engine)
        output, errors = job.communicate(timeout=PATIENCE_SECONDS)
        assert output == ""
        found[engine] = (job.returncode, errors.strip().splitlines()[-1])
    assert found["ray"] == found["local"]
    assert found["ray"][0] == 4


def test_a_shard_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    part = tmp_path / "part-00003.parquet"
    for _ in range(3):  # as a process leaves it that dies in the block
        block = counted(part)
        block.__enter__()
    with pytest.raises(MachineError, match=r"part-00003.parquet: 3 workers died over this shard"), counted(part):
        pass
    (trace,) = tmp_path.iterdir()
    trace.unlink()
    with counted(part):
        pass
    assert not list(tmp_path.iterdir())
