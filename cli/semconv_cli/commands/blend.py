"""``semconv blend``: combine the scores of the model with the scores of simpler methods."""

from __future__ import annotations

import click

from semconv_cli import output
from semconv_cli.options import Command, json_option, setting
from semconv_cli.state import State, pass_state


@click.command("blend", cls=Command, short_help="Combine the model's scores with simpler scores.")
@setting("--use", "blend.use")
@setting("--candidates", "blend.candidates")
@setting("--shortlist", "blend.shortlist")
@setting("--fit-users", "blend.fit_users")
@json_option
@pass_state
def blend_command(state: State, as_json: bool) -> None:
    """Fit the weights of the blend for the current model on validation users. The fit never uses test items.

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
    compared = report["comparison"]
    interval = f"{compared['difference']:+.4f} ({compared['ci_low']:+.4f} to {compared['ci_high']:+.4f})"
    is_used = use == "always" or (use == "auto" and report["is_better"])
    output.write_fields(
        {
            "run": report["run_id"],
            "blend against model, NDCG@10": interval,
            "is better": report["is_better"],
            "recommend serves": f"{'the blend' if is_used else 'the model'} (blend.use = {use})",
        }
    )
