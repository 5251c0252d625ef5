"""A model that reads dates in prompts of code tokens: tuned in full and by adapters, listed, continued and trained elsewhere."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from semconv.artifacts import read_json
from semconv.columns import Split
from semconv.data.histories import Histories
from semconv.data.store import DAY, RunRecord
from semconv.runs.files import MODEL_FOLDER
from semconv.stages import stage_settings
from semconv.stages.tune.inputs import tuning_inputs
from semconv.stages.tune.item_setup import SplitMoments
from semconv.stages.tune.run import wanted_tuning
from semconv.stages.tune.tuned import Tuned, TunedFiles
from semconv.tasks.dates import DateRange
from semconv.tasks.user_prompts import TokenPrompts
from semconv.train.arrays import task_arrays, task_facts
from semconv.tuning.model import MANIFEST, load_tuned
from semconv_warehouse.project import Project
from tests.worlds import dated, elsewhere
from tests.worlds import projects as case
from tests.worlds.parts import read_parts

LORA = dated.TOKENS.replace("[tuning]", '[tuning]\nmode = "lora"\nlora_rank = 4')
MODES = pytest.mark.parametrize("settings", [dated.TOKENS, LORA], ids=["full", "lora"])
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def copied(settings: str, root: Path) -> Project:
    shutil.copytree(dated.tuned_template(settings), root)
    return Project.open(root, progress=case.Remarks())


def folder_of(project: Project, run: RunRecord | None = None) -> Path:
    return project.book.folder(project.workspace.need("finetune") if run is None else run) / MODEL_FOLDER


def lists_by_user(project: Project, run: RunRecord) -> dict[str, list[tuple[str, float]]]:
    """The items of each user's list with their scores, in the order of their ranks."""
    found: dict[str, list[tuple[str, float]]] = {}
    for row in read_parts(project.book.folder(run)).to_pylist():
        found.setdefault(row["user_id"], []).append((row["item_id"], row["score"]))
    return found


def rows_of_dates(project: Project, run: RunRecord | None = None) -> NDArray[np.float32]:
    """The embedding rows of the tokens of dates of a tuned model."""
    tuned = load_tuned(folder_of(project, run), trust_remote_code=False)
    names = [name for name in tuned.tokenizer.get_vocab() if name.startswith(("<period_", "<gap_"))]
    ids = sorted(tuned.tokenizer.convert_tokens_to_ids(names))
    found: NDArray[np.float32] = tuned.model.get_input_embeddings().weight[ids].numpy()
    return found


@MODES
def test_a_model_with_dates_is_listed_blended_and_asked(settings: str, tmp_path: Path) -> None:
    project = copied(settings, tmp_path / "project")
    dates = read_dates(project)
    # Users take an item every nine days, each from another day of 80 on; the gap of nine days has row 4. Hardly any history
    # reaches the third period, hardly any question is asked a day after the last event, and every event has a time.
    assert dates[:3] == (16440, 2, 5)
    assert 2 in dates.rare_gaps
    assert not dates.has_unknown
    assert len(rows_of_dates(project)) == dates.num_periods + 1 + dates.num_gaps
    lists = lists_by_user(project, project.recommend())
    assert {len(items) for items in lists.values()} == {10}
    assert project.blend()["weights"][0]["feature"] == "log p of codes"
    assert len(project.recommend_query("a red lamp")) == 10
    assert project.export_prompts(tmp_path / "prompts.jsonl")["sequential"] > 0
    assert "<period_1><gap_4>, <a_" in (tmp_path / "prompts.jsonl").read_text()


@MODES
def test_a_training_changes_the_rows_of_dates(settings: str, tmp_path: Path) -> None:
    project = copied(settings, tmp_path / "project")
    wanted = wanted_tuning(project.workspace, tuning_inputs(project.workspace, None))
    assert wanted is not None
    preparation = wanted.prepared(project.workspace)
    dates = preparation.task.encoder.dates
    assert dates is not None
    matrix: Any = preparation.start_model().model.get_input_embeddings()
    start = getattr(matrix, "original_module", matrix).weight.detach().numpy()[dates.ids]
    trained = rows_of_dates(project)
    unused = ["<period_0>", *(f"<gap_{row}>" for row in dates.range.rare_gaps)]
    is_seen = ~np.isin(dates.range.names, unused)
    changes = np.abs(trained - start).max(axis=1)
    assert changes[is_seen].min() > 2 * changes[~is_seen].max()
    assert np.corrcoef(trained.ravel(), start.ravel())[0, 1] > 0.5


