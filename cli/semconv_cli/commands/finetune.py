"""``semconv finetune``: train the backbone to predict codes, here or on another machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from semconv.tuning.launch import is_follower
from semconv_cli import output, runs
from semconv_cli.options import FILE, DefaultGroup, Job, json_option, setting
from semconv_cli.state import State, pass_state

F = TypeVar("F", bound=Callable[..., Any])
_FILES = {"picture": "training.svg", "steps": "steps.jsonl"}
_NEED_FROM = {"--replay": "tuning.replay", "--from-learning-rate": "tuning.from_learning_rate"}
_OPTIONS = (
    click.option(
        "--from",
        "from_run",
        metavar="RUN",
        help="Continue the training of this finished finetune run (`current` for the newest one) on all new and some of the"
        " old samples.",
    ),
    setting("--replay", "tuning.replay"),
    setting("--from-learning-rate", "tuning.from_learning_rate"),
    setting("--mode", "tuning.mode"),
    setting("--epochs", "tuning.epochs"),
    setting("--max-samples", "tuning.max_samples"),
    setting("--max-minutes", "tuning.max_minutes"),
    setting("--learning-rate", "tuning.learning_rate"),
    setting("--batch-tokens", "tuning.batch_tokens"),
    setting("--accumulate", "tuning.accumulate"),
    setting("--gradient-checkpointing", "tuning.gradient_checkpointing"),
    setting("--parallel", "tuning.parallel"),
    setting("--dtype", "tuning.dtype"),
    setting("--validation-users", "tuning.validation_users"),
    setting("--patience", "tuning.patience"),
    setting("--seed", "tuning.seed"),
)


def _training_options(command: F) -> F:
    """Add the options of a training to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group(
    "finetune",
    cls=DefaultGroup,
    invoke_without_command=True,
    short_help="Train the backbone to predict the codes of items.",
)
@_training_options
@json_option
@click.pass_context
def finetune_command(ctx: click.Context, from_run: str | None, as_json: bool) -> None:
    """Train the backbone to predict the codes of items. To continue a killed training, run the same command again.

    With --from, the command first predicts codes for new items. If there is no new data, the command trains nothing,
    and the earlier run stays the current model.

    To train in two processes, run torchrun --nproc-per-node 2 -m semconv_cli finetune. To train on another machine, use
    finetune pack and finetune load.
    """
    state = ctx.ensure_object(State)
    if ctx.invoked_subcommand is not None:
        if from_run is not None or as_json or state.options:
            name = ctx.invoked_subcommand
            raise click.UsageError(f"put the options of `finetune {name}` after `{name}`", ctx)
        return
    if is_follower():
        state.follow()
        return
    state.start_job(ctx.command_path)
    _require_from(state, from_run)
    with state.open() as project:
        record = project.finetune(from_run=from_run)
        paths = {name: f"{record.artifact_path}/{file}" for name, file in _FILES.items()}
        paths = {name: path for name, path in paths.items() if (project.layout.root / path).exists()}
    runs.write_run(state, record, as_json, paths)


@finetune_command.command("pack", cls=Job, short_help="Write a training into a folder for another machine.")
@click.argument("folder", metavar="DIR", type=FILE)
@_training_options
@json_option
@pass_state
def finetune_pack(state: State, folder: Path, from_run: str | None, as_json: bool) -> None:
    """Write everything that a training needs into the new folder DIR, to train it on another machine.

    There, python -m semconv.train DIR trains it, without the project and its database. It needs this package, torch,
    transformers, peft, safetensors and numpy. Then copy DIR back and run finetune load DIR.

    DIR holds the interactions of users by number, without their ids, and the users' search queries.
    """
    _require_from(state, from_run)
    with state.open() as project:
        record = project.finetune_pack(folder, from_run=from_run)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    state.note({"bytes": size}, runs=[record.run_id])
    fields = {"run": record.run_id, "folder": str(folder), "bytes": size}
    output.write_result(fields, as_json)


@finetune_command.command("load", cls=Job, short_help="Load a model that was trained on another machine.")
@click.argument("folder", metavar="DIR", type=FILE)
@click.option(
    "--older-data",
    is_flag=True,
    help="Load the model although items or interactions changed since the pack was made.",
)
@json_option
@pass_state
def finetune_load(state: State, folder: Path, older_data: bool, as_json: bool) -> None:
    """Check the result of a training elsewhere in the folder DIR of finetune pack, and make it the current model.

    The command refuses a pack that holds a user whom semconv forget erased since.
    """
    with state.open() as project:
        record = project.finetune_load(folder, older_data=older_data)
    runs.write_run(state, record, as_json)


def _require_from(state: State, from_run: str | None) -> None:
    if from_run is None and (unused := [option for option, name in _NEED_FROM.items() if name in state.options]):
        raise click.UsageError(f"{' and '.join(unused)} can be used only with --from", click.get_current_context())
