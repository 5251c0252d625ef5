"""Tables of the paper and of users: what their files may hold, and which settings the rows of the paper have."""

from pathlib import Path

import pytest

from semconv.errors import InputError, SemconvError, SettingsError
from semconv.peers.settings import Peer
from semconv.settings.load import load_settings
from semconv.settings.presets import read_preset
from semconv.settings.tree import Settings
from semconv_warehouse.experiments.options import ExperimentOptions, backbone_settings, chosen_rows
from semconv_warehouse.experiments.plan import HEADS, PEERS, Experiment, ExperimentRow, read_experiment, shipped
from tests.worlds.paths import ROOT

OURS = {"table1": "Ours", "table3": "Ours", "table4": "1:3", "table5": "C = 4", "table7": "Ours", "table8": "Ours w/ T"}


def settings_of(experiment: Experiment, row: ExperimentRow) -> Settings:
    settings = {**read_preset(experiment.preset).values, **experiment.settings, **row.settings}
    if settings.get("codebook.codes") == "items":
        settings["codebook.codes"] = 100
    return load_settings(None, environment={}, overrides=settings)


def rows_of(name: str) -> dict[str, ExperimentRow]:
    return {row.label: row for row in read_experiment(name).rows}


TABLES = [name for name in shipped() if name.startswith("table")]


@pytest.mark.parametrize("name", TABLES)
def test_shipped_tables_start_from_the_preset_and_hold_valid_settings(name: str) -> None:
    experiment = read_experiment(name)
    assert experiment.preset == "paper"
    for row in experiment.rows:
        settings_of(experiment, row)
    assert any(row.paper for row in experiment.rows)


def test_tables_are_the_papers_that_can_be_run() -> None:
    assert shipped() == ["peers", *(f"table{number}" for number in (1, 3, 4, 5, 6, 7, 8))]
    for name in TABLES:
        rows = read_experiment(name).rows
        assert len([row for row in rows if row.paper.get("Games", {}).get("ndcg@10") == 0.0724]) == 1


def test_ours_is_the_same_row_in_all_tables_and_their_reference() -> None:
    plain = load_settings(None, environment={}, overrides=read_preset("paper").values)
    for name, label in OURS.items():
        experiment = read_experiment(name)
        assert experiment.reference == label
        row = rows_of(name)[label]
        assert settings_of(experiment, row) == plain
        assert (row.method, row.peer, row.codes, row.needs_codes) == ("model", "", None, False)
        assert row.paper["Games"]["ndcg@10"] == 0.0724
    assert set(OURS) == set(TABLES) - {"table6"}  # its rows come from --backbone


def test_the_row_that_starts_from_the_codebooks_names_their_rotation() -> None:
    (label,) = [label for label, row in rows_of("table7").items() if row.settings["tuning.code_start"] == "codebook"]
    assert label == "from the codebooks, rotated"


def test_rows_without_text_take_no_text_into_the_codes() -> None:
    for name, label in (("table3", "w/o LA"), ("table8", "Ours")):
        settings = settings_of(read_experiment(name), rows_of(name)[label])
        assert (settings.codebook.alignment, settings.codebook.shrinkage) == (0.0, 0.0)
        assert settings.text.vectors == "none"
    tasks = settings_of(read_experiment("table8"), rows_of("table8")["Ours"]).tasks
    assert (tasks.text, tasks.query) == (False, False)


def test_every_position_has_its_negatives() -> None:
    experiment = read_experiment("table4")
    for number, row in enumerate(experiment.rows):
        tasks = settings_of(experiment, row).tasks
        assert (tasks.negatives, tasks.negative_share, tasks.position_share, tasks.late_position_share) == (
            number,
            1,
            1,
            1,
        )


def test_collisions_are_kept_except_where_every_item_has_an_own_code() -> None:
    experiment = read_experiment("table5")
    kept = {row.label: settings_of(experiment, row).codebook.collisions for row in experiment.rows}
    assert kept == {"C = 1": "resolve", **{f"C = {number}": "keep" for number in range(2, 6)}}


