"""The four kinds of text vectors, and the vectors of texts that come after the fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semconv.artifacts import write_arrays
from semconv.backbone.forward import ModelInput, decode_hidden
from semconv.backbone.text_vectors import embed_texts
from semconv.errors import InputError
from semconv.settings.text_vectors import TextKind, TextSettings
from semconv.texts import hidden
from semconv.texts.embedder import fit_embedder, load_embedder, save_embedder
from semconv.texts.tfidf import TfidfBasis
from semconv.texts.words import words
from tests.worlds import prompts as case

KINDS: tuple[TextKind, ...] = ("mean", "idf", "hidden", "tfidf")
TEXTS = case.sentences(30)
LATER = ["a red lamp for the old house", "blue", "the quiet corner of a reading chair", "zzz qqq", ""]


def index(texts: list[str]) -> Any:
    return np.arange(len(texts), dtype=np.int32)


def backbone() -> tuple[Any, Any]:
    model, tokenizer, _ = case.coded()
    return model, tokenizer


def dense_tfidf(texts: list[str], fitted: list[str]) -> Any:
    """TF-IDF weights by a loop over words, without sparse matrices."""
    sets = [set(words(text)) for text in fitted]
    vocabulary = sorted({word for found in sets for word in found if sum(word in other for other in sets) > 1})
    table = np.zeros((len(texts), len(vocabulary)))
    for row, text in enumerate(texts):
        for column, word in enumerate(vocabulary):
            if count := words(text).count(word):
                with_word = sum(word in found for found in sets)
                table[row, column] = (1 + np.log(count)) * (1 + np.log((1 + len(fitted)) / (1 + with_word)))
    return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)


def test_tfidf_with_all_components_keeps_every_similarity() -> None:
    basis = TfidfBasis.fit(TEXTS, dimensions=100, seed=0)
    assert basis.directions.shape[1] < 100  # no more than there are components
    mine = basis.embed(index(TEXTS + LATER[:3]), TEXTS + LATER[:3])
    wanted = dense_tfidf(TEXTS + LATER[:3], TEXTS)
    assert mine.vectors @ mine.vectors.T == pytest.approx(wanted @ wanted.T, abs=1e-5)


def test_fewer_components_are_the_best_ones() -> None:
    basis, table = TfidfBasis.fit(TEXTS, dimensions=4, seed=0), dense_tfidf(TEXTS, TEXTS)
    mine = basis.embed(index(TEXTS), TEXTS).vectors
    values = np.linalg.svd(table, compute_uv=False)
    assert (mine**2).sum(axis=0) == pytest.approx(values[:4] ** 2, rel=1e-4)


@pytest.mark.parametrize(
    ("texts", "known"),
    [
        ([], []),
        (["lamp"], ["lamp"]),
        (["lamp", "lamp", "lamp"], ["lamp"]),
        (["red lamp", "blue chair"], ["red lamp", "chair"]),  # no word of two texts, so all words count
        (["?!", " "], []),
        (["ランプ 赤い", "赤い 椅子"], ["赤い"]),
    ],
)
def test_tfidf_of_few_and_odd_texts(texts: list[str], known: list[str]) -> None:
    basis = TfidfBasis.fit(texts, dimensions=3, seed=0)
    for asked in [known, [*known, "unseen"]]:
        found = basis.embed(index(asked), asked)
        assert found.item_index.tolist() == list(range(len(known)))
        assert found.vectors.shape == (len(known), basis.directions.shape[1])
        lengths = np.linalg.norm(found.vectors, axis=1)
        assert ((lengths > 0.5) & (lengths < 1 + 1e-5)).all()


def test_the_vocabulary_and_the_texts_of_the_fit_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semconv.texts.tfidf._MOST_WORDS", 3)
    texts = ["a b c d", "a b c d", "a b c", "a b", "e e e e"]
    assert set(TfidfBasis.fit(texts, 2, seed=0).numbers) == {"a", "b", "c"}  # most texts, not most occurrences
    monkeypatch.setattr("semconv.texts.tfidf._MOST_TEXTS", 4)
    basis = TfidfBasis.fit(texts * 10, 2, seed=1)
    assert basis.rarities == pytest.approx(TfidfBasis.fit(texts * 10, 2, seed=1).rarities)
    assert basis.rarities.max() <= 1 + np.log(5 / 2) + 1e-6  # of four texts


def test_idf_is_a_mean_in_which_rare_tokens_count_more() -> None:
    model, tokenizer = backbone()
    found = fit_embedder("idf", TextSettings(), backbone, TEXTS).embed(index(LATER), LATER)
    assert found.item_index.tolist() == [0, 1, 2, 3]
    rows = model.get_input_embeddings().weight.detach().numpy()
    in_texts = [set(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in TEXTS]
    for vector, text in zip(found.vectors, LATER[:4], strict=True):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        counts = np.array([sum(token in others for others in in_texts) for token in tokens])
        weights = 1 + np.log((1 + len(TEXTS)) / (1 + counts))
        assert vector == pytest.approx(weights @ rows[tokens] / weights.sum(), rel=1e-4, abs=1e-6)


def test_hidden_is_the_mean_of_each_text_alone_whatever_shares_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = backbone()
    embedder = fit_embedder("hidden", TextSettings(), backbone, TEXTS)
    together = embedder.embed(index(LATER), LATER)
    assert together.item_index.tolist() == [0, 1, 2, 3]
    monkeypatch.setattr(hidden, "_BATCH_TOKENS", 1)
    assert embedder.embed(index(LATER), LATER).vectors == pytest.approx(together.vectors, abs=1e-5)
    monkeypatch.setattr(hidden, "_MOST_TOKENS", 3)
    for cut, vectors in ((3, embedder.embed(index(LATER), LATER).vectors), (100, together.vectors)):
        for vector, text in zip(vectors, LATER[:4], strict=True):
            tokens = tokenizer(text, add_special_tokens=False)["input_ids"][:cut]
            with torch.no_grad():
                states = decode_hidden(model, ModelInput.causal(torch.tensor([tokens])))[0]
            assert vector == pytest.approx(states.mean(dim=0).numpy(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_later_get_the_same_vectors_from_the_stored_basis(kind: TextKind, tmp_path: Path) -> None:
    path = tmp_path / "basis.safetensors"
    fitted = fit_embedder(kind, TextSettings(dimensions=6), backbone, TEXTS)
    save_embedder(fitted, path)
    assert path.exists() == (kind in ("idf", "tfidf"))
    loaded = load_embedder(kind, backbone, lambda: path)
    first, second = (embedder.embed(index(LATER), LATER) for embedder in (fitted, loaded))
    assert first.item_index.tolist() == second.item_index.tolist()
    assert np.array_equal(first.vectors, second.vectors)
    alone = loaded.embed(np.array([7], dtype=np.int32), LATER[:1])
    assert alone.item_index.tolist() == [7]
    assert alone.vectors[0] == pytest.approx(first.vectors[0], abs=1e-5)
    none = loaded.embed(index([]), [])
    assert none.vectors.shape == (0, first.vectors.shape[1])
    if kind == "mean":
        assert np.array_equal(first.vectors, embed_texts(*backbone(), index(LATER), LATER).vectors)


def test_none_makes_no_vector_and_loads_no_backbone() -> None:
    def fail() -> Any:
        raise AssertionError

    for embedder in (fit_embedder("none", TextSettings(), fail, TEXTS), load_embedder("none", fail, fail)):
        assert embedder.embed(index(LATER), LATER).vectors.shape == (0, 1)


@pytest.mark.parametrize("kind", ["idf", "tfidf"])
def test_a_file_that_holds_no_basis_is_reported(kind: TextKind, tmp_path: Path) -> None:
    path = tmp_path / "basis.safetensors"
    write_arrays(path, {"other": np.zeros(2)})
    with pytest.raises(InputError, match=r"basis.safetensors: holds no basis of text vectors .*semconv embed text"):
        load_embedder(kind, backbone, lambda: path)
    basis = TfidfBasis.fit(TEXTS, 3, seed=0)
    write_arrays(path, {**basis.arrays(), "rarities": basis.rarities[1:]})
    with pytest.raises(InputError, match=r"holds no basis of text vectors"):
        load_embedder("tfidf", backbone, lambda: path)
