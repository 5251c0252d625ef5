"""``semconv codebook``: turn item vectors into codes."""

from __future__ import annotations

from pathlib import Path

import click

from semconv_cli import code_report, output, runs
from semconv_cli.options import FILE, Group, Job, html_option, json_option, setting
from semconv_cli.state import State, pass_state


@click.group("codebook", cls=Group)
def codebook_command() -> None:
    """Make codes, a few numbers per item, from item vectors."""


@codebook_command.command("fit", cls=Job)
@setting("--levels", "codebook.levels")
@setting("--codes", "codebook.codes")
@setting("--alignment", "codebook.alignment")
@setting("--collisions", "codebook.collisions")
@setting("--seed", "codebook.seed")
@json_option
@pass_state
def codebook_fit(state: State, as_json: bool) -> None:
    """Fit the codebooks. Every item that has a behaviour vector gets codes."""
    with state.open() as project:
        record = project.codebook_fit()
    runs.write_run(state, record, as_json)


@codebook_command.command("load", cls=Job)
@click.argument("file", type=FILE)
@json_option
@pass_state
def codebook_load(state: State, file: Path, as_json: bool) -> None:
    """Load external codes. FILE is a Parquet file of item_id and codes, a list of N numbers for each item, or a file
    NAME.index.json of LC-Rec.

    The file determines the number of levels and codes. External codes come without codebook vectors, which has three
    effects. Of several items with the same codes, the less popular ones get the lowest free code of the last level
    (setting codebook.collisions). With external codes, new items do not get codes from their text. The embeddings of
    the code tokens cannot start from codebook vectors. `semconv run` keeps external codes until the next
    `semconv codebook fit` or `semconv codebook load`.
    """
    with state.open() as project:
        record = project.codebook_load(file)
    runs.write_run(state, record, as_json)


@codebook_command.command("assign", cls=Job)
@json_option
@pass_state
def codebook_assign(state: State, as_json: bool) -> None:
    """Predict codes of new items from their text.

    The command works on the code set of the current model, and on a newer code set on which no model is tuned yet. It
    never changes codes that an item already has.
    """
    with state.open() as project:
        record = project.codebook_assign()
    if record is not None:
        runs.write_run(state, record, as_json)
        return
    state.remark("no new items with text; nothing to assign")
    if as_json:
        output.write_json(None)


@codebook_command.command("report")
@click.option(
    "--codes",
    type=FILE,
    metavar="FILE",
    help="Report on external codes in this file, instead of the current codes: a Parquet file of item_id and codes, or a"
    " file NAME.index.json of LC-Rec.",
)
@html_option
@json_option
@pass_state
def codebook_report(state: State, codes: Path | None, html: Path | None, as_json: bool) -> None:
    """Report the quality of the codes.

    The report shows how evenly the codes are used, how many items got the same codes, how large the errors are, and
    whether a refit is due.
    """
    with state.open() as project:
        report = project.codebook_report(codes=codes, html=html)
    if as_json:
        output.write_json(report)
    else:
        code_report.write_report(report)
    if html is not None:
        state.remark(f"wrote {html}")
