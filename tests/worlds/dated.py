"""The small shop of ``projects`` with a date for each event, whose model reads the dates, with histories in both forms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds import prompts
from tests.worlds.once import made_once, short_name

SETTINGS = case.SETTINGS.replace("epochs = 1\n", "epochs = 8\nlearning_rate = 0.01\ndropout = 0.1\n").replace(
    'history = "tokens"', 'history = "items"'
)
LORA = SETTINGS.replace("[tuning]", '[tuning]\nmode = "lora"\nlora_rank = 4\nlora_dropout = 0.2')
TOKENS = case.SETTINGS.replace("epochs = 1\n", "epochs = 4\nlearning_rate = 0.01\ndropout = 0.1\ndates = true\n")
_START = datetime(2015, 1, 5, tzinfo=UTC)


def events(of: dict[str, list[int]] | None = None) -> list[dict[str, Any]]:
    """Rows of an interaction file; users take an item every nine days, each from another day on."""
    rows = case.events(case.histories() if of is None else of)
    for row in rows:
        days = int(row["user_id"][1:]) + 9 * row["source_position"]
        row["event_time"] = (_START + timedelta(days=days)).isoformat()
    return rows


def make_project(root: Path, rows: Sequence[dict[str, Any]] | None = None, settings: str = SETTINGS) -> Project:
    """A project with everything ingested and nothing run."""
    project = Project.open(Project.init(root, settings).root, progress=case.Remarks())
    inputs = root / "inputs"
    inputs.mkdir()
    items = [case.item(number) for number in range(case.NUM_ITEMS)]
    project.ingest_items([case.write_lines(inputs / "items.jsonl", items)], {})
    project.ingest_interactions([case.write_lines(inputs / "events.jsonl", events() if rows is None else rows)], {})
    return project


def fit(project: Project) -> Project:
    """Run every stage up to the tuning."""
    for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.codebook_fit):
        command()
    project.finetune()
    return project


def tuned_template(settings: str = SETTINGS) -> Path:
    """Return a tuned project, which tests copy or only read."""
    return made_once(f"dated-{short_name(settings)}", lambda folder: fit(make_project(folder, settings=settings)))


def lora_template() -> Path:
    """Return a project whose pretrained model was tuned by an adapter, which tests copy or only read."""
    return made_once("dated-lora", lambda folder: tune(make_pretrained(folder)))


def make_pretrained(root: Path, *, tied: bool = True) -> Project:
    """A project with the codes of a pretrained model, which an adapter is to tune on histories as items."""
    project = make_project(root, settings=LORA)
    project.backbone_use(str(prompts.saved_model(root / "models" / "tiny", tied=tied)))
    for command in (project.embed_behavior, project.embed_text, project.codebook_fit):
        command()
    return project


def tune(project: Project) -> Project:
    """Tune the model of a project with codes."""
    project.finetune()
    return project
