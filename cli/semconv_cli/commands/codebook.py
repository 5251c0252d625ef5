"""``semconv codebook``: vectors into codes."""

from __future__ import annotations

from pathlib import Path

import click

from semconv_cli import code_report, output, runs
from semconv_cli.options import Group, json_option, setting
from semconv_cli.state import State, pass_state


@click.group("codebook", cls=Group)
def codebook_command() -> None:
    """Turn item vectors into short code sequences."""


@codebook_command.command("fit")
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
    runs.write_run(record, as_json)


@codebook_command.command("assign")
@json_option
@pass_state
def codebook_assign(state: State, as_json: bool) -> None:
    """Give new items codes from their text. Codes already given never change."""
    with state.open() as project:
        record = project.codebook_assign()
    if record is not None:
        runs.write_run(record, as_json)
        return
    state.remark("no new item with text: nothing to assign")
    if as_json:
        output.write_json(None)


@codebook_command.command("report")
@click.option(
    "--codes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
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
