"""``semconv blend``: combine the scores of the model with the scores of simpler methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from semconv_cli import output
from semconv_cli.options import Command, json_option, setting
from semconv_cli.state import State, pass_state


@click.command("blend", cls=Command, short_help="Combine the model's scores with simpler scores.")
@setting("--use", "blend.use")
@setting("--model", "blend.model")
@setting("--candidates", "blend.candidates")
@setting("--shortlist", "blend.shortlist")
@setting("--fit-users", "blend.fit_users")
@json_option
@pass_state
def blend_command(state: State, as_json: bool) -> None:
    """Fit the weights of the blend for the current model on validation users. The fit never uses test items.

    With blend.model = false, the command fits a blend that needs no model and no codes, only behaviour vectors.

    The command prints the weights, the metrics of each method on validation users, and whether `semconv recommend` uses
    the blend (setting blend.use). The metrics are cross-fitted: no user is measured with weights that were fitted on
    this user.
    """
    with state.open() as project:
        report = project.blend()
        use = project.settings.blend.use
    if as_json:
        output.write_json({**report, "use": use})
        return
    output.write_rows(report["weights"], columns=["feature", "weight", "weight_without_model"])
    output.write("")
    output.write_rows(report["figures"], columns=["method", "hr@1", "hr@5", "hr@10", "ndcg@10", "ci_low", "ci_high"])
    output.write("")
    if "gain" in report:
        from semconv.evaluation.gain import difference_in_words  # loads numpy

        output.write(f"{difference_in_words(10, report['gain'])}\n")
    output.write_fields({"run": report["run_id"], **_verdict(report, use)})


def _verdict(report: Mapping[str, Any], use: str) -> dict[str, Any]:
    """Return the comparison of the blend with the model, and which of them is served."""
    compared = report.get("comparison")
    if compared is None:
        return {"recommend serves": "the blend (blend.model = false)"}
    is_used = use == "always" or (use == "auto" and report["is_better"])
    return {
        "blend against model, NDCG@10": f"{compared['difference']:+.4f} ({compared['ci_low']:+.4f} to {compared['ci_high']:+.4f})",
        "is better": report["is_better"],
        "recommend serves": f"{'the blend' if is_used else 'the model'} (blend.use = {use})",
    }