def test_rows_that_cannot_be_computed_are_left_out_with_a_reason(tmp_path: Path) -> None:
    chosen, left_out = chosen_rows(read_experiment("table1"), ExperimentOptions())
    assert [row.label for row in left_out] == ["P5", "LC-Rec"]
    assert "encoder-decoder model (T5)" in left_out[0].reason
    assert "--codes" in left_out[1].reason
    assert {row.peer for row in chosen.rows} == {"", *PEERS}
    codes = tmp_path / "codes.parquet"
    codes.touch()
    chosen, left_out = chosen_rows(read_experiment("table1"), ExperimentOptions(codes=codes))
    assert [row.label for row in left_out] == ["P5"]
    assert {row.label: row.codes for row in chosen.rows if row.codes} == {"LC-Rec": codes}
    with pytest.raises(InputError, match=r"no such file; give --codes NAME\.index\.json, or a Parquet file"):
        chosen_rows(read_experiment("table1"), ExperimentOptions(codes=tmp_path / "none"))
    with pytest.raises(SettingsError, match="table3 has no row that needs --codes"):
        chosen_rows(read_experiment("table3"), ExperimentOptions(codes=codes))


@pytest.mark.parametrize(
    ("backbones", "says"),
    [
        ((), "table6 compares backbones, and none is given; give --backbone at least twice"),
        (("built-in",), "table6 compares backbones, and only built-in is given; give --backbone at least twice"),
        (("a/b", "a/b"), "only a/b is given"),
    ],
)
def test_one_backbone_is_no_comparison(backbones: tuple[str, ...], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        chosen_rows(read_experiment("table6"), ExperimentOptions(backbones=backbones))


def test_each_backbone_is_a_row_and_only_models_of_the_paper_have_its_figures() -> None:
    options = ExperimentOptions(
        backbones=("built-in", "built-in:2x64", "huggyllama/llama-7b", "/models/Llama-2-7b-hf/")
    )
    experiment, left_out = chosen_rows(read_experiment("table6"), options)
    assert left_out == []
    assert experiment.reference == "built-in"
    assert [row.paper.get("Games", {}).get("ndcg@10") for row in experiment.rows] == [None, None, 0.0724, 0.0699]
    paths = [row.settings["backbone.path"] for row in experiment.rows]
    assert paths == ["", "", "huggyllama/llama-7b", "/models/Llama-2-7b-hf/"]
    assert settings_of(experiment, experiment.rows[1]).backbone.mlp_width == 192
    with pytest.raises(SettingsError, match="table3 has one backbone"):
        chosen_rows(read_experiment("table3"), options)


@pytest.mark.parametrize(
    "name",
    [
        "built-in:2",
        "built-in:2x63",
        "built-in:2x12",
        "built-in:1x20",
        "built-in:0x64",
        "built-in:2x0",
        "built-in:axb",
        "built-in:",
    ],
)
def test_a_size_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(
        SettingsError, match=f"--backbone {name}: write the number of layers and the width, a multiple of 8"
    ):
        backbone_settings(name)


def test_a_budget_ends_every_training() -> None:
    assert ExperimentOptions().limits() == {}
    limits = ExperimentOptions(budget=500).limits()
    assert limits["tuning.max_samples"] == 500
    assert limits["tuning.epochs"] >= 1000
    assert limits["tuning.patience"] >= 1000


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("row = ", InputError, "TOML"),
        ("", InputError, "at least one"),
        ("[[row]]\n", InputError, "the row has no label"),
        ('[[row]]\nlabel = "a"\n[[row]]\nlabel = "a"\n', InputError, "same label"),
        ('[[row]]\nlabel = "a"\nsettings = { "tuning.epoch" = 1 }\n', SettingsError, "tuning.epoch"),
        ('[[row]]\nlabel = "a"\nset = 1\n', SettingsError, "unknown key set"),
        ('[[row]]\nlabel = "a"\npaper.Games = { "mrr" = 1.0 }\n', SettingsError, "unknown key mrr"),
        ('[[row]]\nlabel = "a"\npaper.Games = { "hr@5" = "high" }\n', InputError, "is not a number"),
        (
            '[[row]]\nlabel = "a"\npaper = { "hr@5" = 0.1 }\n',
            SettingsError,
            "paper.hr@5: unknown data set; give one of Games",
        ),
        ('[[row]]\nlabel = "a"\npeer = "p5"\n', SettingsError, "no peer p5; give one of sasrec, bert4rec, fmlp"),
        ('[[row]]\nlabel = "a"\npeer = "fmlp"\nmethod = "model"\n', SettingsError, "either a peer or a method"),
        ('preset = "papers"\n[[row]]\nlabel = "a"\n', SettingsError, "no preset papers; give one of paper"),
        ('reference = "b"\n[[row]]\nlabel = "a"\n', InputError, "the reference 'b' is no row"),
        ('[[row]]\nlabel = "a"\nleft_out = "x"\n', InputError, "the reference '' is no row"),
        ('[[row]]\nlabel = "a"\n[[claim]]\nbetter = "a"\nthan = "b"\n', InputError, "there is no row 'b'"),
        ('claim = 3\n[[row]]\nlabel = "a"\n', InputError, "`claim` is not a list of tables"),
        ('compares = "seeds"\n[[row]]\nlabel = "a"\n', SettingsError, "compares = 'seeds' must be 'backbones'"),
        ('[[row]]\nlabel = "a"\nsettings = 3\n', InputError, "settings must be a TOML table"),
        ('[[row]]\nlabel = "a"\ncodes = "none.parquet"\n', InputError, "does not exist"),
        ("row = 3\n", InputError, "not a list of tables"),
        ('model = "mine"\n[[row]]\nlabel = "a"\n', SettingsError, "model = 'mine' must be 'project'"),
        (
            'model = "project"\npreset = "paper"\n[[row]]\nlabel = "a"\n',
            SettingsError,
            "measures the project's own model, so preset has no meaning",
        ),
        (
            'model = "project"\n[[row]]\nlabel = "a"\nsettings = { "tuning.epochs" = 1 }\n',
            SettingsError,
            "row a: model = 'project' measures the project's own model, so a row has no settings",
        ),
        ('[[row]]\nlabel = "a"\nhead = "items"\n', SettingsError, "strongest_of and head belong to a leaderboard"),
        (
            'model = "project"\n[[row]]\nlabel = "a"\nhead = "both"\n',
            SettingsError,
            "head = 'both' must be items or codes",
        ),
        (
            'model = "project"\n[[row]]\nlabel = "a"\nhead = "items"\nmethod = "blend"\n',
            SettingsError,
            "head = 'items' must be items or codes, in a row of the method model",
        ),
        ('strongest_of = ["b"]\n[[row]]\nlabel = "a"\n', InputError, "strongest_of = .* must be a list of labels"),
        ('strongest_of = "a"\n[[row]]\nlabel = "a"\n', InputError, "strongest_of = 'a' must be a list of labels"),
        ('[[row]]\nlabel = "a"\ndates = true\n', SettingsError, "dates is an option of a peer"),
        ('[[row]]\nlabel = "a"\npeer = "fmlp"\ntexts = true\n', SettingsError, "fmlp reads items only; remove texts"),
        ('[[row]]\nlabel = "a"\npeer = "fmlp"\ntime = "long"\n', SettingsError, "time = 'long' must be 'model'"),
        ('[[row]]\nlabel = "a"\npeer = "sasrec"\ndates = 1\n', SettingsError, "dates = 1 must be true or false"),
        ("row = [3]\n", InputError, "row 1: this is not a table"),
    ],
)
def test_bad_plans_are_named(tmp_path: Path, text: str, error: type[SemconvError], says: str) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(error, match=says):
        read_experiment(str(file))


