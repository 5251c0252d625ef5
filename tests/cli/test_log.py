"""Tests of stderr: text for people, one JSON object per line for programs, a summary at the end of a job."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from semconv.errors import LockedError
from semconv.progress import LineProgress
from semconv_cli.log import FORMS, requested_form
from semconv_cli.main import Root, cli
from semconv_cli.options import Job
from semconv_cli.progress import RecordedProgress
from semconv_cli.state import State
from tests.worlds import projects as case
from tests.worlds.reading import reading


def objects(result: Result) -> list[dict[str, Any]]:
    """Return the lines of stderr as objects, and check the fields that all of them have."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in result.stderr.splitlines()]
    for line in lines:
        assert {"time", "level", "command", "message"} <= set(line)
        assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    return lines


def working(work: Any) -> click.Command:
    """Return the real top command with one job that calls ``work``."""

    class Working(Root):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            return Job(cmd_name, callback=click.pass_obj(work), params=[click.Option(["--count"], type=int)])

    return Working("semconv", params=cli.params)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a project with a file of items and a file of interactions, one of them invalid."""
    root = tmp_path_factory.mktemp("shop") / "project"
    assert CliRunner().invoke(cli, ["init", str(root)]).exit_code == 0
    case.write_lines(root / "items.jsonl", [case.item(number) for number in range(5)])
    case.write_lines(
        root / "events.jsonl", [{"user_id": "u1", "item_id": "i001", "event_time": 1}, {"item_id": "i002"}]
    )
    return root


def test_a_job_ends_with_one_summary_object(fresh: Path) -> None:
    args = ["--log-format", "json", "--project", str(fresh), "ingest", "interactions", str(fresh / "events.jsonl")]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 0, result.stderr
    *_, last = objects(result)
    assert [line for line in objects(result) if "exit_code" in line] == [last]
    assert (last["command"], last["exit_code"], last["level"]) == ("semconv ingest interactions", 0, "info")
    assert (last["counts"]["read"], last["counts"]["added"], last["counts"]["rejected"]) == (2, 1, 1)
    assert last["seconds"] > 0
    assert last["peak_memory_bytes"] > 10_000_000
    assert {"runs", "generation", "tasks"} <= set(last)


def test_the_text_summary_is_one_line_that_quiet_omits(fresh: Path) -> None:
    args = ["--project", str(fresh), "ingest", "items", str(fresh / "items.jsonl")]
    last = CliRunner().invoke(cli, args).stderr.splitlines()[-1]
    assert last.startswith("semconv ingest items: done in ")
    assert ", 5 read, " in last
    assert "peak memory" in last
    assert CliRunner().invoke(cli, [*args, "--quiet"]).stderr == ""


def test_commands_that_only_read_write_no_summary(fresh: Path) -> None:
    for command in ("runs", "doctor", "generations", "--help"):
        result = CliRunner().invoke(cli, ["--project", str(fresh), "--log-format=json", command])
        assert all("exit_code" not in line for line in objects(result))
    assert CliRunner().invoke(cli, ["run", "--help", "--log-format", "json"]).stderr == ""


def test_a_failed_job_writes_its_error_and_its_summary() -> None:
    def locked(state: State, count: int | None) -> None:
        state.remark("working")
        raise LockedError("held by process 12", 12)

    result = CliRunner().invoke(working(locked), ["work", "--log-format", "json"])
    said, error, summary = objects(result)
    assert (result.exit_code, said["message"], said["level"]) == (3, "working", "info")
    assert (error["level"], error["message"]) == ("error", "error: held by process 12")
    assert (summary["exit_code"], summary["level"], summary["command"]) == (3, "error", "semconv work")
    verbose = objects(CliRunner().invoke(working(locked), ["-v", "--log-format", "json", "work"]))
    assert "LockedError" in verbose[1]["traceback"]
    as_text = CliRunner().invoke(working(locked), ["work"])
    assert as_text.stderr == "working\nerror: held by process 12\n"


@pytest.mark.parametrize(("options", "says"), [([], ""), (["-v"], "Retrying in 1s [Retry 1/5].\n")])
def test_retries_without_network_are_said_with_verbose_only(options: list[str], says: str) -> None:
    program = (
        "import sys, click\n"
        "from semconv_cli.main import Root, cli\n"
        "def look_up(state):\n"
        "    with state.capture_output():\n"
        "        from huggingface_hub.utils import logging\n"
        "        logging.get_logger('huggingface_hub.utils._http').warning('Retrying in 1s [Retry 1/5].')\n"
        "class Looking(Root):\n"
        "    def get_command(self, ctx, name):\n"
        "        return click.Command(name, callback=click.pass_obj(look_up))\n"
        "Looking('semconv', params=cli.params)([*sys.argv[1:], 'look'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_VERBOSITY"}
    words = [sys.executable, "-c", program, *options]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, says)


def test_a_wrong_option_is_an_object_too() -> None:
    for args in (["--log-format", "json", "--nope"], ["--nope", "--log-format=json"]):
        assert [line["level"] for line in objects(CliRunner().invoke(cli, args))] == ["error"]
    error, summary = objects(
        CliRunner().invoke(working(lambda state, count: None), ["work", "--count", "x", "--log-format", "json"])
    )
    assert "--count" in error["message"]
    assert (summary["command"], summary["exit_code"]) == ("semconv work", 2)
    assert CliRunner().invoke(cli, ["--log-format", "xml", "runs"]).exit_code == 2


def test_output_of_libraries_is_logged_as_objects() -> None:
    def noisy(state: State, count: int | None) -> None:
        with state.capture_output():
            sys.stdout.write("to stdout\nand on")
            sys.stderr.write("to stderr\n\nlast words")
        click.echo("data")

    result = CliRunner().invoke(working(noisy), ["-v", "--log-format", "json", "work"])
    assert result.stdout == "data\n"
    said = [line["message"] for line in objects(result) if line.get("source") == "library"]
    assert said == ["to stdout", "and onto stderr", "last words"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_control_character_of_a_library_reaches_the_log(form: str) -> None:
    def noisy(state: State, count: int | None) -> None:
        with state.capture_output():
            sys.stdout.write("a\x1b]0;title\x07b\n")
            sys.stderr.write("c\x9b31m\x7f\u202ed\n")
        state.remark("e\x1b[2J\x85")

    lines = CliRunner().invoke(working(noisy), ["-v", "--log-format", form, "work"]).stderr.split("\n")
    assert all(line.isprintable() for line in lines)
    assert sum("title" in line or "31m" in line or "[2J" in line for line in lines) == 3


def test_tasks_are_recorded_for_the_summary() -> None:
    tasks: list[dict[str, Any]] = []
    said: list[str] = []
    with RecordedProgress(LineProgress(said.append), tasks).task("recommend serve", 80, "users", done=30) as task:
        task.advance(20)
        task.advance(30)
    assert tasks == [{"task": "recommend serve", "unit": "users", "done": 80, "total": 80}]
    assert said[0].startswith("recommend serve: 80 of 80 users")


@pytest.mark.parametrize(
    ("args", "environment", "form"),
    [
        (["run"], {}, "text"),
        (["run", "--log-format", "json"], {}, "json"),
        (["--log-format=json", "run"], {}, "json"),
        (["run"], {"SEMCONV_LOG_FORMAT": "json"}, "json"),
        (["run", "--log-format", "text"], {"SEMCONV_LOG_FORMAT": "json"}, "text"),
        (["run", "--log-format"], {}, "text"),
    ],
)
def test_the_requested_format_is_found_before_parsing(args: list[str], environment: dict[str, str], form: str) -> None:
    assert requested_form(args, environment) == form


@pytest.mark.parametrize("form", FORMS)
def test_a_closed_stderr_does_not_end_a_job(fresh: Path, tmp_path: Path, form: str) -> None:
    root = shutil.copytree(fresh, tmp_path / "project")
    read, write = os.pipe()
    os.close(read)  # nobody reads what the job says
    job = ["--project", root, "--log-format", form, "-v", "ingest", "items", root / "items.jsonl", "--json"]
    done = subprocess.run([sys.executable, "-m", "semconv_cli", *job], stdout=subprocess.PIPE, stderr=write)
    os.close(write)
    assert done.returncode == 0
    assert json.loads(done.stdout)["read"] == 5
    with reading(root / "data" / "warehouse.duckdb") as connection:
        assert connection.execute("SELECT count(*) FROM item WHERE title IS NOT NULL").fetchall() == [(5,)]
