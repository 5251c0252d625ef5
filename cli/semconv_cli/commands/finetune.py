"""``semconv finetune``: teach the backbone to write codes."""

from __future__ import annotations

import click

from semconv.tuning.launch import is_follower
from semconv_cli import runs
from semconv_cli.options import Job, json_option, setting
from semconv_cli.state import State, pass_state

_MADE = {"picture": "training.svg", "steps": "steps.jsonl"}
_OF_FROM = {"--replay": "tuning.replay", "--from-learning-rate": "tuning.from_learning_rate"}


@click.command("finetune", cls=Job, short_help="Tune the backbone on the prompts.")
@click.option(
    "--from",
    "from_run",
    metavar="RUN",
    help="Go on from a finished finetune run, or from the `current` one, with what is new since and a share of the rest.",
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
    """Tune the backbone on the prompts; a killed run goes on where it stopped.

    With --from, new items get codes first. Nothing new: the run stays as it is.

    In several processes: torchrun --nproc-per-node 2 -m semconv_cli finetune.
    """
    if is_follower():
        state.follow()
        return
    if from_run is None and (unread := [flag for flag, name in _OF_FROM.items() if name in state.flags]):
        raise click.UsageError(f"{' and '.join(unread)} goes with --from", click.get_current_context())
    with state.open() as project:
        record = project.finetune(from_run=from_run)
        made = {kind: f"{record.artifact_path}/{name}" for kind, name in _MADE.items()}
        made = {kind: path for kind, path in made.items() if (project.layout.root / path).exists()}
    runs.write_run(state, record, as_json, made)
