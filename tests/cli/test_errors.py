"""Tests of errors: one line on stderr, an exit code, nothing on stdout."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from semconv.errors import CheckFailedError, InputError, LockedError, MachineError, SettingsError
from semconv_cli.errors import describe_error
from semconv_cli.main import Root, cli


def failing(error: BaseException) -> click.Command:
    """Return the real top command with one command that raises ``error``."""

    class Failing(Root):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            def fail() -> None:
                raise error

            return click.Command(cmd_name, callback=fail)

    return Failing("semconv", params=cli.params)


def invoke(error: BaseException, *flags: str) -> Result:
    return CliRunner().invoke(failing(error), [*flags, "work"])


class OutOfMemoryError(RuntimeError):
    """An error with the same name as torch's."""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CheckFailedError("3 rows offend"), 1, "error: 3 rows offend"),
        (SettingsError("tuning.epochs = 0: must be at least 1"), 2, "error: tuning.epochs = 0: must be at least 1"),
        (LockedError("held by process 12", 12), 3, "error: held by process 12"),
        (InputError("a.csv: two\nlines"), 4, "error: a.csv: two lines"),
        (MachineError("disk full"), 5, "error: disk full"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to continue"),
        (click.UsageError("no"), 2, "error: no (see `semconv work --help`)"),
    ],
)
def test_known_errors_are_one_line(error: BaseException, code: int, line: str) -> None:
    result = invoke(error)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", line + "\n")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "data/runs/r1/x"),
        PermissionError(errno.EACCES, "Permission denied", "data"),
        MemoryError(),
        OutOfMemoryError("tried to allocate 3 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ],
)
def test_errors_of_the_machine_are_one_line(error: BaseException) -> None:
    result = invoke(error)
    assert result.exit_code == 5
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    if isinstance(error, OSError) and error.filename:
        assert str(error.filename) in result.stderr


def test_an_unknown_exception_is_an_internal_error_and_verbose_shows_its_traceback() -> None:
    plain = invoke(ZeroDivisionError("by\nzero"))
    assert plain.exit_code == 1
    assert plain.stderr == "internal error: ZeroDivisionError: by zero; please report it with the output of -v\n"
    verbose = invoke(ZeroDivisionError("by zero"), "-v")
    assert verbose.exit_code == 1
    assert "Traceback" in verbose.stderr
    assert "in fail" in verbose.stderr


def test_other_exit_codes_are_kept() -> None:
    assert describe_error(click.exceptions.UsageError("x")) == ("error: x", 2)
    assert invoke(SystemExit(7)).exit_code == 7


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--nope"], "No such option '--nope'"),
        (["nope"], "No such command 'nope'"),
        (["--wait", "-1", "runs"], "--wait"),
        (["--set", "epochs=3", "runs"], "SECTION.KEY=VALUE"),
        (["runs", "--set", "epochs"], "SECTION.KEY=VALUE"),
        (["finetune", "--epochs", "0"], "--epochs"),
        (["finetune", "--mode", "half"], "--mode"),
        (["finetune", "--replay", "1"], "--replay can be used only with --from"),
        (["ingest", "interactions"], "FILES"),
        (["ingest", "interactions", "f", "--map", "event_time"], "is not OURS=THEIRS"),
        (["ingest", "interactions", "f", "--map", "rating=a", "--map", "rating=b"], "mapped twice"),
        (["recommend", "--user", "u"], "--query"),
        (["recommend", "--query", "q", "--split", "test"], "--query"),
        (["recommend", "--only-changed", "load", "f.parquet"], "load"),
        (["sql", "SELECT 1", "--csv", "--json"], "one of --csv, --json and --ndjson"),
        (["features", "get"], "--user"),
        (["features", "get", "--user", "u", "--item", "i"], "one of"),
    ],
)
def test_wrong_usage(args: list[str], part: str) -> None:
    result = CliRunner().invoke(cli, args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert part in result.stderr


def test_no_command_shows_help_as_an_error() -> None:
    result = CliRunner().invoke(cli, [])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Commands:" in result.stderr


def run_program(body: str, **options: object) -> "subprocess.Popen[str]":
    program = (
        f"import click, os, sys, time\nfrom semconv_cli.main import Root, main\nimport semconv_cli.main as m\n{body}"
    )
    return subprocess.Popen([sys.executable, "-c", program], text=True, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]


def test_interrupt_of_a_real_process() -> None:
    body = (
        "def work():\n    print('working', flush=True)\n    time.sleep(60)\n"
        "Root.get_command = lambda self, ctx, name: click.Command(name, callback=work)\n"
        "sys.argv = ['semconv', 'run']\nmain()\n"
    )
    process = run_program(body, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    process.send_signal(2)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (130, "interrupted; run the same command again to continue\n")


def test_a_closed_stdout_ends_without_a_message() -> None:
    body = (
        "def work():\n    [click.echo('x' * 100) for _ in range(20000)]\n"
        "Root.get_command = lambda self, ctx, name: click.Command(name, callback=work)\n"
        "sys.argv = ['semconv', 'sql']\nmain()\n"
    )
    read, write = os.pipe()
    process = run_program(body, stdout=write)
    os.close(write)
    os.read(read, 10)
    os.close(read)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (141, "")


@pytest.mark.parametrize("where", [lambda folder: folder, lambda folder: folder / "inner"])
def test_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Callable[[Path], Path]) -> None:
    folder = where(tmp_path)
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(cli, ["runs"])
    assert (result.exit_code, result.stdout) == (4, "")
    assert "semconv init" in result.stderr
    assert result.stderr.count("\n") == 1
