"""Questions in words on the whole demo: every kind of item, with and without the name of the kind in the question."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from semconv.metrics import paired_bootstrap
from semconv.questions.features import WORDS, Questions, Scored
from semconv.questions.fusion import best_answers
from semconv.stages.questions.setup import Answering, Shop
from semconv.stages.questions.weights import ALONE, HeldOutQueries, question_weights
from semconv.stages.questions.word_file import word_index
from semconv_warehouse.demo.catalog import generate
from semconv_warehouse.demo.demo import (
    DEMO_SETTINGS,
    INTERACTION_COLUMNS,
    INTERACTION_FILE,
    ITEM_FILE,
    write_interactions,
    write_items,
)
from semconv_warehouse.demo.words import KINDS
from semconv_warehouse.project import Project
from tests.worlds.projects import Remarks

EPOCHS = 12  # of the demo's 24
NOUNS = [kind.noun for kind in KINDS]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root: Path = tmp_path_factory.mktemp("questions") / "demo"
    data = generate()
    project = Project.open(
        Project.init(root, DEMO_SETTINGS).root,
        overrides={"tuning.epochs": EPOCHS, "tuning.validation_users": 0},
        progress=Remarks(),
    )
    write_items(data, root / ITEM_FILE)
    write_interactions(data, root / INTERACTION_FILE)
    project.ingest_items([root / ITEM_FILE], {})
    project.ingest_interactions([root / INTERACTION_FILE], INTERACTION_COLUMNS)
    for command in (
        project.backbone_create,
        project.embed_behavior,
        project.embed_text,
        project.codebook_fit,
        project.codebook_assign,
        project.finetune,
        project.blend,
    ):
        command()
    return project


def of_kind(project: Project, noun: str, rows: list[dict[str, object]]) -> int:
    facets, catalog = project.store.item_facets(), project.store.catalog()
    kind_of = dict(zip(catalog.item_ids, facets.categories, strict=True))
    return sum(noun in (kind_of[str(row["item_id"])] or ()) for row in rows[:10])


@pytest.mark.parametrize("form", ["{}", "{}s", "I want a {} for my friend"])
def test_answers_are_of_the_kind_that_the_question_names(project: Project, form: str) -> None:
    counts = {noun: of_kind(project, noun, project.recommend_query(form.format(noun))) for noun in NOUNS}
    assert {noun: count for noun, count in counts.items() if count < 9} == {}


def test_held_out_questions_without_the_name_of_the_kind(project: Project) -> None:
    """Also these answers are of the kind, and more often than by BM25; the item itself is found more often too."""
    workspace, lineage = project.workspace, project.workspace.model_lineage()
    weights = question_weights(workspace, lineage)
    shop = Shop.read(workspace, None, with_users=True, lineage=lineage, queries=True)
    assert shop.sequences is not None
    queries = HeldOutQueries.of(workspace, lineage, shop.sequences, "test")
    noun_of = [(names or ["", ""])[-1] for names in shop.facets.categories]
    asked = [(_without(text, noun_of[item]), item) for text, item in zip(queries.texts, queries.items, strict=True)]
    asked = [(text, item) for text, item in asked if noun_of[item]]
    index = word_index(workspace, lineage, shop.catalog, shop.facets)
    answering = Answering.load(workspace, lineage, shop, index, weights.popularity, with_model=True, split="test")
    texts = [text for text, _ in asked]
    scored = answering.scorer.score(Questions(texts, answering.prompts(texts, 2048)))

    def measured(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answers = best_answers(scored, scores, 10)[0].tolist()
        pairs = list(zip(asked, answers, strict=True))
        shares = [np.mean([noun_of[found] == noun_of[item] for found in some]) for (_, item), some in pairs]
        return np.array(shares), np.array([float(item in some) for (_, item), some in pairs])

    fused, bm25 = measured(weights.fusions[ALONE].scores(scored)), measured(_bm25(scored))
    assert fused[0].mean() > 0.9
    for ours, theirs in zip(fused, bm25, strict=True):
        assert paired_bootstrap(ours, theirs, samples=1000, confidence=0.95, seed=0)[1] > 0


def _bm25(scored: Scored) -> np.ndarray:
    return scored.features[:, scored.names.index(WORDS)].astype(np.float64)


def _without(text: str, noun: str) -> str:
    """Return a review without the words of the kind of its item."""
    return re.sub("|".join(rf"\b{word}s?\b" for word in noun.split()) or "$^", "", text, flags=re.IGNORECASE)