def test_a_tuning_of_an_earlier_version_that_ignored_dates_is_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copied(dated.TOKENS, tmp_path / "project")
    found = stage_settings.finetune

    def recorded_before(*args: Any, **options: Any) -> dict[str, Any]:
        settings = found(*args, **options)
        del settings["tuning"]["revision"]
        return settings

    monkeypatch.setattr(stage_settings, "finetune", recorded_before)
    earlier = project.finetune()
    monkeypatch.undo()
    assert project.finetune().run_id != earlier.run_id
    without = case.reopened(project, tuning__dates=False).workspace
    kept = stage_settings.finetune(without, without.need("backbone"), without.need("codebook"))["tuning"]
    assert (kept["dates"], "revision" in kept) == (False, False)


def with_a_year_later(project: Project, folder: Path) -> None:
    """Ingest an event of ten users, a year after all others."""
    rows = dated.events(
        {case.user_id(user): [(case.histories()[case.user_id(user)][-1] + 1) % 60] for user in range(10)}
    )
    for row in rows:
        row["source_position"] += 100
        row["event_time"] = (datetime.fromisoformat(row["event_time"]) + timedelta(days=365)).isoformat()
    project.ingest_interactions([case.write_lines(folder / "later.jsonl", rows)], {})


@MODES
def test_a_further_tuning_keeps_the_dates_of_the_model(settings: str, tmp_path: Path) -> None:
    project = copied(settings, tmp_path / "project")
    before, dates = project.workspace.need("finetune"), read_json(folder_of(project) / MANIFEST)["dates"]
    with_a_year_later(project, tmp_path)
    other = case.reopened(project, tuning__dates=False)
    after = other.finetune(from_run="current")
    assert before.run_id in after.inputs
    assert read_json(folder_of(project, after) / MANIFEST)["dates"] == dates
    said = " ".join(other.workspace.progress.said)  # type: ignore[attr-defined]
    assert "tuning.dates = false is ignored: the earlier model reads dates" in said
    assert rows_of_dates(project, after).shape == rows_of_dates(project, before).shape
    assert (rows_of_dates(project, after) != rows_of_dates(project, before)).any()
    project.recommend()


def test_a_date_that_is_ingested_again_recomputes_the_list_of_its_user_alone(tmp_path: Path) -> None:
    project = copied(dated.TOKENS, tmp_path / "project")
    before = lists_by_user(project, project.recommend())
    last = max((row for row in dated.events() if row["user_id"] == "u003"), key=lambda row: row["source_position"])
    moved = datetime.fromisoformat(last["event_time"]) + timedelta(days=60)
    project.ingest_interactions(
        [case.write_lines(tmp_path / "moved.jsonl", [{**last, "event_time": moved.isoformat()}])], {}
    )
    again = case.reopened(project)
    after = lists_by_user(again, again.recommend(only_changed=True))
    assert {user for user in after if after[user] != before[user]} == {"u003"}


def prompts_of(project: Project, split: Split) -> tuple[Tuned, list[Any], Histories]:
    """Return the loaded model, and the prompts of all users and their histories under a split."""
    workspace, lineage = project.workspace, project.workspace.model_lineage()
    sequences, catalog = workspace.sequences(split=lineage.split), workspace.store.catalog()
    moments = SplitMoments(sequences, split, lineage.split["train_cut"])
    files = TunedFiles.read(workspace, lineage, catalog, moments)
    tuned = files.load(workspace.settings, catalog.is_servable, print)
    histories = Histories.under(sequences, split)
    return tuned, tuned.prompts(histories, np.arange(len(sequences), dtype=np.int32)), histories


@pytest.mark.parametrize("at", ["", "0.8"])
@pytest.mark.parametrize("split", ["valid", "test", "serve"])
def test_prompts_end_with_the_wait_until_the_moment(at: str, split: Split, tmp_path: Path) -> None:
    settings = dated.TOKENS.replace("[split]", f'[split]\ntemporal_at = "{at}"')
    project = copied(settings, tmp_path / "project")
    tuned, prompts, histories = prompts_of(project, split)
    tail = tuned.encoder.tails["sequential"][0]
    last, cuts = histories.latest_times() // DAY, project.workspace.sequences(split=None).cuts
    if split == "serve":
        nights = np.full(len(last), last.max() + 1)
    else:
        nights = last if cuts is None else np.full(len(last), cuts.of_history(split)) // DAY  # type: ignore[operator]
    dates, found = read_dates(project), 0
    known = set(range(1, dates.num_gaps)) - set(dates.rare_gaps)
    for user, prompt in enumerate(prompts):
        if not len(prompt):
            continue
        wait = 1 + round(math.log2(nights[user] - last[user] + 1))
        wait = min(known, key=lambda row: (abs(row - wait), row))
        name = tuned.encoder.tokenizer.convert_ids_to_tokens(int(prompt[-len(tail) - 1]))
        assert name == f"<gap_{wait}>"
        found += 1
    assert found > 30


