"""``semconv finetune``: train the backbone to predict codes."""

from __future__ import annotations

import click

from semconv.tuning.launch import is_follower
from semconv_cli import runs
from semconv_cli.options import Job, json_option, setting
from semconv_cli.state import State, pass_state

_FILES = {"picture": "training.svg", "steps": "steps.jsonl"}
_NEED_FROM = {"--replay": "tuning.replay", "--from-learning-rate": "tuning.from_learning_rate"}


@click.command("finetune", cls=Job, short_help="Train the backbone to predict the codes of items.")
@click.option(
    "--from",
    "from_run",
    metavar="RUN",
    help="Continue the training of this finished finetune run (`current` for the newest one) on all new and some of the old"
    " samples.",
)
@setting("--replay", "tuning.replay")
@setting("--from-learning-rate", "tuning.from_learning_rate")
@setting("--mode", "tuning.mode")
@setting("--epochs", "tuning.epochs")
@setting("--max-samples", "tuning.max_samples")
@setting("--max-minutes", "tuning.max_minutes")
@setting("--learning-rate", "tuning.learning_rate")
@setting("--batch-tokens", "tuning.batch_tokens")
@setting("--accumulate", "tuning.accumulate")
@setting("--gradient-checkpointing", "tuning.gradient_checkpointing")
@setting("--parallel", "tuning.parallel")
@setting("--dtype", "tuning.dtype")
@setting("--validation-users", "tuning.validation_users")
@setting("--patience", "tuning.patience")
@setting("--seed", "tuning.seed")
@json_option
@pass_state
def finetune_command(state: State, from_run: str | None, as_json: bool) -> None:
    """Train the backbone to predict the codes of items. To continue a killed training, run the same command again.

    With --from, the command first predicts codes for new items. If there is no new data, the command trains nothing,
    and the earlier run stays the current model.

    To train in two processes, run torchrun --nproc-per-node 2 -m semconv_cli finetune.
    """
    if is_follower():
        state.follow()
        return
    if from_run is None and (unused := [option for option, name in _NEED_FROM.items() if name in state.options]):
        raise click.UsageError(f"{' and '.join(unused)} can be used only with --from", click.get_current_context())
    with state.open() as project:
        record = project.finetune(from_run=from_run)
        paths = {name: f"{record.artifact_path}/{file}" for name, file in _FILES.items()}
        paths = {name: path for name, path in paths.items() if (project.layout.root / path).exists()}
    runs.write_run(state, record, as_json, paths)
