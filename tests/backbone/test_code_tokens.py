"""Code tokens: added to tokenizer and model, their first rows, and the seed that draws them."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from semconv.backbone.code_tokens import add_code_tokens, level_tokens, start_from_books
from semconv.errors import InputError
from tests.worlds import prompts as case


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("tokens", case.TOKENIZERS)
def test_seeds_draw_different_code_rows(tokens: str, tied: bool) -> None:
    tokenizer = case.tokenizer(tokens)
    drawn = []
    for seed in (0, 1, 1, 2):
        torch.manual_seed(0)  # for the weights that are equal
        model, own = case.model(len(tokenizer), tied=tied), copy.deepcopy(tokenizer)
        ids = add_code_tokens(model, own, 3, 8, seed)
        drawn.append(model.get_output_embeddings().weight[torch.from_numpy(ids.ravel())])
    assert torch.equal(drawn[1], drawn[2])
    assert not any(torch.equal(drawn[0], other) for other in drawn[1:])
    assert not torch.equal(drawn[1], drawn[3])


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("tokens", case.TOKENIZERS)
def test_code_tokens_are_added_once_and_kept_whole(tmp_path: Path, tokens: str, tied: bool) -> None:
    tokenizer = case.tokenizer(tokens)
    model = case.model(len(tokenizer), tied=tied)
    before = [
        weight.detach().clone()
        for weight in (model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    ]
    ids = add_code_tokens(model, tokenizer, 3, 8)
    assert ids.shape == (3, 8)
    assert len(set(ids.ravel().tolist())) == 24
    assert (
        len(tokenizer) == model.get_input_embeddings().weight.shape[0] == model.get_output_embeddings().weight.shape[0]
    )
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    after = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old, new[: len(old)])
        deviation = float(new.detach()[len(old) :].std() / old.std())
        assert 0.7 < deviation < 1.4
        assert len(torch.unique(new[len(old) :], dim=0)) == 24
    kept = [weight.clone() for weight in after]
    assert add_code_tokens(model, tokenizer, 3, 8).tolist() == ids.tolist()
    assert all(torch.equal(a, b) for a, b in zip(kept, after, strict=True))
    found = [token for token in tokenizer("so <a_1><b_7><c_0> it is")["input_ids"] if token in ids]
    assert found == [ids[0, 1], ids[1, 7], ids[2, 0]]
    tokenizer.save_pretrained(tmp_path)
    assert level_tokens(AutoTokenizer.from_pretrained(tmp_path), 3, 8).tolist() == ids.tolist()
    again = [
        token for token in AutoTokenizer.from_pretrained(tmp_path)("<a_1><b_7>, <c_0>")["input_ids"] if token in ids
    ]
    assert again == found
    with pytest.raises(InputError, match="lacks the token <d_0>"):
        level_tokens(tokenizer, 4, 8)


def test_new_rows_depend_on_no_global_generator_even_if_the_model_lacked_rows() -> None:
    rows = []
    for noise in (1, 2):
        tokenizer = case.tokenizer("embedded")
        model = case.model(len(tokenizer))
        tokenizer.add_tokens(["<image>"])  # in the tokenizer, not in the model
        torch.manual_seed(noise)
        add_code_tokens(model, tokenizer, 2, 4)
        rows.append(model.get_input_embeddings().weight.clone())
    assert torch.equal(rows[0], rows[1])


def test_rows_of_a_padded_vocabulary_are_used() -> None:
    tokenizer = case.tokenizer("embedded")
    model = case.model(len(tokenizer) + 64)
    ids = add_code_tokens(model, tokenizer, 3, 8)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) - 24 + 64
    assert ids.max() < model.get_input_embeddings().weight.shape[0]


def test_similar_codes_start_with_similar_rows() -> None:
    model, _, ids = case.coded(width=32)
    books = np.random.default_rng(0).standard_normal((3, 8, 6)).astype(np.float32)
    start_from_books(model, ids, books, seed=0)
    for weight in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
        rows = weight.detach().numpy()[ids]  # (3, 8, 32)
        for book, level in zip(books, rows, strict=True):
            ours, theirs = np.corrcoef(level)[np.triu_indices(8, 1)], book @ book.T
            cosines = (theirs / np.sqrt(np.outer(np.diag(theirs), np.diag(theirs))))[np.triu_indices(8, 1)]
            assert np.corrcoef(ours, cosines)[0, 1] > 0.8
