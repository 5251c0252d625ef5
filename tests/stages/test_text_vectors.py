"""The kinds of text vectors in a project: what a run records, and the vectors of items and questions that come later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semconv.backbone.text_vectors import TextVectors, embed_texts
from semconv.columns import BACKBONE
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.runs.files import TEXT_BASIS, TEXT_VECTORS
from semconv.runs.lineage import Lineage
from semconv.settings.text_vectors import TextKind
from semconv.stages.embed.backbone import load_run_backbone
from semconv.stages.embed.rows import catalog_texts
from semconv.stages.embed.text import text_vectors
from semconv.stages.questions.setup import question_vectors
from semconv.stages.tune.item_setup import item_texts
from semconv.tokenization.code_set import CodeSet
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.faults.damage import flip_a_bit

KINDS: tuple[TextKind, ...] = ("idf", "tfidf")  # those with a basis; all kinds: tests/texts


def stored(project: Project, record: RunRecord) -> TextVectors:
    return TextVectors.load(project.book.folder(record) / TEXT_VECTORS)


def test_means_are_those_of_earlier_versions_and_a_change_makes_later_stages_stale(tmp_path: Path) -> None:
    project = case.reopened(case.make_coded_project(tmp_path / "shop"), text__vectors="mean")
    record = project.embed_text()
    assert record.settings == {}
    assert not (project.book.folder(record) / TEXT_BASIS).exists()
    texts = catalog_texts(project.store.catalog())
    model = load_run_backbone(project.workspace, project.workspace.need(BACKBONE))
    found = stored(project, record)
    assert np.array_equal(found.vectors, embed_texts(*model, found.item_index, texts).vectors)
    other = case.reopened(project).embed_text()  # the default of the built-in backbone
    assert other.settings == {"text": {"vectors": "tfidf", "dimensions": 256, "seed": 0}}
    assert other.fingerprint != record.fingerprint
    assert case.reopened(project, text__vectors="mean").embed_text().run_id == record.run_id


def test_without_text_vectors_codes_and_questions_know_no_text(tmp_path: Path) -> None:
    project = case.reopened(case.make_coded_project(tmp_path / "shop"), text__vectors="none")
    assert stored(project, project.embed_text()).vectors.shape == (0, 1)
    codes = project.codebook_fit()
    assert CodeSet.load(project.book.folder(codes)).text_map is None
    lineage = Lineage.current(project.store, codes)
    assert question_vectors(project.workspace, lineage, case.NUM_ITEMS) is None
    assert item_texts(project.workspace, lineage, project.store.catalog()).vectors.shape == (0, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_items_and_questions_of_later_get_vectors_of_the_same_fit(kind: TextKind, tmp_path: Path) -> None:
    project = case.reopened(case.make_coded_project(tmp_path / "shop"), text__vectors=kind, blend__model=False)
    record = project.embed_text()
    codes = project.codebook_fit()
    before = stored(project, record)
    titles = {"twin": case.item(7), "strange": {"title": "zzz", "description": "qqq"}}
    rows = [{**titles[name], "item_id": name} for name in titles]
    project.ingest_items([case.write_lines(tmp_path / "new.jsonl", rows)], {})
    # The settings of a later day do not change how the vectors of this code set are made.
    project = case.reopened(project, text__vectors="mean", text__dimensions=3)
    catalog, lineage = project.store.catalog(), Lineage.current(project.store, codes)
    wanted = np.array([catalog.item_ids.index(name) for name in (case.item_id(7), *titles)], dtype=np.int32)
    found = text_vectors(project.workspace, lineage, catalog, wanted)
    old = before.vectors[before.item_index == wanted[0]][0]
    assert found.vectors[0] == pytest.approx(old, abs=1e-5)
    assert found.vectors[1] == pytest.approx(old, abs=1e-5)
    assert found.item_index.tolist() == wanted[: 2 if kind == "tfidf" else 3].tolist()
    questions = question_vectors(project.workspace, lineage, len(catalog))
    assert questions is not None
    cosines = questions.similarities([catalog_texts(catalog)[wanted[0]], "qqq"])
    assert cosines[0, wanted[0]] == pytest.approx(1, abs=1e-4)
    assert np.isnan(cosines[1]).all() == (kind == "tfidf")
    assert project.codebook_assign() is not None
    new = dict(case.rows(project, "SELECT item_id, vector_source FROM item_code WHERE item_id IN ('twin', 'strange')"))
    assert new == dict.fromkeys(titles, "mapped-from-text")
    remarks = [line for line in project.progress.said if "no word that the text vectors know" in line]  # type: ignore[attr-defined]
    assert [line[:6] for line in remarks] == (["1 new "] if kind == "tfidf" else [])
    flip_a_bit(project.book.folder(record) / TEXT_BASIS)
    with pytest.raises(InputError, match=r"text_basis.safetensors: damaged or missing"):
        question_vectors(project.workspace, lineage, len(catalog))
