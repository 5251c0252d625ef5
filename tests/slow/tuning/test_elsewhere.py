"""A model that was trained on another machine equals one that was trained here, bit for bit, in every form."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from semconv.train.__main__ import train_pack
from semconv.train.result import RESULT
from semconv.tuning.step_log import read_steps
from semconv_warehouse.project import Project
from tests.worlds import elsewhere
from tests.worlds import projects as case
from tests.worlds.paths import ROOT
from tests.worlds.tuning.from_run import grow
from tests.worlds.tuning.launch import LAUNCH

pytestmark = pytest.mark.slow

LORA = {"tuning__mode": "lora", "tuning__lora_rank": 4, "tuning__lora_dropout": 0.2}
FORMS: dict[str, dict[str, Any]] = {
    "tokens": {},
    "items": {},
    "lora": LORA,
    "items, lora": {**LORA, "tuning__item_learning_rate": 5e-3},
    "network": {"tuning__code_start": "mlp2"},
    "without validation": {"tuning__validation_users": 0},
}


def coded(root: Path, form: str) -> Project:
    """Return a project with codes for one of the forms."""
    return (elsewhere.coded_with_dates if form.startswith("items") else case.make_coded_project)(root)


def two_copies(folder: Path, form: str) -> tuple[Project, Project]:
    """Return the project that trains here, and its copy that trains elsewhere."""
    here = coded(folder / "here", form)
    shutil.copytree(folder / "here", folder / "there")
    there = Project.open(folder / "there")
    return case.reopened(here, **FORMS[form]), case.reopened(there, **FORMS[form])


@pytest.mark.parametrize("form", list(FORMS))
def test_the_run_equals_that_of_a_training_here(tmp_path: Path, form: str) -> None:
    here, there = two_copies(tmp_path, form)
    ours = here.finetune()
    elsewhere.trained_pack(there, tmp_path / "pack")
    theirs = there.finetune_load(tmp_path / "pack")
    elsewhere.require_same_runs(here, ours, there, theirs)
    assert there.finetune().run_id == theirs.run_id  # the same run, so nothing is trained again
    there.recommend()
    there.blend()
    rows = {row["method"] for row in there.evaluate(split="valid")}
    assert "model" in rows


@pytest.mark.parametrize("form", ["tokens", "items", "lora", "items, lora"])
def test_a_continued_tuning_can_be_packed(tmp_path: Path, form: str) -> None:
    project = case.reopened(coded(tmp_path / "here", form), **FORMS[form])
    project.finetune()
    grow(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    here, there = (case.reopened(Project.open(tmp_path / name), **FORMS[form]) for name in ("here", "there"))
    ours = here.finetune(from_run="current")
    elsewhere.trained_pack(there, tmp_path / "pack", "current")
    theirs = there.finetune_load(tmp_path / "pack")
    elsewhere.require_same_runs(here, ours, there, theirs)


ABSENT = ("duckdb", "polars", "pyarrow", "sqlalchemy", "feast", "scipy")
# transformers brings click and rich along, which the training does not import.
WITHOUT_OTHERS = f"""
import runpy, sys
for name in {(*ABSENT, "click", "rich")}:
    sys.modules[name] = None
runpy.run_module("semconv.train", run_name="__main__", alter_sys=True)
"""


def environment_with_only(packages: tuple[str, ...], folder: Path) -> dict[str, str]:
    """Return the environment of a Python that finds these packages, what they need, and semconv, and no other."""
    site, waiting, done = folder / "site-packages", list(packages), set()
    site.mkdir()
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in done:
            continue
        done.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # needed on other systems only
        needs = [Requirement(text) for text in found.requires or []]
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
        tops = {path.parts[0] for path in found.files or [] if path.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            link = site / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))).resolve())
    (site / "semconv").symlink_to(ROOT / "semconv")
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "HOME": str(folder), "OMP_NUM_THREADS": "1"}


def test_it_trains_where_only_the_named_packages_are(tmp_path: Path) -> None:
    here, there = two_copies(tmp_path, "items")
    ours = here.finetune()
    pack = tmp_path / "pack"
    there.finetune_pack(pack)
    needed = ("torch", "transformers", "peft", "safetensors", "numpy")
    environment = environment_with_only(needed, tmp_path)
    python = [sys.executable, "-S"]  # without the packages of this environment
    found = f"import importlib.util as u; print([name for name in {ABSENT} if u.find_spec(name)])"
    shown = subprocess.run([*python, "-c", found], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
    command = [*python, "-c", WITHOUT_OTHERS, str(pack)]
    training = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    log = pack / "training" / "steps.jsonl"
    until = time.monotonic() + 300
    while not (pack / "training" / "checkpoint.safetensors").exists() and time.monotonic() < until:
        time.sleep(0.02)
    training.send_signal(signal.SIGKILL)  # after the first epoch
    training.wait()
    assert not (pack / RESULT).exists()
    assert log.exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 2
    theirs = there.finetune_load(pack)
    elsewhere.require_same_runs(here, ours, there, theirs)


def test_two_processes_train_a_pack(tmp_path: Path) -> None:
    project = elsewhere.coded_with_dates(tmp_path / "project")
    project.finetune_pack(tmp_path / "pack")
    done = subprocess.run(
        [*LAUNCH, "-m", "semconv.train", str(tmp_path / "pack")], capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(done.stdout)["epochs"] == 2
    assert read_steps(project.book.folder(project.finetune_load(tmp_path / "pack")))


def test_two_trainings_of_one_pack(tmp_path: Path) -> None:
    project = case.make_coded_project(tmp_path / "project")
    figures = elsewhere.trained_pack(project, tmp_path / "pack")
    remarks = case.Remarks()
    assert elsewhere.without_times(train_pack(tmp_path / "pack", remarks)) == json.loads(
        json.dumps(elsewhere.without_times(figures))
    )
    assert remarks.said == [f"{tmp_path / 'pack'} is trained already"]
