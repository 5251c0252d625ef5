"""Early stopping scores the lists that are served, with either mask, and other masks and scores are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from semconv import metrics
from semconv.data import splits
from semconv.data.histories import Histories
from semconv.runs.files import FIGURES
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.night import fit_all
from semconv.stages.tune.validation import validation_users
from semconv_cli.main import cli
from tests.worlds import listed
from tests.worlds import projects as case


@pytest.mark.parametrize(("seen", "other"), [("kept", "masked"), ("masked", "kept")])
def test_early_stopping_scores_the_lists_that_are_served(tmp_path: Path, seen: str, other: str) -> None:
    settings = case.SETTINGS.replace("[recommend]", f'[recommend]\nseen = "{seen}"')
    project = case.make_project(tmp_path / "project", settings=settings)
    lineage = fit_all(project.workspace)
    sequences, held_out = project.workspace.sequences(), splits.targets(project.workspace.sequences(), "valid")
    codes = ItemCodes.read(project.workspace, lineage.code_runs)
    has_codes = np.zeros(case.NUM_ITEMS, bool)
    has_codes[codes.item_index] = True
    users = validation_users(
        Histories.under(sequences, "valid", 0.0),
        np.ones(len(sequences), dtype=bool),
        has_codes,
        project.settings.tuning,
    )
    listed_items: dict[str, list[str]] = {}
    for row in listed.lists(project, project.recommend(split="valid")).to_pylist():
        listed_items.setdefault(row["user_id"], []).append(row["item_id"])
    items = np.array([[int(item[1:]) for item in listed_items[sequences.user_ids[user]]] for user in users], np.int32)
    wanted = float(metrics.ndcg(metrics.target_ranks(items, held_out[users]), 10).mean())
    figures = json.loads((project.book.folder(lineage.finetune) / FIGURES).read_text())
    assert figures["best_ndcg"] == pytest.approx(wanted, abs=1e-9)
    assert any(set(row) & set(sequences.of(user)[:-2]) for row, user in zip(items, users, strict=True)) == (
        seen == "kept"
    )
    for option, value, named in (
        ("seen", other, f"recommend.seen = {seen}"),
        ("scores", "full", "tuning.loss_over = trie"),
    ):
        for words in (["recommend"], ["blend"], ["evaluate"], ["run"]):
            command = ["--project", str(project.layout.root), "--set", f"recommend.{option}={value}", *words]
            result = CliRunner().invoke(cli, command)
            assert result.exit_code == 2, (words, result.stderr)
            last = result.stderr.strip().splitlines()[-1]
            assert f"recommend.{option} = {value}" in last
            assert named in last
    command = ["--project", str(project.layout.root), "--set", "recommend.scores=full", "finetune"]
    assert CliRunner().invoke(cli, command).exit_code == 2
