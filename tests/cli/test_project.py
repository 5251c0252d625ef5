"""Tests of all commands on a small project: from files to tables, lists and features."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from semconv_cli.main import cli
from tests.worlds import projects

ITEMS, USERS, LENGTH = 40, 60, 7
SETTINGS = projects.SETTINGS.replace("top_k = 10", "top_k = 5")


def invoke(project: Path, *args: str, code: int = 0) -> Result:
    """Run one command on the project in this process and check its exit code."""
    result = CliRunner().invoke(cli, ["--project", str(project), *args])
    assert result.exit_code == code, result.stderr
    return result


def read(project: Path, *args: str) -> Any:
    return json.loads(invoke(project, *args, "--json").stdout)


def write_files(folder: Path) -> None:
    """Write items, one without a title and one without an id, and interactions with other column names."""
    colors, things = ["red", "blue", "green", "black", "white"], ["lamp", "chair", "table", "clock"]
    with (folder / "items.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["item_id", "title", "description", "weight"])
        for item in range(ITEMS):
            title = "" if item == 3 else f"{colors[item % 5]} {things[item % 4]} no {item}"
            writer.writerow([f"i{item}", title, f"a {things[item % 4]} in {colors[item % 5]}", item])
        writer.writerow(["", "no id", "", 1])
    rng = np.random.default_rng(0)
    with (folder / "clicks.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["who", "what", "at"])
        for user in range(USERS):
            for day, item in enumerate(rng.choice(ITEMS, LENGTH, replace=False), start=1):
                writer.writerow([f"u{user}", f"i{item}", f"2024-01-{day:02d} 10:00:00"])
        writer.writerow(["u0", "unknown", "2024-02-01 10:00:00"])
        writer.writerow(["loner", "i1", "2024-02-01 10:00:00"])


MAPS = ["--map", "user_id=who", "--map", "item_id=what", "--map", "event_time=at"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a project and run every stage with its own command."""
    folder = tmp_path_factory.mktemp("shop")
    assert CliRunner().invoke(cli, ["init", str(folder / "p")]).exit_code == 0
    project = folder / "p"
    (project / "semconv.toml").write_text(SETTINGS)
    write_files(folder)
    invoke(project, "ingest", "items", str(folder / "items.csv"), "--rejected", str(folder / "rejected.csv"))
    invoke(project, "ingest", "interactions", str(folder / "clicks.csv"), *MAPS)
    for stage in ("backbone create", "embed behavior", "embed text", "codebook fit", "finetune", "recommend"):
        assert read(project, *stage.split())["status"] == "finished"
    invoke(project, "evaluate")
    invoke(project, "publish")
    return project


def test_ingest_counts_and_repeats_change_nothing(project: Path) -> None:
    folder = project.parent
    report = read(project, "ingest", "interactions", str(folder / "clicks.csv"), *MAPS)
    assert report["read"] == USERS * LENGTH + 2
    assert report["added"] == 0
    assert report["duplicate"] == report["read"]
    again = invoke(project, "ingest", "items", str(folder / "items.csv"))
    assert "rejected" in again.stdout
    assert "no id" in (folder / "rejected.csv").read_text()


def test_stages_are_reused(project: Path) -> None:
    first, again = read(project, "embed", "behavior"), invoke(project, "embed", "behavior")
    assert first["run_id"] in again.stdout
    assert f"{first['run_id']} exists already and is reused" in again.stderr
    other = read(project, "embed", "behavior", "--seed", "1")
    assert other["run_id"] != first["run_id"]
    assert other["settings"]["behavior"]["seed"] == 1


