"""The tables of the paper from the command line to the report, on a small shop with a small model."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from semconv_cli.main import cli
from tests.worlds.projects import make_project

pytestmark = pytest.mark.slow

# The preset's model takes minutes on this shop; these sizes take seconds.
SMALL = {
    "dccf.epochs": 2,
    "dccf.batches_per_epoch": 2,
    "dccf.batch_size": 64,
    "dccf.validation_users": 20,
    "rqvae.epochs": 2,
    "backbone.width": 16,
    "backbone.layers": 1,
    "backbone.heads": 2,
    "backbone.mlp_width": 32,
    "backbone.vocabulary": 320,
    "backbone.context": 512,
    "codebook.codes": 16,
    "tuning.validation_users": 20,
    "recommend.top_k": 10,
    "evaluate.bootstrap_samples": 50,
    "evaluate.counter_search_users": 0,
}


def experiment(root: Path, *words: str, code: int = 0) -> Result:
    arguments = ["--project", str(root), "experiment", *words]
    for name, value in SMALL.items():
        arguments += ["--set", f"{name}={value}"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == code, result.stderr
    return result


def result_of(root: Path, *words: str) -> dict:
    return json.loads(experiment(root, *words, "--json").stdout)


ITEMS = "with item head and dates"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("tables")).layout.root


def test_table_3_runs_on_validation_and_then_on_test_items(root: Path, tmp_path: Path) -> None:
    words = ("table3", "--budget", "600", "--seeds", "2")
    refused = experiment(root, *words, "--split", "test", code=2)
    assert (
        "no finished run on [:-2] with the same settings, data and seed has chosen the number of epochs"
        in refused.stderr
    )
    valid = result_of(root, *words)
    assert (valid["split"], valid["train_cut"], valid["seen"], valid["budget"]) == ("valid", "[:-2]", "kept", 600)
    labels = ["ED", "w/o LA", "w/o NS", "absolute residual", "Ours", ITEMS]
    assert [row["label"] for row in valid["means"]] == labels
    assert {row["label"] for row in valid["rows"]} == set(labels)
    for row in valid["rows"]:  # a batch more at most
        assert 600 <= row["tuning_samples"] < 600 + (2048 if row["label"] == ITEMS else 300)
    report = tmp_path / "table3.md"
    said = experiment(root, *words, "--split", "test", "--report", str(report)).stderr
    assert "published figures are left out: the data has 80 users" in said
    test = result_of(root, *words, "--split", "test")
    assert (test["split"], test["train_cut"]) == ("test", "[:-1]")
    assert [row["claim"] for row in test["verdicts"]] == ["Ours > ED", "Ours > w/o LA", "Ours > w/o NS"]
    assert [row["paper difference"] for row in test["verdicts"]] == [0.0031, 0.0001, 0.0047]
    runs = root / "data" / "experiments" / "data" / "runs"
    chosen = {(row["label"], row["seed"]): _figures(runs, row)["best_epoch"] for row in valid["rows"]}
    for row in test["rows"]:
        figures = _figures(runs, row)
        assert figures["epochs"] == chosen[row["label"], row["seed"]] or figures["samples"] >= 600
    assert "## The claims of the paper" in report.read_text()


def test_ours_is_computed_once_for_all_tables(root: Path) -> None:
    words = ("--budget", "600")
    ours = {}
    for table, label in (("table3", "Ours"), ("table4", "1:3"), ("table7", "Ours"), ("table8", "Ours w/ T")):
        found = result_of(root, table, *words)
        (row,) = [row for row in found["rows"] if row["label"] == label]
        ours[table] = (row["finetune_run_id"], row["evaluate_run_id"])
    assert len(set(ours.values())) == 1
    table5 = result_of(root, "table5", *words)
    rates = {row["label"]: (row["collision_rate"], row["collision_rate_distinct"]) for row in table5["means"]}
    assert rates["C = 1"] == (0.0, 0.0)
    assert rates["C = 2"][0] > rates["C = 2"][1] > 0
    assert [row["new_tokens"] for row in table5["means"]] == [60, 32, 48, 64, 80]


def test_table_1_has_peers_and_published_codes(root: Path, tmp_path: Path) -> None:
    codes = tmp_path / "codes.parquet"
    ids, listed = [f"i{number:03d}" for number in range(60)], [[number // 8, number % 8] for number in range(60)]
    pl.DataFrame({"item_id": ids, "codes": listed}).write_parquet(codes)
    words = ("table1", "--budget", "600", "--codes", str(codes))
    valid = result_of(root, *words)
    assert [row["label"] for row in valid["left_out"]] == ["P5"]
    assert [row["label"] for row in valid["means"]] == [
        "popularity", "transition counter", "SASRec", "BERT4Rec", "FMLP", "DCCF", "LC-Rec", "Ours", ITEMS,
    ]  # fmt: skip
    trained = {row["label"]: row["tuning_samples"] for row in valid["rows"]}
    assert trained["popularity"] is trained["DCCF"] is None
    assert all(600 <= trained[label] < 900 + 128 * 20 for label in ("SASRec", "BERT4Rec", "FMLP", "LC-Rec", "Ours"))
    test = result_of(root, *words, "--split", "test")
    assert {row["train_cut"] for row in test["rows"]} == {"[:-1]"}
    assert {row["num_users"] for row in test["rows"]} == {test["rows"][0]["num_users"]}
    runs = root / "data" / "experiments" / "data" / "runs"
    for before, after in zip(valid["rows"], test["rows"], strict=True):
        if before["method"] in ("sasrec", "bert4rec", "fmlp"):
            chosen, trained = (_peer_figures(runs, row) for row in (before, after))
            assert trained["epochs"] == chosen["best_epoch"] or trained["samples"] >= 600
            assert trained["best_ndcg"] is None


def test_table_6_compares_backbones_and_refuses_one(root: Path) -> None:
    refused = experiment(root, "table6", "--backbone", "built-in", code=2)
    assert "table6 compares backbones, and only built-in is given" in refused.stderr
    found = result_of(root, "table6", "--budget", "600", "--backbone", "built-in:1x8", "--backbone", "built-in")
    assert [row["label"] for row in found["means"]] == ["built-in:1x8", "built-in"]
    assert found["reference"] == "built-in:1x8"
    assert found["verdicts"] == []  # the paper has no figures of them
    assert found["means"][1]["ndcg@10_less_reference"] is not None
    assert found["rows"][0]["finetune_run_id"] != found["rows"][1]["finetune_run_id"]


def _peer_figures(runs: Path, row: dict) -> dict:
    protocol = pl.read_parquet(runs / row["evaluate_run_id"] / "table-metric.parquet")["protocol"][0]
    return json.loads((runs / json.loads(protocol)["peer_run"] / "figures.json").read_text())


def _figures(runs: Path, row: dict) -> dict:
    return json.loads((runs / row["finetune_run_id"] / "figures.json").read_text())


def test_new_data_is_seen(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    plan = tmp_path / "plan.toml"
    plan.write_text('[[row]]\nlabel = "popular"\nmethod = "popularity"\n')
    (first,) = project.experiment(str(plan))
    more = tmp_path / "more.jsonl"
    lines = [{"user_id": "fresh", "item_id": f"i{number:03d}", "source_position": number} for number in range(4)]
    more.write_text("\n".join(map(json.dumps, lines)))
    project.ingest_interactions([more], {})
    (second,) = project.experiment(str(plan))
    assert second["num_users"] == first["num_users"] + 1
