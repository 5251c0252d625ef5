"""Presets: each value has a source and a meaning, init writes them, and the documentation shows what they change."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from semconv.errors import SettingsError
from semconv.settings.load import load_settings, setting_values
from semconv.settings.presets import preset_names, read_preset
from semconv.settings.text import settings_template
from semconv.settings.tree import Settings
from semconv_cli.main import cli
from tests.worlds.paths import ROOT

PAPER = (ROOT / "docs" / "method.md").read_text()
DEFAULTS = {setting.name: setting.default for setting in setting_values(environment={})}
EACH = pytest.mark.parametrize("name", preset_names())
# Parts of the paper that a source may name.
PARTS = ("Alignment Tokenization", "Alignment Task", "Inference", "Datasets", "Baselines", "Table", "equation")


def as_set(name: str) -> dict[str, Any]:
    """The settings of a preset as the program sees them."""
    settings = load_settings(environment={}, overrides=read_preset(name).values)
    return {
        key: getattr(getattr(settings, key.partition(".")[0]), key.partition(".")[2])
        for key in read_preset(name).values
    }


@EACH
def test_each_line_is_a_setting_with_a_source(name: str) -> None:
    found = read_preset(name)
    assert found.values.keys() == found.sources.keys() != set()
    assert set(found.values) <= set(DEFAULTS)
    assert all(line for line in found.about)
    for key, source in found.sources.items():
        if source.startswith("docs/method.md, "):
            place = source.removeprefix("docs/method.md, ").partition(":")[0]
            assert re.search(rf"^(?:\*\*|## ){re.escape(place)}\b", PAPER, flags=re.MULTILINE), (key, source)
        else:
            assert source.startswith("paper, "), (key, source)
            assert source.removeprefix("paper, ").startswith(PARTS), (key, source)


def test_presets_hold_the_choices_of_the_paper() -> None:
    for name in preset_names():
        values = read_preset(name).values
        assert values["split.train_cut"] == "[:-1]"
        assert (values["behavior.source"], values["behavior.dimensions"]) == ("dccf", 32)
        assert (values["codebook.levels"], values["codebook.codes"]) == (4, 256)
        assert (values["codebook.alignment"], values["codebook.shrinkage"]) == (1.0, 0.0)
        assert (values["codebook.residual"], values["codebook.collisions"]) == ("signed", "keep")
        assert (values["tasks.negatives"], values["tasks.negative_share"], values["tasks.position_share"]) == (3, 1, 1)
        assert (values["tuning.history"], values["tuning.code_start"]) == ("tokens", "random")
        assert (values["tuning.loss_over"], values["tuning.history_loss"]) == ("vocabulary", 0)
        assert (values["recommend.seen"], values["recommend.scores"], values["blend.use"]) == ("kept", "full", "never")
    llm = read_preset("paper-llm").values
    assert (llm["tuning.mode"], llm["tuning.lora_rank"], llm["tuning.lora_alpha"]) == ("lora", 8, 32)
    assert (llm["tuning.learning_rate"], llm["tuning.epochs"], llm["tuning.weight_decay"]) == (5e-5, 4, 0.01)


def test_presets_differ_only_in_backbone_and_tuning() -> None:
    small, large = read_preset("paper").values, read_preset("paper-llm").values
    differ = {key for key in small.keys() | large.keys() if small.get(key) != large.get(key)}
    assert {key.partition(".")[0] for key in differ} == {"backbone", "tuning"}


@EACH
def test_init_writes_every_setting_and_its_source(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["init", str(tmp_path / "p"), "--preset", name])
    assert result.exit_code == 0, result.stderr
    assert ("backbone use MODEL" in result.stderr) == (name == "paper-llm")
    file = tmp_path / "p" / "semconv.toml"
    assert load_settings(file, environment={}) == load_settings(environment={}, overrides=read_preset(name).values)
    text = file.read_text()
    assert f"preset {name}" in text.splitlines()[0]
    for key, source in read_preset(name).sources.items():
        assert re.search(rf"^{key.partition('.')[2]} = .* # {re.escape(source)}", text, flags=re.MULTILINE)
    uncommented = re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)
    file.write_text(uncommented)
    assert load_settings(file, environment={}) == load_settings(environment={}, overrides=read_preset(name).values)
    assert uncommented.count(" = ") >= settings_template().count(" = ")


def test_a_wrong_name_is_refused_with_the_names_that_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no preset llama; give one of paper, paper-llm"):
        read_preset("llama")
    result = CliRunner().invoke(cli, ["init", str(tmp_path / "p"), "--preset", "llama"])
    assert result.exit_code == 2
    assert "'llama' is not one of 'paper', 'paper-llm'" in result.stderr
    assert not (tmp_path / "p").exists()


def test_show_settings_says_where_each_value_comes_from(tmp_path: Path) -> None:
    assert CliRunner().invoke(cli, ["init", str(tmp_path), "--preset", "paper"]).exit_code == 0
    base = ["--project", str(tmp_path), "show", "settings", "--json"]
    command = [*base, "--set", "codebook.alignment=0.3"]
    result = CliRunner().invoke(cli, command, env={"SEMCONV_TASKS_NEGATIVES": "5"})
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows.keys() == DEFAULTS.keys()
    expected = {
        "codebook.alignment": (0.3, 0.1, "the command line"),
        "tasks.negatives": (5, 3, "the variable SEMCONV_TASKS_NEGATIVES"),
        "split.k_core": (1, 2, "semconv.toml"),
        "split.temporal_at": ("", "", "default"),
    }
    for name, values in expected.items():
        assert (rows[name]["value"], rows[name]["default"], rows[name]["source"]) == values
    compared = CliRunner().invoke(cli, [*command, "--preset", "paper"], env={"SEMCONV_TASKS_NEGATIVES": "5"})
    differing = [row["name"] for row in json.loads(compared.stdout) if row["differs"]]
    assert (
        differing
        == ["codebook.alignment", "tasks.negatives"]
        == [row["name"] for row in json.loads(compared.stdout)[:2]]
    )
    assert "2 of " in compared.stderr


def test_the_documentation_lists_every_default_that_differs() -> None:
    """If this fails, change the table in docs/method.md: it shows the defaults and the presets as they are."""
    part = PAPER.partition("## The paper's settings\n")[2].partition("\n## ")[0]
    lines = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines() if line.startswith("| `")
    ]
    shown = {line[0].strip("` "): line[1:] for line in lines}
    assert len(shown) == len(lines)
    values = {name: as_set(name) for name in ("paper", "paper-llm")}
    differ = [
        key for key, default in DEFAULTS.items() if any(own.get(key, default) != default for own in values.values())
    ]
    assert list(shown) == differ
    for key in differ:
        default, paper, llm, reason = shown[key]
        assert json.loads(default.strip("`")) == ("" if DEFAULTS[key] is None else DEFAULTS[key]), key
        for cell, own in ((paper, values["paper"]), (llm, values["paper-llm"])):
            assert (json.loads(cell.strip("`")) == own[key]) if key in own else cell == "–", key
        assert reason.endswith("."), key


def test_a_project_without_a_preset_keeps_its_defaults(tmp_path: Path) -> None:
    assert CliRunner().invoke(cli, ["init", str(tmp_path)]).exit_code == 0
    assert load_settings(tmp_path / "semconv.toml", environment={}) == Settings()
