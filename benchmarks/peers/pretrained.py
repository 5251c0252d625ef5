"""A pretrained model beside the built-in backbone on the same users: text vectors, lists, texts, questions, memory, time.

    python -m benchmarks.peers.pretrained FILE.gguf [--users 500] [--json FILE] [--folder DIR]

The data is Office Products: the 500 users with the longest histories, the items of these users, and texts cut to 64
tokens. Of 500 users drawn at random nearly half of the test items would have no training interactions. Office Products has no queries of users. So a question is 12 words of an item's description that the cut text does not contain:
the first 12 words after the cut for training interactions, the next 12 for validation items, and the next 12 for test
items. Items with shorter descriptions get no question.

Every stage is a process of its own, so its peak memory and its processor time are its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.data import data_folder
from benchmarks.peers.pretrained_figures import Figure, figures_of, markdown
from benchmarks.rows import add_json_option
from semconv import columns
from semconv.backbone.text_vectors import item_text
from semconv.runs.files import MODEL_FOLDER
from semconv_warehouse.project import Project

TEXT_TOKENS, QUESTION_WORDS = 64, 12
BUILT_IN, PRETRAINED = "built-in backbone", "pretrained"
QUESTION = "a pen that writes on glossy paper"
# The settings of both models: the lists are those of the model alone.
SHARED: Mapping[str, Any] = {"blend.use": "never", "recommend.batch_tokens": 4096}
# A pretrained model has a small budget here, so code tokens start from the codebooks, their probability is normalised
# over the codes of the trie, and the codes within histories are predicted too.
TUNED: Mapping[str, Any] = {
    "tuning.mode": "lora",
    "tuning.gradient_checkpointing": True,
    "tuning.dtype": "bfloat16",
    "tuning.batch_tokens": 1024,
    "tuning.learning_rate": 1e-3,
    "tuning.epochs": 2,
    "tuning.code_start": "codebook",
    "tuning.loss_over": "trie",
    "tuning.history_loss": 1.0,
    "tuning.validation_users": 0,
    "tasks.text_share": 0.2,
    "tasks.query_share": 0.2,
    "tasks.position_share": 0.3,
    "tasks.negatives": 0,
    "recommend.dtype": "bfloat16",
}


@dataclass(frozen=True)
class Stage:
    """One command of a project, with its cost."""

    command: str
    seconds: float
    processor_seconds: float
    peak_memory_bytes: int
    output: str


@dataclass(frozen=True)
class Measured:
    """Everything that was measured."""

    figures: list[Figure]
    stages: dict[str, list[Stage]]  # by model
    answers: dict[str, list[dict[str, Any]]]  # to one question, by model


def measure(gguf: Path, folder: Path, users: int = 500) -> Measured:
    """Take both models from text vectors to lists and answers. Finished stages in ``folder`` are reused."""
    settings = {PRETRAINED: {**SHARED, **TUNED}, BUILT_IN: dict(SHARED)}
    projects = {name: folder / name.replace(" ", "-") for name in settings}
    stages: dict[str, list[Stage]] = {name: [] for name in settings}
    for root in projects.values():
        if not (root / "semconv.toml").exists():
            Project.init(root, "# Office Products\n")
    stages[PRETRAINED].append(run(projects[PRETRAINED], {}, "backbone", "use", str(gguf.resolve())))
    files = write_data(folder, projects[PRETRAINED], users)
    answers = {}
    for name, root in projects.items():
        for words in ingestion(*files):
            run(root, {}, *words)
        if name == BUILT_IN:
            stages[name].append(run(root, {}, "backbone", "create"))
        for words in (("embed", "behavior"), ("embed", "text"), ("codebook", "fit"), ("finetune",), ("run",)):
            stages[name].append(run(root, settings[name], *words))
        stages[name].append(run(root, settings[name], "evaluate", "--questions", "--json"))
        asked = run(root, settings[name], "recommend", "--query", QUESTION, "--json")
        answers[name] = json.loads(asked.output)
        stages[name].append(asked)
        run(root, settings[name], "check")
    opened = {name: Project.open(root, overrides=settings[name]) for name, root in projects.items()}
    questions = {name: json.loads(stages[name][-2].output) for name in stages}
    return Measured(figures_of(opened, questions), stages, answers)


def run(root: Path, settings: Mapping[str, Any], *words: str) -> Stage:
    """Run a command on a project and return its cost; raise RuntimeError with its errors if it fails."""
    given = [
        f"--set={key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in settings.items()
    ]
    command = [sys.executable, "-m", "semconv_cli", "--project", str(root), "--quiet", *given, *words]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (output, errors):
            stream.seek(0)
        if process.returncode:
            raise RuntimeError(
                f"semconv {' '.join(words)} ended with code {process.returncode}: {errors.read()[-2000:]}"
            )
        text = output.read()
    memory = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    spent = used.ru_utime + used.ru_stime
    return Stage(" ".join(words), time.monotonic() - started, spent, memory, text)


def ingestion(items: Path, interactions: Path) -> Iterable[tuple[str, ...]]:
    """Return the commands that read the data."""
    return (
        ("ingest", "items", str(items)),
        ("ingest", "interactions", str(interactions), "--map", "source_position=position"),
    )


def write_data(folder: Path, root: Path, users: int) -> tuple[Path, Path]:
    """Write the items and interactions of some users, with cut texts and with questions, and return both files.

    Args:
        root: a project whose backbone has the tokenizer that cuts the texts.
    """
    from transformers import AutoTokenizer

    project = Project.open(root)
    backbone = project.book.folder(project.workspace.need(columns.BACKBONE))
    tokenizer = AutoTokenizer.from_pretrained(backbone / MODEL_FOLDER)
    data = data_folder("office")
    interactions = pl.read_parquet(data / "interactions.parquet")
    lengths = interactions.group_by("user_id").len().sort("len", "user_id", descending=[True, False])
    kept = interactions.join(lengths[:users], on="user_id", how="semi").sort("user_id", "position")
    items = pl.read_parquet(data / "items.parquet").join(kept.select("item_id").unique(), on="item_id", how="semi")
    texts = [_cut(tokenizer, *pair) for pair in zip(items["title"], items["description"], strict=True)]
    rest = dict(zip(items["item_id"], (words for _, words in texts), strict=True))
    latest = kept.select(pl.len().over("user_id") - 1 - pl.int_range(pl.len()).over("user_id")).to_series()
    queries = [_question(rest[item], age) for item, age in zip(kept["item_id"], latest, strict=True)]
    files = folder / "items.parquet", folder / "interactions.parquet"
    items.with_columns(description=pl.Series([text for text, _ in texts])).write_parquet(files[0])
    kept.with_columns(query=pl.Series(queries, dtype=pl.String)).write_parquet(files[1])
    return files


def _cut(tokenizer: Any, title: str | None, description: str | None) -> tuple[str, list[str]]:
    """Return the description cut so that the item's text has 64 tokens at most, and the whole words after the cut."""
    whole = (description or "").strip()
    used = len(tokenizer(item_text(title, "."))["input_ids"])
    ends = [end for _, end in tokenizer(whole, return_offsets_mapping=True)["offset_mapping"]]
    room = max(0, TEXT_TOKENS - used)
    end = len(whole) if len(ends) <= room else ends[room - 1] if room else 0
    return whole[:end], whole[end:].split()[1:]  # the cut may have split the first word


def _question(words: list[str], age: int) -> str | None:
    """Return the question of an interaction; ``age`` is 0 for a user's last one, the test item, and 1 for the one before."""
    if len(words) < 3 * QUESTION_WORDS:
        return None
    start = QUESTION_WORDS * {0: 2, 1: 1}.get(age, 0)
    return " ".join(words[start : start + QUESTION_WORDS])


def main() -> None:
    """Measure both models, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path, metavar="FILE.gguf", help="the pretrained model")
    parser.add_argument("--users", type=int, default=500, help="number of users; default: 500")
    parser.add_argument("--folder", type=Path, help="keep the projects in this folder, so that a killed run can resume")
    add_json_option(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measured = measure(given.gguf, folder, given.users)
    text = markdown(measured.figures, measured.stages)
    print(text)
    if given.json is not None:
        given.json.write_text(json.dumps(asdict(measured), indent=1) + "\n")
        given.json.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
