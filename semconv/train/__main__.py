"""Train a pack: ``python -m semconv.train DIR``, or ``torchrun -m semconv.train DIR`` in several processes.

It needs no project, and only torch, transformers, peft, safetensors and numpy besides this package.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semconv.artifacts import machine_errors, remove_unfinished
from semconv.error_lines import described, printable, without_input
from semconv.errors import InputError, LockedError
from semconv.locks import run_lock
from semconv.modes import OWNER_FOLDER, closed_umask, make_folder
from semconv.progress import LineProgress, Progress
from semconv.tuning.launch import is_follower


def main(arguments: list[str]) -> int:
    """Train the pack that the arguments name, and return the exit code. Figures go to stdout, all else to stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m semconv.train",
        description="Train a model from a pack of `semconv finetune pack DIR`. To continue a killed training, run the"
        " same command again.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="Folder of the pack; the result is written into it.")
    parser.add_argument("-v", "--verbose", action="store_true", help="Show the traceback of an error.")
    given = parser.parse_args(arguments)
    folder: Path = given.folder
    _quiet_libraries()
    try:
        if is_follower():
            from semconv.train.group import follow

            follow()
        else:
            figures = train_pack(folder, LineProgress(_say))
            sys.stdout.write(json.dumps({"pack": str(folder), **figures}) + "\n")
            _say(f"trained; copy the folder back and run `semconv finetune load {folder}` in the project")
    except SystemExit:
        raise
    except BaseException as error:
        if given.verbose:
            sys.stderr.write(without_input("".join(traceback.format_exception(error))))
        line, code = described(error)
        _say(line)
        return code
    return 0


def train_pack(folder: Path, progress: Progress) -> dict[str, Any]:
    """Train a pack, continue a training that was killed, or read the result of a finished one; return its figures.

    Raises:
        InputError: the folder holds no complete pack, or a file of it is damaged.
        LockedError: another process trains this pack.
        CheckFailedError: the loss or the gradient is not finite.
    """
    from semconv.train.group import leading
    from semconv.train.pack import TRAINING, Pack
    from semconv.train.result import has_result, read_result, write_result
    from semconv.train.training import train

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that `semconv finetune pack` wrote")
    pack, place = Pack.open(folder), folder / TRAINING
    with contextlib.ExitStack() as held:
        held.enter_context(machine_errors(folder))
        held.enter_context(closed_umask())
        make_folder(place, OWNER_FOLDER)
        held.enter_context(_locked(folder, place))
        leader = held.enter_context(leading())
        pack.verify()
        if has_result(pack):
            progress.say(f"{folder} is trained already")
            return dict(read_result(pack).figures)
        remove_unfinished(folder)
        task = pack.task()
        progress.say(f"training {pack.pack_id} on {leader.processes.device}, for at most {task.tuning.epochs} epochs")
        trained = train(task, pack.model(task), place, leader, progress)
        write_result(pack, trained)
        return trained.figures


@contextlib.contextmanager
def _locked(folder: Path, place: Path) -> Iterator[None]:
    """Hold the lock of a training; LockedError if another process trains this pack."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(run_lock(place))
        except LockedError as error:
            raise LockedError(
                f"{folder} is being trained by process {error.pid or 'unknown'}; stop it, or wait until it ends",
                error.pid,
            ) from error
        yield


def _say(message: str) -> None:
    sys.stderr.write(f"{printable(message)}\n")
    sys.stderr.flush()


def _quiet_libraries() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
