"""Commands and other programs in processes of their own that may be killed, stopped or short of disk space.

Run as a program, this file is a server: it imports the whole product once and forks a process for each request, so that
a hundred commands cost the imports of one. A test run has one server for all of its processes. :class:`Commands` is the
client of the server.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.worlds.faults.writes import compiled_library
from tests.worlds.once import is_test_run_over, made_once
from tests.worlds.paths import ROOT

KILLED = -signal.SIGKILL
# What Python does to a project's files; what DuckDB and SQLite do to them lies between.
_TOUCHING = ("open", "os.", "shutil.", "sqlite3.")
_SOCKET, _IS_WATCHED = "socket", "is_watched"
_servers: list[subprocess.Popen[bytes]] = []  # started by this process


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int  # exit code, or -9 of a killed process
    stdout: str
    stderr: str
    seconds: float
    events: int  # how often it touched a file of the project, of a command that ended by itself
    writes: list[str]  # every change of the project's files, as "operation /path"; empty unless the server sees them

    @property
    def error(self) -> str:
        """The last line on stderr."""
        return (self.stderr.strip().splitlines() or [""])[-1]


class Commands:
    """A connection to the server, one request at a time. The first one in a test run starts the server.

    Attributes:
        sees_writes: whether the server sees every change of a project's files, through a library of ``writes.c``.
    """

    def __init__(self) -> None:
        folder = made_once("commands", _start_server)
        self.sees_writes = (folder / _IS_WATCHED).exists()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(folder / _SOCKET))
        self._stream = self._connection.makefile("rw")

    def run(self, root: Path, *words: str, **conditions: Any) -> Done:
        """Run ``semconv --project ROOT WORDS`` and wait for its end.

        Args:
            conditions: ``kill_event`` (die at so many touches of the project's files), ``kill_after`` (seconds),
                ``kill_write`` (die before so many changes of the project's files, counted below Python; 0: only list them),
                ``stop_in`` ('module:function': stand still before its first call there, and go on in :meth:`wait`),
                ``largest_file`` (bytes), ``user`` (number), ``clock_ahead`` (seconds), ``environment`` (variables),
                ``small_demo`` (a demo of few users).
        """
        return self.wait(self.start(root, *words, **conditions))

    def start(self, root: Path, *words: str, **conditions: Any) -> dict[str, Any]:
        """Begin a command; :meth:`wait` takes what this returns. One that is to stand still does so, or has ended, by then."""
        return dict(self._ask({"root": str(root), "words": words, **conditions}))

    def program(self, code: str, *words: object) -> Done:
        """Run a Python program like ``python -c CODE WORDS`` and wait for its end."""
        return self.wait(self.start_program(code, *words))

    def start_program(self, code: str, *words: object, **conditions: Any) -> dict[str, Any]:
        """Begin a Python program; :meth:`wait` takes what this returns."""
        return dict(self._ask({"program": code, "words": [str(word) for word in words], **conditions}))

    def wait(self, begun: dict[str, Any]) -> Done:
        """The end of a command that :meth:`start` began."""
        return Done(**self._ask({"wait": begun}))

    def close(self) -> None:
        self._stream.close()
        self._connection.close()

    def _ask(self, request: dict[str, Any]) -> Any:
        self._stream.write(json.dumps(request) + "\n")
        self._stream.flush()
        return json.loads(self._stream.readline())


def _start_server(folder: Path) -> None:
    """Start the server of a test run, which ends by itself after the test run."""
    folder.mkdir()
    environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
    library = compiled_library(folder)
    if library is not None:
        environment["LD_PRELOAD"] = str(library)
        (folder / _IS_WATCHED).touch()
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.worlds.command", folder / _SOCKET],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=ROOT,
        start_new_session=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    _servers.append(server)


def _begin(request: dict[str, Any]) -> dict[str, Any]:
    folder = tempfile.mkdtemp(prefix="command-")
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_command(request, Path(folder))
    if request.get("kill_after") is not None:
        _kill_after(child, request["kill_after"])
    if request.get("stop_in") is not None:
        os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return {"pid": child, "folder": folder, "started": started}


def _kill_after(child: int, seconds: float) -> None:
    """From a process of its own: one that computes in native code looks at no timer."""
    killer = os.fork()
    if killer == 0:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os._exit(0)


def _finish(begun: dict[str, Any]) -> dict[str, Any]:
    os.kill(begun["pid"], signal.SIGCONT)
    status = os.waitstatus_to_exitcode(os.waitpid(begun["pid"], 0)[1])
    seconds = time.monotonic() - begun["started"]
    folder = Path(begun["folder"])
    names = ("out", "err", "events", "writes")
    texts = {name: (folder / name).read_text() if (folder / name).exists() else "" for name in names}
    subprocess.run(["rm", "-rf", folder], check=True)
    return {
        "status": status,
        "stdout": texts["out"],
        "stderr": texts["err"],
        "seconds": seconds,
        "events": int(texts["events"] or 0),
        "writes": texts["writes"].splitlines(),
    }


def _be_the_command(request: dict[str, Any], folder: Path) -> None:
    """The forked process; never returns."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    if request.get("clock_ahead"):
        from semconv import clock

        clock.seconds_since_1970 = lambda: time.time() + request["clock_ahead"]
    if request.get("largest_file"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"],) * 2)
    if request.get("user"):
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
    for name, value in request.get("environment", {}).items():
        os.environ[name] = value
    if request.get("small_demo"):
        _make_demo_small()
    touched = _watch(request["root"], request.get("kill_event")) if "root" in request else []
    if request.get("kill_write") is not None:
        log = os.open(folder / "writes", os.O_WRONLY | os.O_CREAT)
        ctypes.CDLL(None).watch_writes(os.fsencode(request["root"]), log, ctypes.c_long(request["kill_write"]))
    if request.get("stop_in"):
        _stop_in(*request["stop_in"].split(":"))
    code = 1
    try:
        _work(request)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if not request.get("largest_file") and not request.get("user"):
            (folder / "events").write_text(str(len(touched)))
        os._exit(code)


def _make_demo_small() -> None:
    from semconv_warehouse.demo import catalog, demo

    shape = catalog.DemoShape(users=60, longest=8, cold_items=5)
    demo.generate = lambda _: catalog.generate(shape)


def _work(request: dict[str, Any]) -> None:
    if "program" in request:
        sys.argv = ["-c", *request["words"]]
        exec(compile(request["program"], "-c", "exec"), {"__name__": "__main__"})
    else:
        from semconv_cli.main import cli

        cli(["--project", request["root"], *request["words"]], prog_name="semconv")


def _stop_in(module: str, name: str) -> None:
    """Stop this process before the first call of a function."""
    holder = importlib.import_module(module)
    function = getattr(holder, name)

    def stopping(*arguments: Any, **named: Any) -> Any:
        setattr(holder, name, function)
        os.kill(os.getpid(), signal.SIGSTOP)
        return function(*arguments, **named)

    setattr(holder, name, stopping)


def _watch(root: str, kill_event: int | None) -> list[None]:
    touched: list[None] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not event.startswith(_TOUCHING) or not any(root in str(argument) for argument in arguments[:2]):
            return
        touched.append(None)
        if kill_event is not None and len(touched) == kill_event:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return touched


def _import_everything() -> None:
    """Import what any command imports, Feast and the class of the default backbone included."""
    for name in ("semconv", "semconv_warehouse", "semconv_cli"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith(".__main__"):
                importlib.import_module(module.name)
    for name in ("feast", "peft", "transformers.models.llama.modeling_llama"):
        importlib.import_module(name)
    gc.freeze()  # so that the processes forked from this one share its memory


def _serve(path: str) -> None:
    """Accept connections until the end of the test run. A process forked from this one serves each connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        os.write(1, b"ready\n")
        while not is_test_run_over():
            if select.select([listener], [], [], 1.0)[0]:
                connection, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    _answer(connection)
                connection.close()


def _answer(connection: socket.socket) -> None:
    """Answer the requests of one client, in a process of its own; never returns."""
    with connection, connection.makefile("rw") as stream:
        for line in stream:
            request = json.loads(line)
            stream.write(json.dumps(_finish(request["wait"]) if "wait" in request else _begin(request)) + "\n")
            stream.flush()
    os._exit(0)


if __name__ == "__main__":
    _import_everything()
    assert threading.active_count() == 1, "a process with threads cannot be forked safely"
    _serve(sys.argv[1])
    os._exit(0)  # an ordinary end would take seconds to free the imported libraries