def test_sql_in_every_form(project: Path) -> None:
    statement = "SELECT user_id, rank, item_id, sources FROM current_recommendation ORDER BY user_id, rank LIMIT 7"
    rows = read(project, "sql", statement)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 1, 2]
    lines = invoke(project, "sql", statement, "--ndjson").stdout.splitlines()
    assert [json.loads(line) for line in lines] == rows
    table = list(csv.DictReader(io.StringIO(invoke(project, "sql", statement, "--csv").stdout)))
    assert [row["item_id"] for row in table] == [row["item_id"] for row in rows]
    assert json.loads(table[0]["sources"]) == rows[0]["sources"]
    cut = invoke(project, "sql", statement, "--limit", "3")
    assert len(cut.stdout.splitlines()) == 2 + 3
    assert "first 3 rows" in cut.stderr
    assert "first" not in invoke(project, "sql", statement, "--limit", "7").stderr
    from_stdin = CliRunner().invoke(cli, ["--project", str(project), "sql", "-", "--json"], input=statement)
    assert json.loads(from_stdin.stdout) == rows


@pytest.mark.parametrize(
    "statement", ["DELETE FROM recommendation", "SELEC 1", "SELECT * FROM nowhere", "SELECT 1; SELECT 2"]
)
def test_sql_refuses(project: Path, statement: str) -> None:
    result = invoke(project, "sql", statement, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_lists_are_complete(project: Path) -> None:
    counts = read(project, "sql", "SELECT count(*) AS n, count(DISTINCT user_id) AS users FROM current_recommendation")
    assert counts == [{"n": (USERS + 1) * 5, "users": USERS + 1}]


def test_show(project: Path) -> None:
    user = read(project, "show", "user", "u1")
    assert len(user["history"]) == LENGTH
    assert [row["rank"] for row in user["recommendations"]] == [1, 2, 3, 4, 5]
    text = invoke(project, "show", "user", "u1").stdout
    assert all(row["item_id"] in text for row in user["history"])
    item = read(project, "show", "item", "i5")
    assert item["item_id"] == "i5"
    assert item["semantic_id"] in invoke(project, "show", "item", "i5").stdout
    assert "u999" in invoke(project, "show", "user", "u999", code=4).stderr


def test_evaluate_prints_model_and_baselines(project: Path) -> None:
    rows = read(project, "evaluate")
    methods = {row["method"] for row in rows}
    assert {"model", "popularity", "transition", "behavior-svd"} <= methods
    text = invoke(project, "evaluate").stdout
    assert all(any(line.startswith(method) for line in text.splitlines()) for method in methods)
    assert f"{USERS} users" in text


def test_query_answers_with_items(project: Path) -> None:
    rows = read(project, "recommend", "--query", "a red lamp", "--user", "u1")
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    invoke(project, "recommend", "--query", "a red lamp", "--user", "nobody", code=4)


def test_prompts_export(project: Path, tmp_path: Path) -> None:
    counts = read(project, "prompts", "export", "--output", str(tmp_path / "p.jsonl"))
    assert (tmp_path / "p.jsonl").stat().st_mode & 0o777 == 0o600  # it holds user ids
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert {"task", "prompt", "label", "user_id", "item_id"} <= set(rows[0])
    assert {"sequential", "text", "negative"} <= {row["task"] for row in rows}
    assert "sequential" in counts


def test_records_and_upkeep(project: Path) -> None:
    runs = read(project, "runs", "--limit", "0")
    assert {"backbone", "embed_behavior", "embed_text", "codebook", "finetune", "recommend", "evaluate"} <= {
        run["stage"] for run in runs
    }
    assert runs[0]["run_id"] in invoke(project, "runs").stdout
    assert any(row["is_served"] for row in read(project, "generations"))
    checks = read(project, "check")
    assert len(checks) > 10
    assert all(row["passed"] for row in checks)
    dry = read(project, "prune", "--keep", "1", "--dry-run")
    assert dry["dry_run"] is True
    assert read(project, "runs", "--limit", "0") == runs
    assert all(row["ok"] for row in read(project, "doctor"))


def test_codebook_report_and_assign(project: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    report = read(project, "codebook", "report", "--html", str(tmp_path / "own.html"))
    assert report["run_id"].startswith("codebook")
    assert [row["name"] for row in report["refit"]["drift"]][::3] == ["outgrown_share", "train_interactions"]
    assert [row["levels"] for row in report["collisions"]] == [1, 2]
    assert report["run_id"] in (tmp_path / "own.html").read_text()
    assert "No refit is due" in invoke(project, "codebook", "report").stdout
    limits = (
        "refit.largest_first_code_growth=1",
        "refit.text_error_growth=1",
        "refit.text_coded_share=0",
        "refit.interactions_growth=1",
    )
    strict = [word for limit in limits for word in ("--set", limit)]
    assert "No refit is due" in invoke(project, *strict, "codebook", "report").stdout  # nothing came since the fit
    pq.write_table(pa.table({"item_id": ["i1", "i2", "i3"], "codes": [[0, 1], [0, 1], [2, 1]]}), tmp_path / "c.parquet")
    foreign = read(project, "codebook", "report", "--codes", str(tmp_path / "c.parquet"))
    assert (foreign["items"], foreign["collisions"][1]["share_after"]) == (3, pytest.approx(2 / 3))
    result = invoke(project, "codebook", "assign", "--json")
    assert result.stderr or json.loads(result.stdout)["stage"] == "assign"


def test_features(project: Path) -> None:
    invoke(project, "features", "apply")
    status = read(project, "features", "materialize")
    assert status["is_current"] is True
    top = read(project, "features", "get", "--user", "u1")
    listed = read(project, "show", "user", "u1")["recommendations"]
    assert top["user_top_k"]["item_ids"] == [row["item_id"] for row in listed]
    assert "item_embedding" in read(project, "features", "get", "--item", "i5")
    assert "nobody" in invoke(project, "features", "get", "--user", "nobody", code=4).stderr


def test_recommend_load_takes_external_lists(project: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {"user_id": ["u1", "u1"], "rank": pa.array([1, 2], pa.int32()), "item_id": ["i1", "i2"], "score": [0.5, 0.4]}
    )
    pq.write_table(table, tmp_path / "part.parquet")
    assert read(project, "recommend", "load", str(tmp_path / "part.parquet"))["stage"] == "recommend"
    pq.write_table(table.set_column(2, "item_id", [["i1", "no such item"]]), tmp_path / "bad.parquet")
    assert "no such item" in invoke(project, "recommend", "load", str(tmp_path / "bad.parquet"), code=4).stderr


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Create a project without data."""
    assert CliRunner().invoke(cli, ["init", str(tmp_path / "p")]).exit_code == 0
    return tmp_path / "p"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[tunning]\nx = 1", "semconv.toml: unknown section [tunning]; did you mean tuning?"),
        ("[tuning]\nepoch = 1", "semconv.toml: unknown key epoch in [tuning]; did you mean epochs?"),
        ("[tuning]\nepochs = 0", "epochs"),
        ("[", "TOML"),
    ],
)
def test_wrong_settings_file(fresh: Path, text: str, part: str) -> None:
    (fresh / "semconv.toml").write_text(text)
    result = invoke(fresh, "runs", code=2)
    assert part in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_misspelt_setting_is_named_with_its_source(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = invoke(fresh, "--set", "tuning.lerning_rate=1", "runs", code=2).stderr
    assert stderr.startswith(
        "error: tuning.lerning_rate: unknown key lerning_rate in [tuning]; did you mean learning_rate?"
    )
    assert "did you mean split?" in invoke(fresh, "--set", "spilt.k_core=1", "runs", code=2).stderr
    monkeypatch.setenv("SEMCONV_OTHER_THING", "1")
    invoke(fresh, "runs")
    monkeypatch.setenv("SEMCONV_TUNIN_EPOCHS", "1")
    stderr = invoke(fresh, "runs", code=2).stderr
    assert stderr.startswith("error: the variable SEMCONV_TUNIN_EPOCHS: unknown section [tunin]; did you mean tuning?")
    monkeypatch.delenv("SEMCONV_TUNIN_EPOCHS")
    monkeypatch.setenv("SEMCONV_TUNING_EPOCH", "1")
    assert "the variable SEMCONV_TUNING_EPOCH: unknown key epoch" in invoke(fresh, "runs", code=2).stderr


def test_options_override_variables_which_override_the_file(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fresh / "semconv.toml").write_text("[tuning]\nepochs = 0\n")
    monkeypatch.setenv("SEMCONV_TUNING_EPOCHS", "-1")
    assert "-1" in invoke(fresh, "runs", code=2).stderr
    assert "-2" in invoke(fresh, "--set", "tuning.epochs=-2", "runs", code=2).stderr
    assert "-3" in invoke(fresh, "--set", "tuning.epochs=-2", "runs", "--set", "tuning.epochs=-3", code=2).stderr
    monkeypatch.delenv("SEMCONV_TUNING_EPOCHS")
    stronger = ["--set", "tuning.epochs=3", "--set", "backbone.width=1", "--width", "16"]  # 1 would be refused
    assert "no items" in invoke(fresh, "backbone", "create", *stronger, code=4).stderr


def test_project_is_found_from_a_folder_inside_and_by_variable(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(fresh / "data" / "runs")
    assert CliRunner().invoke(cli, ["runs", "--json"]).stdout == "[]\n"
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(cli, ["runs", "--json"]).exit_code == 4
    monkeypatch.setenv("SEMCONV_PROJECT", str(fresh))
    assert CliRunner().invoke(cli, ["runs", "--json"]).stdout == "[]\n"
    assert CliRunner().invoke(cli, ["runs", "--json", "--project", str(tmp_path)]).exit_code == 4


def test_init_leaves_a_project_as_it_is(fresh: Path) -> None:
    (fresh / "semconv.toml").write_text("[split]\nk_core = 3\n")
    assert CliRunner().invoke(cli, ["init", str(fresh)]).exit_code == 2
    assert (fresh / "semconv.toml").read_text() == "[split]\nk_core = 3\n"


def test_warehouse_that_is_no_database(fresh: Path) -> None:
    (fresh / "data" / "warehouse.duckdb").write_bytes(b"not a database" * 1000)
    result = invoke(fresh, "runs", code=4)
    assert "warehouse.duckdb" in result.stderr
    assert result.stderr.count("\n") == 1


def test_locked_warehouse_names_the_process_and_waiting_helps(fresh: Path) -> None:
    program = (
        "import duckdb, sys\nconnection = duckdb.connect(sys.argv[1])\nprint('open', flush=True)\n"
        "sys.stdin.readline()\nconnection.close()\nprint('closed', flush=True)\nsys.stdin.readline()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, fresh / "data" / "warehouse.duckdb"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "open\n"
        result = invoke(fresh, "runs", code=3)
        assert str(holder.pid) in result.stderr
        assert "--wait" in result.stderr
        assert result.stderr.count("\n") == 1
        waiting = subprocess.Popen(
            [sys.executable, "-m", "semconv_cli", "--project", fresh, "--wait", "60", "runs", "--json"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "closed\n"
        assert waiting.communicate(timeout=60)[0] == "[]\n"
        assert waiting.returncode == 0
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "empty"),
        ("user_id,event_time\nu,2024-01-01\n", "no column item_id"),
        ("user_id,item_id\nu,i\n", "--order file"),
    ],
)
def test_unusable_files_change_nothing(fresh: Path, tmp_path: Path, content: str, part: str) -> None:
    (tmp_path / "f.csv").write_text(content)
    result = invoke(fresh, "ingest", "interactions", str(tmp_path / "f.csv"), code=4)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "f.csv" in result.stderr
    assert part in result.stderr
    assert result.stderr.count("\n") == 1
    assert "0 interactions" in invoke(fresh, "doctor").stdout


def test_missing_file(fresh: Path) -> None:
    assert "nowhere.csv" in invoke(fresh, "ingest", "items", "nowhere.csv", code=4).stderr


@pytest.mark.parametrize(
    "command", ["embed behavior", "codebook fit", "finetune", "recommend", "evaluate", "publish", "run"]
)
def test_a_stage_without_its_input_says_what_is_missing(fresh: Path, command: str) -> None:
    result = invoke(fresh, "-q", *command.split(), code=4)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
