"""``semconv backbone``: choose the language model."""

from __future__ import annotations

import click

from semconv_cli import runs
from semconv_cli.options import Group, Job, json_option, setting
from semconv_cli.state import State, pass_state


@click.group("backbone", cls=Group)
def backbone_command() -> None:
    """Choose the language model that `semconv finetune` trains."""


@backbone_command.command("create", cls=Job)
@setting("--width", "backbone.width")
@setting("--layers", "backbone.layers")
@setting("--heads", "backbone.heads")
@setting("--vocabulary", "backbone.vocabulary")
@setting("--seed", "backbone.seed")
@json_option
@pass_state
def backbone_create(state: State, as_json: bool) -> None:
    """Create the built-in backbone, a small decoder.

    The tokenizer and the input embeddings of the built-in backbone are computed from the item texts. All other weights
    of the built-in backbone are random.
    """
    with state.open() as project:
        record = project.backbone_create()
    runs.write_run(state, record, as_json)


@backbone_command.command("use", cls=Job)
@click.argument("path")
@setting("--trust-remote-code", "backbone.trust_remote_code")
@json_option
@pass_state
def backbone_use(state: State, path: str, as_json: bool) -> None:
    """Use a pretrained causal language model as the backbone.

    PATH is a local folder, a GGUF file, or a name on the Hugging Face Hub. A GGUF file needs the extra semconv[gguf]. Its
    weights are converted to float32 and kept in the project.
    """
    with state.open() as project:
        record = project.backbone_use(path)
    runs.write_run(state, record, as_json)
