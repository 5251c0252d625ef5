from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from semconv.errors import InputError, SettingsError
from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie import CodeTrie
from tests.worlds.search import ARCHITECTURES, WORDS, Case, best_items, make_case, ranked


def search(case: Case, seen=None, trie=None, **settings):
    return best_items(
        case.model,
        case.trie if trie is None else trie,
        case.level_tokens,
        case.prompts,
        seen,
        SearchSettings(**settings),
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_wide_search_equals_brute_force_over_all_items(architecture):
    case = make_case(architecture, seed=1)
    items, values = search(case, top_k=30, beams=30, scores="full")
    expected, expected_values = ranked(case.oracle("full"), 30)
    np.testing.assert_array_equal(items, expected)
    np.testing.assert_allclose(values, expected_values, atol=1e-4)
    assert items.dtype == np.int32
    assert values.dtype == np.float32


def test_among_existing_codes_the_items_share_all_of_the_probability():
    case = make_case(seed=3)
    items, values = search(case, top_k=30, beams=30, scores="trie")
    np.testing.assert_allclose(np.exp(values).sum(axis=1), 1.0, atol=1e-4)  # brute force: no path leads to nothing
    assert [len(set(row)) for row in items.tolist()] == [30] * len(items)
    closed, left = search(case, [items[row, :1] for row in range(len(items))], top_k=10, beams=30, scores="trie")
    np.testing.assert_array_equal(closed, items[:, 1:11])  # what a user has still counts as existing
    np.testing.assert_allclose(left, values[:, 1:11], atol=1e-5)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_any_number_of_levels(levels):
    case = make_case(items=12, codes=12 if levels == 1 else 4, levels=levels, prompts=2, seed=levels)
    items, values = search(case, top_k=12, beams=12)
    expected, expected_values = ranked(case.oracle(), 12)
    np.testing.assert_array_equal(items, expected)
    np.testing.assert_allclose(values, expected_values, atol=1e-4)


def test_seen_items_are_closed_inside_the_search():
    case = make_case(seed=2)
    seen = [case.rng.choice(30, size, replace=False) for size in (0, 3, 15, 27, 30)]
    items, values = search(case, seen, top_k=10, beams=30)
    oracle = case.oracle()
    for row, taken in enumerate(seen):
        oracle[row, taken] = -np.inf
    expected, expected_values = ranked(oracle, 10)
    np.testing.assert_array_equal(items, expected)
    np.testing.assert_allclose(values, expected_values, atol=1e-4)
    assert ((items >= 0).sum(axis=1) == [10, 10, 10, 3, 0]).all()


@pytest.mark.parametrize("beams", [3, 5])
def test_narrow_search_stays_full_when_the_best_items_are_seen(beams):
    case = make_case(seed=3)
    best, _ = ranked(case.oracle(), 20)
    items, _ = search(case, list(best), top_k=beams, beams=beams)
    assert (items >= 0).all()
    for row, taken in enumerate(best):
        assert not np.isin(items[row], taken).any()
        assert len(set(items[row])) == beams


def test_seen_items_that_are_not_in_the_trie_change_nothing():
    case = make_case(seed=4)
    strangers = [np.array([500, 31, 500])] * len(case.prompts)
    for got, expected in zip(search(case, strangers, top_k=5), search(case, None, top_k=5), strict=True):
        np.testing.assert_array_equal(got, expected)


def generate_constrained(case: Case, prompt, width: int, open_codes=None):
    """Codes ``(width, N)`` and scores of transformers' own beam search under the trie of all codes, or of some."""
    open_codes = (case.codes if open_codes is None else open_codes).tolist()
    code_of = {int(token): code for tokens in case.level_tokens for code, token in enumerate(tokens)}

    def allowed(_, ids):
        prefix = [code_of[int(token)] for token in ids[len(prompt) :]]
        level = len(prefix)
        fitting = {codes[level] for codes in open_codes if codes[:level] == prefix}
        return [int(case.level_tokens[level, code]) for code in fitting]

    config = GenerationConfig(
        num_beams=width,
        num_return_sequences=width,
        max_new_tokens=case.codes.shape[1],
        do_sample=False,
        length_penalty=0.0,
        early_stopping=False,
        output_scores=True,
        return_dict_in_generate=True,
        pad_token_id=case.model.config.vocab_size - 1,  # in no prompt: generate would mask it there
    )
    with torch.no_grad():
        output = case.model.generate(
            torch.from_numpy(prompt)[None], generation_config=config, prefix_allowed_tokens_fn=allowed
        )
    codes = [[code_of[int(token)] for token in line[len(prompt) :]] for line in output.sequences]
    return codes, output.sequences_scores.numpy()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_constrained_generate_at_the_same_width(architecture, seed):
    case = make_case(architecture, items=40, seed=10 + seed)
    items, values = search(case, top_k=4, beams=4)
    for row, prompt in enumerate(case.prompts):
        codes, scores = generate_constrained(case, prompt, 4)
        assert case.codes[items[row]].tolist() == codes
        np.testing.assert_allclose(values[row], scores, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_constrained_generate_with_masks_and_collisions(architecture):
    case = make_case(architecture, items=40, seed=18)
    codes = np.concatenate([case.codes, case.codes[:15]])  # items 40 .. 54 share the codes of items 0 .. 14
    allowed = case.rng.random(55) < 0.7
    trie = CodeTrie.build(codes, np.arange(55), np.arange(55)).restrict(allowed)
    seen = [case.rng.choice(55, size, replace=False) for size in (0, 5, 10, 20, 30)]
    items, values = search(case, seen, trie, top_k=4, beams=4)
    for row, prompt in enumerate(case.prompts):
        left = allowed & ~np.isin(np.arange(55), seen[row])
        found, scores = generate_constrained(case, prompt, 4, codes[left])
        opened = [
            (item, score)
            for leaf, score in zip(found, scores, strict=True)
            for item in np.flatnonzero((codes == leaf).all(axis=1) & left)[::-1]  # the last is the most popular
        ]
        assert items[row].tolist() == [item for item, _ in opened][:4]
        np.testing.assert_allclose(values[row], [score for _, score in opened][:4], atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_among_existing_codes_a_wide_search_equals_brute_force(architecture):
    case = make_case(architecture, items=40, codes=6, seed=19)
    items, values = search(case, top_k=40, beams=40, scores="trie")
    expected, expected_values = ranked(case.oracle("trie"), 40)
    np.testing.assert_array_equal(items, expected)
    np.testing.assert_allclose(values, expected_values, atol=1e-4)


@pytest.mark.parametrize("beams", [1, 3, 6])
def test_among_existing_codes_a_narrow_search_equals_a_plain_one(beams):
    """The model skips beams with a single leaf below; the lists must not show it."""
    case = make_case("qwen3", items=50, codes=6, levels=4, seed=20)
    items, values = search(case, top_k=beams, beams=beams, scores="trie")
    for row, prompt in enumerate(case.prompts):
        kept = [((), 0.0)]
        for level in range(4):
            grown = []
            for prefix, score in kept:
                below = np.unique([codes[level] for codes in case.codes.tolist() if tuple(codes[:level]) == prefix])
                tokens = case.level_tokens[np.arange(level), list(prefix)]
                with torch.no_grad():
                    line = case.model(torch.from_numpy(np.concatenate([prompt, tokens]))[None]).logits[0, -1]
                steps = line[torch.from_numpy(case.level_tokens[level][below])].log_softmax(0).tolist()
                grown += [((*prefix, int(code)), score + step) for code, step in zip(below, steps, strict=True)]
            kept = sorted(grown, key=lambda pair: -pair[1])[:beams]
        assert [tuple(case.codes[item]) for item in items[row]] == [prefix for prefix, _ in kept]
        np.testing.assert_allclose(values[row], [score for _, score in kept], atol=1e-4)


@pytest.mark.parametrize("batch_tokens", [64, 100, 4096])
def test_batch_equals_single(batch_tokens):
    case = make_case("qwen3", prompts=9, seed=5)
    seen = [case.rng.choice(30, 6, replace=False) for _ in case.prompts]
    items, values = search(case, seen, top_k=6, beams=6, batch_tokens=batch_tokens)
    for row in range(len(case.prompts)):
        alone = Case(case.model, case.codes, case.level_tokens, [case.prompts[row]], case.rng)
        one, one_values = search(alone, [seen[row]], top_k=6, beams=6)
        np.testing.assert_array_equal(items[row], one[0])
        np.testing.assert_allclose(values[row], one_values[0], atol=1e-4)


def test_users_with_an_empty_prompt_have_no_beams_and_change_nothing_for_others():
    case = make_case(prompts=4, seed=45)
    others = np.tile([3, 7], (6, 1))
    searcher = Searcher(case.model, case.trie, case.level_tokens, SearchSettings(5, 6))
    whole = searcher.search(case.prompts, None, others[:4])
    empty = np.zeros(0, dtype=np.int64)
    gaps = searcher.search([empty, *case.prompts[:2], empty, *case.prompts[2:]], None, others)
    for found, expected in zip(gaps, whole, strict=True):
        np.testing.assert_allclose(found[[1, 2, 4, 5]], expected, atol=1e-4)
    assert (gaps.items[[0, 3]] == -1).all()
    assert np.isneginf(gaps.scores[[0, 3]]).all()
    assert np.isneginf(gaps.other_scores[[0, 3]]).all()
    nobody = searcher.search([empty, empty], None, others[:2])
    assert (nobody.items == -1).all()


def with_a_head(case: Case, length: int = 11) -> None:
    head = case.rng.integers(0, WORDS, length)
    case.prompts = [np.concatenate([head, prompt]) for prompt in case.prompts]
    case.prompts[4] = np.append(head, 3)  # one token of its own


def record_reads(case: Case, monkeypatch) -> list[tuple[int, int]]:
    """Shapes ``(B, T)`` of what the model is given from now on."""
    read: list[tuple[int, int]] = []
    forward = case.model.model.forward
    monkeypatch.setattr(
        case.model.model, "forward", lambda **given: (read.append(tuple(given["input_ids"].shape)), forward(**given))[1]
    )
    return read


def merge_an_adapter(case: Case) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, init_lora_weights=False, target_modules="all-linear")
    case.model = get_peft_model(case.model, config).merge_and_unload().eval()


@pytest.mark.parametrize("is_merged", [False, True], ids=["full", "merged"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_common_beginning_is_read_once_a_job_and_changes_nothing(architecture, is_merged, monkeypatch):
    case = make_case(architecture, prompts=8, seed=13)
    if is_merged:
        merge_an_adapter(case)
    with_a_head(case)
    expected, expected_values = ranked(case.oracle(), 8)
    read = record_reads(case, monkeypatch)
    searcher = Searcher(case.model, case.trie, case.level_tokens, SearchSettings(8, 30, batch_tokens=64))
    for shard in (slice(0, 5), slice(5, 8)):
        items, values, _ = searcher.search(case.prompts[shard], None)[:3]
        np.testing.assert_array_equal(items[:, :8], expected[shard])
        np.testing.assert_allclose(values[:, :8], expected_values[shard], atol=1e-4)
    assert read.count((1, 11)) == 1, "several batches of two shards read the head once"
    assert len(read) > 7
    longest = max(map(len, case.prompts))
    assert max(length for _, length in read) < longest, "and nobody reads a whole prompt"
    monkeypatch.setattr("semconv.search.reader._WORTHWHILE_HEAD", 1000)
    read.clear()
    items, values = search(case, top_k=8, beams=30)
    assert read[0] == (8, longest)
    np.testing.assert_array_equal(items, expected)
    np.testing.assert_allclose(values, expected_values, atol=1e-4)


def test_another_beginning_is_read_again():
    case = make_case(prompts=6, seed=14)
    searcher = Searcher(case.model, case.trie, case.level_tokens, SearchSettings(5, 30))
    for _ in range(2):
        with_a_head(case)
        items, values, _ = searcher.search(case.prompts, None)[:3]
        expected, expected_values = ranked(case.oracle(), 5)
        np.testing.assert_array_equal(items[:, :5], expected)
        np.testing.assert_allclose(values[:, :5], expected_values, atol=1e-4)


def test_equal_prompts_share_all_but_their_last_token():
    case = make_case(prompts=2, seed=14)
    case.prompts = [np.arange(12)] * 3
    items, values = search(case, top_k=5, beams=30)
    expected, expected_values = ranked(case.oracle(), 5)
    np.testing.assert_array_equal(items, expected)
    np.testing.assert_allclose(values, expected_values, atol=1e-4)


def test_kept_collisions_open_into_all_their_items_most_popular_first():
    case = make_case(items=6, seed=6)
    codes = np.repeat(case.codes, [1, 3, 1, 2, 1, 2], axis=0)  # (10, N)
    popularity = np.array([0, 5, 9, 7, 0, 1, 2, 0, 4, 4])
    trie = CodeTrie.build(codes, np.arange(10), popularity)
    groups = [[0], [2, 3, 1], [4], [6, 5], [7], [8, 9]]  # by leaf, most popular first, then item_index
    order, best = ranked(case.oracle(), 6)
    items, values = search(case, None, trie, top_k=10, beams=10)
    for row in range(len(case.prompts)):
        assert items[row].tolist() == [item for leaf in order[row] for item in groups[leaf]]
        expected = [best[row, rank] for rank, leaf in enumerate(order[row]) for _ in groups[leaf]]
        np.testing.assert_allclose(values[row], expected, atol=1e-4)
    seen = [np.array([2, 6, 5])] * len(case.prompts)
    items, _ = search(case, seen, trie, top_k=10, beams=10)
    for row in range(len(case.prompts)):
        left = [item for leaf in order[row] for item in groups[leaf] if item not in (2, 6, 5)]
        assert items[row].tolist() == left + [-1] * 3


def test_restricted_trie_equals_brute_force_over_allowed_items():
    case = make_case(seed=7)
    allowed = np.zeros(30, dtype=bool)
    allowed[case.rng.choice(30, 11, replace=False)] = True
    items, _ = search(case, None, case.trie.restrict(allowed), top_k=11, beams=30)
    expected, _ = ranked(np.where(allowed, case.oracle(), -np.inf), 11)
    np.testing.assert_array_equal(items, expected)


def test_nothing_to_recommend_gives_empty_lists():
    case = make_case(seed=8)
    items, values = search(case, None, case.trie.restrict(np.zeros(30, dtype=bool)), top_k=4)
    assert (items == -1).all()
    assert np.isneginf(values).all()
    items, _ = best_items(case.model, case.trie, case.level_tokens, [], None, SearchSettings())
    assert items.shape == (0, 20)


def test_wrong_input_is_named():
    case = make_case(seed=9)
    with pytest.raises(SettingsError, match=r"recommend\.beams = 5"):
        search(case, top_k=10, beams=5)
    with pytest.raises(InputError, match="seen"):
        search(case, [np.array([1])], top_k=10)
    with pytest.raises(InputError, match="different code sets"):
        best_items(case.model, case.trie, case.level_tokens[:2], case.prompts, None, SearchSettings())
    with pytest.raises(InputError, match="output matrix"):
        best_items(case.model, case.trie, case.level_tokens + 50, case.prompts, None, SearchSettings())
    with torch.no_grad():
        case.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="NaN"):
        search(case, top_k=5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lists_of_a_bfloat16_model_are_much_like_those_of_float32(architecture):
    case = make_case(architecture, prompts=12, seed=15)
    for scores in ("full", "trie"):
        wide, wide_values = search(case, top_k=10, beams=30, scores=scores)
        narrow_case = Case(case.model.to(torch.bfloat16), case.codes, case.level_tokens, case.prompts, case.rng)
        narrow, values = search(narrow_case, top_k=10, beams=30, scores=scores)
        case.model.float()
        assert values.dtype == np.float32
        shared = [len(set(a) & set(b)) / 10 for a, b in zip(wide.tolist(), narrow.tolist(), strict=True)]
        assert np.mean(shared) > 0.8
        assert np.median(np.abs(values - wide_values)) < 0.2
