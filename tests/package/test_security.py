"""Promises about security: no pickle, no code from artifacts, no folder that everybody can write to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import published as case
from tests.worlds.paths import ROOT

SOURCES = [
    path
    for folder in ("semconv", "warehouse", "cli", "feature_repo", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
# Code that reads or writes pickle, or runs the content of a file.
UNSAFE = re.compile(
    r"\b(?:import|from)\s+(?:pickle|cPickle|dill|joblib|shelve|marshal)\b"
    r"|\btorch\.(?:load|save)\s*\(|\bnp\.load\s*\(|allow_pickle\s*=\s*True|\bread_pickle\b|\bto_pickle\b"
    r"|weights_only\s*=\s*False|\btarfile\b|\bzipfile\b|unpack_archive|(?<![\w.])(?:eval|exec)\s*\("
)


def test_the_pattern_finds_unsafe_code_alone() -> None:
    for line in (
        "import pickle",
        "torch.load(path)",
        "np.load(f, allow_pickle=True)",
        "eval(text)",
        "from joblib import x",
    ):
        assert UNSAFE.search(line), line
    for line in ("model.eval()", "self.load(path)", "never pickle", "torch.load_something", "exec_driver_sql(x)"):
        assert not UNSAFE.search(line), line


def test_no_source_reads_or_writes_pickle_or_unpacks_an_archive() -> None:
    assert len(SOURCES) > 100
    found = {
        str(path.relative_to(ROOT)): match.group() for path in SOURCES if (match := UNSAFE.search(path.read_text()))
    }
    assert found == {}


def test_weights_come_from_safetensors_alone() -> None:
    calls = [
        call
        for path in SOURCES
        for call in re.findall(r"(?:AutoModel\w*)\.from_pretrained\((.*?)\n\s+\)", path.read_text(), flags=re.DOTALL)
    ]
    assert calls
    assert all("use_safetensors=True" in call for call in calls)


def test_an_artifact_cannot_ask_for_its_code_to_be_run() -> None:
    text = (ROOT / "semconv" / "tuning" / "model.py").read_text()
    assert 'manifest["trust_remote_code"]' not in text


@pytest.fixture
def project(tmp_path: Path) -> Project:
    CliRunner().invoke(cli, ["init", str(tmp_path / "p")])
    return Project.open(tmp_path / "p")


def test_the_data_folder_is_closed_to_other_users(project: Project) -> None:
    assert project.layout.data.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("name", ["data", "feature_repo", "semconv.toml", "data/generations"])
def test_doctor_fails_if_everybody_can_write_to_a_folder(project: Project, name: str) -> None:
    assert [row["ok"] for row in project.doctor() if row["check"] == "permissions"] == [True]
    path = project.layout.root / name
    path.chmod(path.stat().st_mode | 0o002)
    result = CliRunner().invoke(cli, ["--project", str(project.layout.root), "doctor"])
    assert result.exit_code == 1
    assert f"{name} can be written by everybody" in result.stdout


def test_doctor_and_verbose_print_no_secret(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMCONV_RECOMMEND_WHERE", "brand <> 'hush-hush'")
    monkeypatch.setenv("REDIS_PASSWORD", "hush-hush")
    for args in (["doctor"], ["-v", "doctor"], ["-v", "publish"]):
        result = CliRunner().invoke(cli, ["--project", str(project.layout.root), *args])
        assert "hush-hush" not in result.output


def test_a_run_that_claims_a_folder_outside_the_project_is_refused(tmp_path: Path) -> None:
    layout, store = case.make_project(tmp_path / "project")
    outside = tmp_path / "outside"
    outside.mkdir()
    for run_id in ("embed-0", "embed-2"):  # prune keeps the newer one, because a command may continue with it
        case.add_run(store, run_id, "embed_behavior")
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE run SET artifact_path = '../outside' WHERE run_id = 'embed-0'")
    project = Project.open(layout.root)
    result: Any = CliRunner().invoke(cli, ["--project", str(layout.root), "prune"])
    assert result.exit_code == 4
    assert "outside" in result.stderr
    assert outside.exists()
    assert project.layout.data.exists()
