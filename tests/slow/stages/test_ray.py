"""The engine for many machines, on one: real Ray, two workers, the rows of the local engine."""

from __future__ import annotations

import contextlib
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

import psutil
import pyarrow as pa
import pytest

from semconv.errors import MachineError
from semconv.stages.lists.ray_engine import counted
from tests.worlds import listed, projects
from tests.worlds.parts import read_parts

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed; `make test-slow` installs it"
)
SETTINGS = listed.SETTINGS.replace("shard_users = 4", "shard_users = 1")
ALWAYS = SETTINGS.replace('use = "never"', 'use = "always"')
PATIENCE_SECONDS = 600  # a job's, beside whatever else the machine does
SLOW_ONCE = """
import pathlib, sys, time
begun = pathlib.Path(__file__).with_name("begun")
if any(word.endswith("dashboard/agent.py") for word in sys.orig_argv) and not begun.exists():
    begun.touch()
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return listed.make_tuned(tmp_path_factory.mktemp("lists") / "tuned")


@pytest.fixture(scope="module")
def local_rows(tuned: Path) -> pa.Table:
    project = listed.copied(tuned, tuned.parent / "local", SETTINGS)
    return listed.lists(project, project.recommend())


@pytest.fixture(scope="module")
def blended(tuned: Path) -> Path:
    """With a blend, which is served."""
    project = listed.copied(tuned, tuned.parent / "blended", ALWAYS)
    project.blend()
    return project.layout.root


@pytest.fixture
def root(tuned: Path, tmp_path: Path) -> Path:
    return listed.copied(tuned, tmp_path / "project", SETTINGS).layout.root


def start(root: Path, engine: str, *more: str, **environment: str) -> subprocess.Popen[str]:
    """The command in a process of its own, whose temporary files go beside the project."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    scratch = Path(f"/tmp/semconv-test-{os.getpid()}")  # a socket's path is at most 107 bytes long
    scratch.mkdir(exist_ok=True)
    words = ["--project", str(root), "recommend", "--engine", engine, "--ray-actors", "2", "--json", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "semconv_cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1", **environment},
    )


def finish(job: subprocess.Popen[str]) -> tuple[str, str]:
    output, errors = job.communicate(timeout=PATIENCE_SECONDS)
    assert job.returncode == 0, errors
    return output, errors


def parts(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in root.glob("data/runs/recommend-*/part-*")}


def rows(root: Path, method: str | None = None) -> pa.Table:
    (folder,) = root.glob("data/runs/recommend-*")
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith("part-")) == [
        "complete.json",
        "lock",
        "states.safetensors",
    ]
    return read_parts(folder, method)


def wait_until(is_there: Callable[[], bool], job: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_there():
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def family(job: subprocess.Popen[str]) -> list[psutil.Process]:
    """The job and its children, none where it has ended."""
    try:
        process = psutil.Process(job.pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def finish_watched(job: subprocess.Popen[str]) -> tuple[str, str, set[psutil.Process]]:
    """Output and errors of a job, and all processes that were among its children."""
    seen: set[psutil.Process] = set()
    while job.poll() is None:  # what it prints is short enough for the pipes
        seen |= set(family(job)[1:])
        time.sleep(0.05)
    return *finish(job), seen


def running(processes: set[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; a zombie has ended."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def workers(job: subprocess.Popen[str]) -> list[psutil.Process]:
    found = []
    for process in family(job):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie's command is none either
            if "MapWorker" in " ".join(process.cmdline()):
                found.append(process)
    return found


def addresses(processes: list[psutil.Process]) -> set[str]:
    """What some processes listen on."""
    found: set[str] = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            listening = (one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN)
            found |= {one.laddr.ip for one in listening}
    return found


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback


def kill_one_worker(root: Path) -> dict[str, int]:
    """Lists of a job one of whose workers is killed, which the other ends; what was there before."""
    job = start(root, "ray")
    wait_until(lambda: len(parts(root)) >= 3 and bool(workers(job)), job)
    before = parts(root)
    os.kill(workers(job)[0].pid, signal.SIGKILL)
    finish(job)
    assert len(before) < len(parts(root)) == listed.NUM_USERS
    return before


def test_two_workers_make_the_rows_of_one_process_and_listen_to_themselves(root: Path, local_rows: pa.Table) -> None:
    job = start(root, "ray")
    wait_until(lambda: bool(parts(root)), job)
    assert workers(job)
    listened = addresses(family(job))
    output, errors, processes = finish_watched(job)
    assert running(processes) == [], "Ray ends with the job"
    assert json.loads(output)["status"] == "finished"  # nothing of Ray's among it
    assert f"{listed.NUM_USERS} of {listed.NUM_USERS} users in" in errors
    assert listened
    assert [address for address in listened if not is_loopback(address)] == []
    assert rows(root).equals(local_rows)
    assert not list(Path(f"/tmp/semconv-test-{os.getpid()}").iterdir())


def test_a_worker_that_is_killed_costs_its_shard_alone(root: Path, local_rows: pa.Table) -> None:
    before = kill_one_worker(root)
    assert before.items() <= parts(root).items()
    assert rows(root).equals(local_rows)


def test_two_workers_make_the_lists_of_the_model_and_of_the_blend(blended: Path, tmp_path: Path) -> None:
    names = ("model", "blend")
    for split in ("serve", "test"):  # what is served holds the blend's lists alone, what is scored both
        here = listed.copied(blended, tmp_path / f"{split}-local", ALWAYS)
        run = here.recommend(split=split)
        there = listed.copied(blended, tmp_path / split, ALWAYS).layout.root
        finish(start(there, "ray", "--split", split))
        ours = [read_parts(here.book.folder(run), method) for method in names]
        theirs = [rows(there, method) for method in names]
        assert [mine.equals(other) for mine, other in zip(ours, theirs, strict=True)] == [True, True]
        assert [mine.num_rows > 0 for mine in ours] == [split == "test", True]
        assert "transition" in {source for sources in theirs[1].column("sources").to_pylist() for source in sources}


def test_a_worker_that_is_killed_costs_its_shard_of_a_blend_alone(blended: Path, tmp_path: Path) -> None:
    here = listed.copied(blended, tmp_path / "local", ALWAYS)
    expected = listed.lists(here, here.recommend())
    there = listed.copied(blended, tmp_path / "project", ALWAYS).layout.root
    before = kill_one_worker(there)
    assert before.items() <= parts(there).items()
    assert rows(there).equals(expected)


def test_a_ray_that_starts_too_slowly_is_started_again(root: Path, local_rows: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW_ONCE)
    paths = [str(tmp_path / "slow"), *filter(None, [os.environ.get("PYTHONPATH")])]
    finish(start(root, "ray", PYTHONPATH=os.pathsep.join(paths)))
    assert (tmp_path / "slow" / "begun").exists()
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
    assert 3 <= len(before) < listed.NUM_USERS
    finish(start(root, second))
    assert before.items() <= parts(root).items()
    assert rows(root).equals(local_rows)


def test_what_a_worker_meets_ends_the_job_as_in_one_process(root: Path) -> None:
    (weights,) = root.glob("data/runs/finetune-*/model/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    projects.without_digests(root)  # which the process that was started would look at
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
    with (
        pytest.raises(MachineError, match=r"part-00003.parquet: 3 workers died while computing this shard"),
        counted(part),
    ):
        pass
    (trace,) = tmp_path.iterdir()
    trace.unlink()
    with counted(part):
        pass
    assert not list(tmp_path.iterdir())
