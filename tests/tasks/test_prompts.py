"""Wordings, prompts built from pieces, and rows compared with the text of their samples, token by token."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from semconv.columns import code_token
from semconv.errors import InputError
from semconv.settings.tasks import TaskSettings
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.export import samples
from semconv.tasks.history_tasks import HISTORY_TASKS, NEGATIVE, SEQUENTIAL
from semconv.tasks.plan import plan_epoch
from semconv.tasks.registry import TASK_NAMES
from semconv.tasks.rows import RowBuilder, epoch_rows
from semconv.tasks.selection import task_data
from semconv.tasks.text_tasks import QUERY, TEXT
from semconv.tasks.wordings import HISTORY_HEADS, clean, closing, opening
from semconv.tuning.batches import span_mask
from tests.worlds import plain_rows
from tests.worlds import prompts as case


@pytest.fixture(scope="module", params=case.TOKENIZERS)
def encoder(request: pytest.FixtureRequest) -> PromptEncoder:
    _, tokens, level_tokens = case.coded(request.param)
    return case.encoder_of(tokens, level_tokens)


def ids(encoder: PromptEncoder, text: str) -> list[int]:
    return list(encoder.tokenizer(text)["input_ids"])


def test_every_task_has_nine_wordings_of_its_own_and_the_papers_example() -> None:
    for pool in (HISTORY_HEADS, SEQUENTIAL.tails, NEGATIVE.tails, TEXT.wordings, QUERY.wordings):
        assert len(set(pool)) == len(pool) >= 9
    assert ", what to recommend to the user next?" in SEQUENTIAL.tails
    assert ", what will user hate next?" in NEGATIVE.tails
    assert "Here is the item interaction history of the user: " in HISTORY_HEADS
    text = TEXT.prompt(["LAMP", "A LIGHT"], 1)
    assert "An item is called LAMP and described as A LIGHT, can you tell me which item it is?" in text
    query = QUERY.prompt(["something warm"], 1)
    expected = "You meet a user's query: something warm. Please respond to this user by selecting an appropriate item"
    assert expected in query


def test_inference_uses_the_wording_that_the_paper_prints(encoder: PromptEncoder) -> None:
    history = np.array([3, 1, 4], dtype=np.int32)
    text = (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nThe user has interacted with "
        + ", ".join(encoder.item_text(item) for item in (3, 1, 4))
        + " in chronological order. Can you predict the next possible item that the user may expect?\n\n### Response:"
    )
    assert encoder.inference_prompt(history).tolist() == ids(encoder, text)
    assert encoder.query_prompt(" a lamp ").tolist() == ids(encoder, QUERY.prompt(["a lamp"], 0))


def test_every_head_and_tail_equals_the_tokens_of_the_whole_text(encoder: PromptEncoder) -> None:
    for length in (1, 2, 5):
        history = np.arange(length, dtype=np.int32)
        for index, head in enumerate(HISTORY_HEADS):
            before = opening(head) + encoder.history_text(history)
            for task in HISTORY_TASKS:
                tail = index % len(task.tails)
                built = np.concatenate([encoder.trunk(history, index), encoder.tails[task.name][tail]])
                assert built.tolist() == ids(encoder, before + closing(task.tails[tail]))


@pytest.mark.parametrize("limit", [2048, 110])
def test_rows_hold_exactly_the_exported_samples(encoder: PromptEncoder, limit: int) -> None:
    settings = TaskSettings(late_position_share=0.5, negative_share=1.0, max_prompt_tokens=limit)
    data = case.small_data(encoder, settings)
    plan = plan_epoch(data, settings, 1, history_length=6)
    builder = RowBuilder(encoder, data, settings)
    rows = epoch_rows(builder, plan, np.random.default_rng(0))
    inside = Counter(path for row in plain_rows.each(rows) for path in plain_rows.paths(row, case.LEVELS))
    exported = list(samples(RowBuilder(encoder, data, settings), plan))
    outside: Counter[Any] = Counter()
    for sample in exported:
        label = (*ids(encoder, sample.label)[-case.LEVELS :], encoder.end)
        outside[tuple(ids(encoder, sample.prompt)), label] += 1
    assert inside == outside
    assert rows.num_samples.sum() == len(exported)
    everything = len(list(samples(RowBuilder(encoder, data, TaskSettings(late_position_share=0.5)), plan)))
    assert builder.too_long == everything - len(exported)
    assert all(len(prompt) <= limit for prompt, _ in inside)
    if limit == 2048:
        assert {sample.task for sample in exported} == {"sequential", "negative", "text", "query"}
        assert builder.too_long == 0


def test_items_that_no_question_sees_are_not_in_the_trunk() -> None:
    _, tokens, level_tokens = case.coded()
    encoder = case.encoder_of(tokens, level_tokens)
    data = case.small_data(encoder, TaskSettings(text=False, query=False))
    item_width = case.LEVELS + 1
    settings = TaskSettings(
        text=False, query=False, max_prompt_tokens=1 + 3 * item_width
    )  # head, three items and a tail
    plan = plan_epoch(data, settings, 0, 20)
    rows = epoch_rows(RowBuilder(encoder, data, settings), plan, np.random.default_rng(0))
    for row in plain_rows.each(rows):
        trunk = int((row.spans[0, :, 3] == 0).sum())
        assert trunk <= settings.max_prompt_tokens
        assert row.history_tokens.tolist() == row.tokens[0, row.history_index + 1].tolist()
        assert row.history_index.max(initial=0) < trunk - 1


def test_an_epoch_without_a_short_enough_prompt_is_refused() -> None:
    _, tokens, level_tokens = case.coded("metaspace-first")
    encoder = case.encoder_of(tokens, level_tokens)
    settings = TaskSettings(max_prompt_tokens=16)
    data = case.small_data(encoder, settings)
    builder = RowBuilder(encoder, data, settings)
    plan = plan_epoch(data, settings, 0, 20)
    count = len(list(samples(RowBuilder(encoder, data, TaskSettings()), plan)))
    with pytest.raises(InputError, match=rf"all {count} prompts .* tasks.max_prompt_tokens = 16; raise it"):
        epoch_rows(builder, plan, np.random.default_rng(0))
    assert builder.too_long == count


@pytest.mark.parametrize(
    "settings",
    [
        TaskSettings(late_position_share=0.5, negative_share=0.5),
        TaskSettings(late_position_share=1.0, negative_share=1.0, negatives=5, max_prompt_tokens=110),
        TaskSettings(sequential=False, negative_share=1.0, text_share=0.5, query_share=0.5),
        TaskSettings(negatives=0, text=False, query=False),
        TaskSettings(negatives=0, position_share=0.3),
    ],
)
def test_rows_equal_those_built_one_at_a_time(encoder: PromptEncoder, settings: TaskSettings) -> None:
    data = case.small_data(encoder, settings)
    for epoch in (0, 1):
        plan = plan_epoch(data, settings, epoch, 6)
        builder = RowBuilder(encoder, data, settings)
        rows = epoch_rows(builder, plan, np.random.default_rng(epoch))
        limit, rng = settings.max_prompt_tokens, np.random.default_rng(epoch)
        plain, too_long = plain_rows.epoch_rows(encoder, data, plan, limit, rng)
        assert builder.too_long == too_long
        plain_rows.require_equal(rows, plain)


@pytest.mark.parametrize("missing", ["text", "queries", "histories", "negatives"])
def test_a_missing_kind_of_data_leaves_out_its_tasks_alone(encoder: PromptEncoder, missing: str) -> None:
    rows = [[3], [7], []] if missing == "histories" else [[3, 1, 4], [7], [2, 6]]
    count = sum(map(len, rows))
    queries = [None] * count if missing == "queries" else [f"words {row}" for row in range(count)]
    titles = [None] * 40 if missing == "text" else case.sentences(40)
    settings = TaskSettings(negative_share=0.0 if missing == "negatives" else 1.0)
    data = task_data(case.sequences(rows, queries=queries), encoder.has_codes, titles, [None] * 40, settings)
    made = epoch_rows(RowBuilder(encoder, data, settings), plan_epoch(data, settings, 0, 20), np.random.default_rng(0))
    tasks = Counter(TASK_NAMES[task] for task in made.padded(0).sample_tasks)
    expected = {"sequential": 3, "negative": 9, "text": 38, "query": count}  # items 11 and 12 have no codes
    gone = {"text": ["text"], "queries": ["query"], "histories": ["sequential", "negative"], "negatives": ["negative"]}
    assert tasks == {task: number for task, number in expected.items() if task not in gone[missing]}


def test_rows_side_by_side_are_the_rows_alone(encoder: PromptEncoder) -> None:
    settings = TaskSettings(late_position_share=0.5, negative_share=0.5)
    data = case.small_data(encoder, settings)
    rows = epoch_rows(RowBuilder(encoder, data, settings), plan_epoch(data, settings, 0, 6), np.random.default_rng(0))
    members = np.random.default_rng(1).permutation(len(rows))[:12].tolist()
    block, pad = rows[members].padded(7), rows[members].padded(7).tokens.shape[1]
    labels: list[int] = []
    history: list[int] = []
    for row, member in enumerate(members):
        one = rows[member].padded(0)
        size = int(rows.lengths[member])
        assert block.tokens[row].tolist() == [*one.tokens[0].tolist(), *[7] * (pad - size)]
        assert block.positions[row, :size].tolist() == one.positions[0].tolist()
        assert block.spans[row, :size].tolist() == one.spans[0].tolist()
        assert block.spans[row, size:].tolist() == [[0, 0, 0, at] for at in range(size, pad)]
        labels += (one.label_index + row * pad).tolist()
        history += (one.history_index + row * pad).tolist()
    assert block.label_index.tolist() == labels
    assert block.history_index.tolist() == history
    assert len(block.sample_tasks) == rows.num_samples[members].sum()


def test_layout_of_one_trunk_two_questions_and_three_labels() -> None:
    layout = plain_rows.layout(3, [(2, 1, 1), (3, 2, 2)], label_tokens=2)
    mask = span_mask(torch.tensor([layout.spans]))[0, 0].numpy()
    assert layout.positions == [0, 1, 2, 2, 3, 4, 3, 4, 5, 6, 5, 6]
    assert layout.label_index == [3, 4, 5, 7, 8, 9, 7, 10, 11]
    rows = ["".join("x" if sees else "." for sees in row) for row in mask]
    assert rows == [
        "x...........",
        "xx..........",
        "xxx.........",
        "xx.x........",
        "xx.xx.......",
        "xx.xxx......",
        "xxx...x.....",
        "xxx...xx....",
        "xxx...xxx...",
        "xxx...xxxx..",
        "xxx...xx..x.",
        "xxx...xx..xx",
    ]


@pytest.mark.parametrize(
    "text",
    ["<a_1>", "<<a_1>>", "<<<b_7>>>", "a <c_0><a_2> b", "<a_<a_1>>", "<</s>>", "</s>", "<a_1><", "<s><unk><pad>"],
)
def test_words_of_users_cannot_bring_in_code_tokens_or_ends(encoder: PromptEncoder, text: str) -> None:
    special = {int(token) for token in encoder.item_tokens.ravel()} | set(encoder.tokenizer.all_special_ids)
    level_tokens = {encoder.tokenizer.convert_tokens_to_ids(code_token(n, c)) for n in range(3) for c in range(8)}
    begin = encoder.tokenizer("x")["input_ids"][:-1][:1]  # a BOS where there is one
    for prompt in (QUERY.prompt([text], 3), TEXT.prompt([text, text], 2), TEXT.prompt([None, text], 0)):
        tokens = encoder.tokenize([prompt])[0].tolist()
        inner = tokens[1:] if begin and tokens[0] == begin[0] else tokens
        assert not (special | level_tokens) & set(inner) - {encoder.tokenizer.unk_token_id}
    assert encoder.query_prompt(text).tolist()


def test_clean_keeps_words_and_signs() -> None:
    assert clean(" a < b, 3<4 and x > y ") == "a < b, 3<4 and x > y"
    assert clean("I <3 it > that") == "I <3 it > that"


def test_a_prompt_never_ends_with_the_end_that_a_tokenizer_adds() -> None:
    from tokenizers import processors

    _, tokens, level_tokens = case.coded("metaspace-first")
    tokens.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    encoder = case.encoder_of(tokens, level_tokens)
    history = np.array([3, 1], dtype=np.int32)
    assert encoder.inference_prompt(history)[-1] != encoder.end
    assert encoder.query_prompt("a lamp")[-1] != encoder.end
    assert [*encoder.inference_prompt(history), encoder.end] == ids(
        encoder,
        opening(HISTORY_HEADS[0]) + encoder.history_text(history) + closing(SEQUENTIAL.tails[0]),
    )


def test_a_tokenizer_that_splits_code_tokens_is_refused() -> None:
    _, tokens, level_tokens = case.coded()
    with pytest.raises(InputError, match="splits code tokens into parts"):
        PromptEncoder(tokens, level_tokens + 10_000, *case.item_codes(40), 40)
