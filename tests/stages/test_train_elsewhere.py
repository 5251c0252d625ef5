"""Packs for a training elsewhere: what they hold, which results are loaded, and which are refused in one line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from semconv.artifacts import file_digest, read_arrays, write_arrays
from semconv.errors import InputError
from semconv.locks import run_lock
from semconv.stages.tune.inputs import tuning_inputs
from semconv.stages.tune.run import wanted_tuning
from semconv.train.__main__ import main
from semconv.train.pack import DATA, PACK, WEIGHTS
from semconv.train.result import RESULT, TRAINED
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import elsewhere
from tests.worlds import projects as case
from tests.worlds.faults.damage import flip_a_bit
from tests.worlds.once import made_once


def make_trained(folder: Path) -> None:
    """A project, and a pack of it that is trained."""
    project = case.reopened(case.make_coded_project(folder / "project"), tuning__max_samples=1)
    elsewhere.trained_pack(project, folder / "pack")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    shutil.copytree(made_once("trained-elsewhere", make_trained), tmp_path, dirs_exist_ok=True)
    return Project.open(tmp_path / "project", progress=case.Remarks())


@pytest.fixture
def pack(project: Project) -> Path:
    return project.layout.root.parent / "pack"


def said(project: Project) -> list[str]:
    progress: Any = project.progress
    return list(progress.said)


def resealed(pack: Path, name: str) -> None:
    """Record the checksum of a changed file of the result, as somebody would who wants it to be loaded."""
    files = {**json.loads((pack / RESULT).read_text())["files"], name: file_digest(pack / name)}
    elsewhere.changed_json(pack / RESULT, files=files)


def test_a_result_is_loaded_once_and_lists_use_it(project: Project, pack: Path) -> None:
    run = project.finetune_load(pack)
    assert (run.stage, run.status, run.settings["tuning"]["max_samples"]) == ("finetune", "finished", 1)
    assert project.finetune_load(pack).run_id == run.run_id
    assert any("is reused" in line for line in said(project))
    assert project.workspace.need("finetune").run_id == run.run_id
    project.recommend()
    assert all(check.passed for check in project.check())


def test_a_pack_holds_no_ids_and_is_private(pack: Path) -> None:
    for path in (path for path in pack.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert path.name != DATA or b"something like a" in content  # the queries of users, which the training needs
        for number in range(20):
            assert not path.name.endswith(".json") or case.user_id(number).encode() not in content
            assert path.name != DATA or case.user_id(number).encode() not in content
            assert path.name != DATA or case.item_id(number).encode() not in content
        assert path.parent.name == "training" or path.stat().st_mode & 0o077 == 0, path
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in (pack, pack / "training"))  # nobody else enters
    assert set(read_arrays(pack / DATA)) & {"data/days", "valid/days"} == set()  # code tokens have no dates


def test_a_forgotten_user_makes_the_pack_useless(project: Project, pack: Path) -> None:
    report = project.forget([case.user_id(3)])
    remark = next(text for text in report["remarks"] if text.startswith("packs for a training elsewhere (pack-"))
    assert "delete these folders and all their copies" in remark
    for older_data in (False, True):
        with pytest.raises(InputError, match=r"holds 1 of the users whom .* delete the folder and all its copies"):
            project.finetune_load(pack, older_data=older_data)
    assert project.workspace.latest("finetune") is None


def test_a_forgotten_user_who_is_not_in_the_pack_does_not_matter(project: Project, pack: Path) -> None:
    report = project.forget([case.user_id(case.NUM_USERS - 1)])  # has one item, so is outside the k-core
    assert not any(text.startswith("packs") for text in report["remarks"])
    with pytest.raises(InputError, match="the interactions changed since the pack was made; load the model of"):
        project.finetune_load(pack)
    project.finetune_load(pack, older_data=True)


def test_new_data_are_refused_unless_asked_for(project: Project, pack: Path) -> None:
    rows = case.events({case.user_id(0): [5]}, 99)
    project.ingest_interactions([case.write_lines(project.layout.root / "later.jsonl", rows)], {})
    with pytest.raises(InputError, match=r"the interactions changed .* --older-data, or make a new pack"):
        project.finetune_load(pack)
    run = project.finetune_load(pack, older_data=True)
    assert any("this is a model of the earlier data" in line for line in said(project))
    workspace = case.reopened(project, tuning__max_samples=1).workspace
    wanted = wanted_tuning(workspace, tuning_inputs(workspace, None))
    assert wanted is not None
    assert workspace.book.fingerprint(wanted.request) != run.fingerprint  # a training on today's data is another run


def test_another_code_set_is_refused(project: Project, pack: Path) -> None:
    case.reopened(project, codebook__seed=7).codebook_fit()
    with pytest.raises(InputError, match=r"trained on the code set codebook-.* but the current one is codebook-"):
        project.finetune_load(pack, older_data=True)


def test_another_project_has_no_record_of_the_pack(pack: Path, tmp_path: Path) -> None:
    other = case.make_coded_project(tmp_path / "other")
    with pytest.raises(InputError, match="this project has no record of its pack"):
        other.finetune_load(pack)


def cut(pack: Path) -> None:
    (pack / DATA).write_bytes((pack / DATA).read_bytes()[:-9])


def rewritten(pack: Path) -> None:
    """Change an array of the pack, and its checksum in pack.json too."""
    arrays = read_arrays(pack / DATA)
    write_arrays(pack / DATA, {**arrays, "data/items": arrays["data/items"][::-1]})
    files = {**json.loads((pack / PACK).read_text())["files"], DATA: file_digest(pack / DATA)}
    elsewhere.changed_json(pack / PACK, files=files)


def outside(pack: Path) -> None:
    files = json.loads((pack / PACK).read_text())["files"]
    elsewhere.changed_json(pack / PACK, files={**files, "../../etc/passwd": "0" * 64})


def with_nan(pack: Path) -> None:
    arrays = dict(read_arrays(pack / TRAINED))
    arrays[min(arrays)] = np.full_like(arrays[min(arrays)], np.nan)
    write_arrays(pack / TRAINED, arrays)
    resealed(pack, TRAINED)


def reshaped(pack: Path) -> None:
    arrays = dict(read_arrays(pack / TRAINED))
    write_arrays(pack / TRAINED, {name: array[:1] for name, array in arrays.items()})
    resealed(pack, TRAINED)


def renamed(pack: Path) -> None:
    arrays = dict(read_arrays(pack / TRAINED))
    write_arrays(pack / TRAINED, {f"other.{name}": array for name, array in arrays.items()})
    resealed(pack, TRAINED)


def halved(pack: Path) -> None:
    arrays = dict(read_arrays(pack / TRAINED))
    write_arrays(pack / TRAINED, {name: array.astype(np.float64) for name, array in arrays.items()})
    resealed(pack, TRAINED)


def with_figures(**values: Any) -> Callable[[Path], None]:
    def change(pack: Path) -> None:
        figures = json.loads((pack / RESULT).read_text())["figures"]
        elsewhere.changed_json(pack / RESULT, figures={**figures, **values})

    return change


def piped(pack: Path) -> None:
    (pack / TRAINED).unlink()
    os.mkfifo(pack / TRAINED)


def linked(pack: Path) -> None:
    (pack / TRAINED).rename(pack / "elsewhere")
    (pack / TRAINED).symlink_to("elsewhere")


def with_code(pack: Path) -> None:
    (pack / "backbone" / "modeling.py").write_text("raise SystemExit('ran')")


def nested(pack: Path) -> None:
    (pack / RESULT).write_text("[" * 100_000)


def other_steps(pack: Path) -> None:
    (pack / "training" / "steps.jsonl").write_text('{"step": 1, "html": "<script>"}\n')
    resealed(pack, "training/steps.jsonl")


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no pack": (lambda pack: shutil.rmtree(pack) or pack.mkdir(), "holds no complete pack"),
    "no result": (lambda pack: (pack / RESULT).unlink(), "this pack has no result yet; train it with"),
    "a cut file": (cut, "damaged or changed: its checksum is not the one in pack.json"),
    "a flipped bit": (lambda pack: flip_a_bit(pack / WEIGHTS), "damaged or changed"),
    "a file that another wrote": (rewritten, "not the file that this project wrote"),
    "a path outside": (outside, "damaged; copy the pack again"),
    "a file of code": (with_code, "not a file of this pack; remove it"),
    "a result with a flipped bit": (lambda pack: flip_a_bit(pack / TRAINED), "its checksum is not the one in result"),
    "weights that are NaN": (with_nan, "holds NaN or infinity"),
    "weights of another shape": (reshaped, "another shape or number format"),
    "weights of another format": (halved, "another shape or number format"),
    "weights of another model": (renamed, "its weights are not those of this model"),
    "a pipe": (piped, "not a regular file"),
    "a link": (linked, "not a regular file"),
    "deep JSON": (nested, "result.json: not"),
    "the result of another pack": (
        lambda pack: elsewhere.changed_json(pack / RESULT, pack_digest="0"),
        "the result of another pack",
    ),
    "another version": (lambda pack: elsewhere.changed_json(pack / PACK, format=9), "another version of semconv"),
    "a figure that is no number": (with_figures(samples="many"), "samples has a value that a training cannot have"),
    "a figure that is NaN": (with_figures(best_ndcg=float("nan")), "best_ndcg has a value"),
    "another figure": (with_figures(html="<script>"), "its figures are not those of a training"),
    "a false score": (with_figures(validations=[{"epoch": 1, "step": 1, "ndcg@10": 7}]), "validations has a value"),
    "other steps": (other_steps, "its figures are not those of a training"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_wrong_folder_is_refused_in_one_line_and_leaves_no_run(project: Project, pack: Path, name: str) -> None:
    change, message = REFUSED[name]
    change(pack)
    with pytest.raises(InputError) as refused:
        project.finetune_load(pack)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert project.store.runs(stage="finetune") == []


def test_a_training_refuses_what_is_no_pack(pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(pack)]) == 0  # is trained already
    (pack / RESULT).unlink()
    cut(pack)
    for folder, message in ((pack, "damaged or changed"), (tmp_path / "none", "no such folder")):
        capsys.readouterr()
        assert main([str(folder)]) == 4
        shown = capsys.readouterr()
        assert (shown.out, len(shown.err.splitlines())) == ("", 1)
        assert message in shown.err


def test_one_process_trains_a_pack(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_lock(pack / "training"):
        assert main([str(pack)]) == 3
    assert f"is being trained by process {os.getpid()}; stop it, or wait until it ends" in capsys.readouterr().err


def test_where_a_pack_may_be_written(project: Project, pack: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for folder, message in (
        (pack, "holds a pack already"),
        (tmp_path / "full", r"not empty \(notes.txt\)"),
        (project.layout.data / "pack", "belongs to the project"),
    ):
        with pytest.raises(InputError, match=message):
            project.finetune_pack(folder)
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


def test_options_of_a_pack_follow_its_name(project: Project, tmp_path: Path) -> None:
    words = ["--project", str(project.layout.root), "finetune", "--epochs", "2", "pack", str(tmp_path / "new")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert "put the options of `finetune pack` after `pack`" in done.stderr
    assert not (tmp_path / "new").exists()


def test_prune_keeps_the_record_of_a_pack_while_it_can_be_loaded(project: Project, pack: Path) -> None:
    project.prune(1, False)
    assert project.workspace.book.folder(project.store.runs(stage="pack")[0]).is_dir()
    case.reopened(project, codebook__seed=7).codebook_fit()
    project.prune(1, False)
    with pytest.raises(InputError, match="`semconv prune` removed the record"):
        project.finetune_load(pack)