def test_a_file_that_is_missing_is_told_from_a_table_that_nobody_knows() -> None:
    with pytest.raises(InputError, match=r"^mine\.toml: no such file; give the path of a TOML file$"):
        read_experiment("mine.toml")
    with pytest.raises(InputError, match="there is no experiment table9; give one of peers, table1, table3"):
        read_experiment("table9")
    with pytest.raises(InputError, match="`semconv show data` prints them"):
        read_experiment("table2")


def test_settings_may_be_written_as_in_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text('[settings.tuning]\nepochs = 2\n[[row]]\nlabel = "a"\nsettings.codebook.levels = 3\n')
    experiment = read_experiment(str(file))
    assert experiment.settings == {"tuning.epochs": 2}
    assert experiment.rows[0].settings == {"codebook.levels": 3}


def test_rows_of_the_leaderboard_are_measured_beside_the_projects_model() -> None:
    experiment, rows = read_experiment("peers"), rows_of("peers")
    assert experiment.uses_project
    assert rows[experiment.reference].method == "blend-without-model"
    assert {rows[label].method for label in experiment.rivals} == {
        "transition",
        "transition-tuned",
        "transition-smoothed",
        "transition-two-hops",
    }
    assert rows["SASRec"].peer_for(12.5) == Peer("sasrec", dates=True, texts=True, processor_seconds=12.5)
    assert rows["SASRec"].peer_for(None).processor_seconds == 0
    assert rows_of("table1")["SASRec"].peer_for(12.5) == Peer("sasrec")  # other tables have their own limits
    assert [rows[f"model, {head} head"].head for head in ("item", "code")] == list(HEADS)


def test_the_documentation_names_every_table_and_key() -> None:
    page = (ROOT / "docs" / "experiments.md").read_text()
    assert all(
        f"`{name}`" in page
        for name in (
            *shipped(),
            "preset",
            "reference",
            "peer",
            "left_out",
            "needs_codes",
            "head",
            "dates",
            "texts",
            "time",
            "strongest_of",
        )
    )
