"""``semconv codebook``: vectors into codes."""

from __future__ import annotations

from pathlib import Path

import click

from semconv_cli import code_report, output, runs
from semconv_cli.options import Group, Job, json_option, setting
from semconv_cli.state import State, pass_state


@click.group("codebook", cls=Group)
def codebook_command() -> None:
    """Turn item vectors into short code sequences."""


@codebook_command.command("fit", cls=Job)
@setting("--levels", "codebook.levels")
@setting("--codes", "codebook.codes")
@setting("--alignment", "codebook.alignment")
@setting("--collisions", "codebook.collisions")
@setting("--seed", "codebook.seed")
@json_option
@pass_state
def codebook_fit(state: State, as_json: bool) -> None:
    """Fit the code books. Every item with a behaviour vector gets its codes."""
    with state.open() as project:
        record = project.codebook_fit()
    runs.write_run(state, record, as_json)


@codebook_command.command("load", cls=Job)
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@pass_state
def codebook_load(state: State, file: Path, as_json: bool) -> None:
    """Take codes made elsewhere as a code set. A Parquet file of item_id and codes, a list of N numbers; validated.

    The file says how many levels and codes there are. Such codes have no books: items that share all codes are moved
    to the lowest free code of the last level (codebook.collisions), new items get none from their text, and token rows
    cannot start from them. `semconv run` keeps them until the next `semconv codebook fit` or load.
    """
    with state.open() as project:
        record = project.codebook_load(file)
    runs.write_run(state, record, as_json)


@codebook_command.command("assign", cls=Job)
@json_option
@pass_state
def codebook_assign(state: State, as_json: bool) -> None:
    """Give new items codes from their text. Codes already given never change."""
    with state.open() as project:
        record = project.codebook_assign()
    if record is not None:
        runs.write_run(state, record, as_json)
        return
    state.remark("no new item with text: nothing to assign")
    if as_json:
        output.write_json(None)


@codebook_command.command("report")
@click.option(
    "--codes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Report on codes made elsewhere instead: a Parquet file of item_id and codes.",
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the report as one page, too."
)
@json_option
@pass_state
def codebook_report(state: State, codes: Path | None, html: Path | None, as_json: bool) -> None:
    """Tell how well the books fit. Codes in use, collisions, reconstruction, likeness, and whether a refit is due."""
    with state.open() as project:
        report = project.codebook_report(codes=codes, html=html)
    if as_json:
        output.write_json(report)
    else:
        code_report.write_report(report)
    if html is not None:
        state.remark(f"wrote {html}")