def read_dates(project: Project) -> DateRange:
    return DateRange.of_plain(read_json(folder_of(project) / MANIFEST)["dates"])


def test_validation_reads_the_prompts_of_the_lists(tmp_path: Path) -> None:
    project = copied(dated.TOKENS, tmp_path / "project")
    wanted = wanted_tuning(project.workspace, tuning_inputs(project.workspace, None))
    assert wanted is not None
    preparation = wanted.prepared(project.workspace)
    task, users = preparation.task, preparation.validation
    assert users is not None
    assert users.data.moments is not None
    maker = TokenPrompts(task.encoder, task.history_length, users.data.moments.days)
    validated = maker.of_users(users.data.histories, np.arange(len(users.users)))
    listed = prompts_of(project, "valid")[1]
    assert [prompt.tolist() for prompt in validated] == [listed[user].tolist() for user in users.users]


def training_inputs(project: Project) -> tuple[Mapping[str, NDArray[Any]], dict[str, Any], dict[str, Any]]:
    """Return everything that a tuning reads, and the weights that it starts from."""
    wanted = wanted_tuning(project.workspace, tuning_inputs(project.workspace, None))
    assert wanted is not None
    preparation = wanted.prepared(project.workspace)
    weights = {name: weight.detach().numpy() for name, weight in preparation.start_model().model.named_parameters()}
    return task_arrays(preparation.task), task_facts(preparation.task), weights


def test_without_times_there_are_no_dates(tmp_path: Path) -> None:
    project = case.make_coded_project(tmp_path / "project")
    found = [training_inputs(case.reopened(project, tuning__dates=dates)) for dates in (True, False)]
    for facts in (facts for _, facts, _ in found):
        facts["tuning"].pop("dates")
    assert found[0][1] == found[1][1]
    for ours, theirs in ((found[0][0], found[1][0]), (found[0][2], found[1][2])):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    runs = [case.reopened(project, tuning__dates=dates).finetune() for dates in (True, False)]
    files = [(folder_of(project, run) / "model.safetensors").read_bytes() for run in runs]
    assert runs[0].run_id != runs[1].run_id
    assert files[0] == files[1]


def test_dates_are_off_by_default_in_this_form(tmp_path: Path) -> None:
    project = case.reopened(elsewhere.coded_with_dates(tmp_path / "project"), tuning__history="tokens")
    arrays, facts, _ = training_inputs(project)
    assert (facts["prompt_dates"], facts["tuning"]["dates"]) == (None, False)
    assert "data/days" not in arrays
    explicit = training_inputs(case.reopened(project, tuning__history="tokens", tuning__dates=True))
    assert explicit[1]["prompt_dates"] is not None


def test_a_longer_prompt_must_fit_into_the_context(tmp_path: Path) -> None:
    settings = dated.TOKENS.replace("context = 512", "context = 96").replace("[split]", "[split]\nhistory_length = 12")
    project = dated.make_project(tmp_path / "project", settings=settings)
    for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.codebook_fit):
        command()
    needed = {}
    for dates in (True, False):
        other = case.reopened(project, tuning__dates=dates, split__history_length=100)
        with pytest.raises(Exception, match=r"makes prompts of \d+ tokens") as error:
            other.finetune()
        needed[dates] = int(str(error.value).partition("prompts of ")[2].split()[0])
    assert needed[True] == needed[False] + 2 * 100 + 1


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_a_training_elsewhere_gives_the_same_model(mode: str, tmp_path: Path) -> None:
    form = {"tuning__history": "tokens", "tuning__dates": True, "tuning__mode": mode}
    here, there = (case.reopened(elsewhere.coded_with_dates(tmp_path / name), **form) for name in ("here", "there"))
    ours = here.finetune()
    elsewhere.trained_pack(there, tmp_path / "pack")
    theirs = there.finetune_load(tmp_path / "pack")
    elsewhere.require_same_runs(here, ours, there, theirs)
    assert read_json(folder_of(there) / MANIFEST)["dates"] == read_json(folder_of(here) / MANIFEST)["dates"]
