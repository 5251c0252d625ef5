from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, LlamaModel

from semconv.errors import MachineError
from semconv.search.memory import free_bytes, tokens_that_fit
from semconv.search.search import Searcher, SearchSettings
from tests.worlds.search import make_case


class SmallMemory(LlamaModel):
    """A decoder that fails when it is given more than ``most`` sequences at once."""

    most: int
    error: Exception

    def forward(self, *args, **kwargs):
        if len(kwargs["input_ids"]) > self.most:
            raise self.error
        return super().forward(*args, **kwargs)


class SmallMemoryForCausalLM(LlamaForCausalLM):
    def __init__(self, config, most: int, error: Exception):
        super().__init__(config)
        self.model = SmallMemory(config)
        self.model.most, self.model.error = most, error


def small_memory(case, most: int, error: Exception) -> None:
    model = SmallMemoryForCausalLM(case.model.config, most, error).eval()
    model.load_state_dict(case.model.state_dict())
    case.model = model


REFUSALS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=["card", "python", "allocator"])
def test_batches_that_memory_does_not_hold_are_halved_for_good(error):
    case = make_case(prompts=13, seed=41)
    said: list[str] = []
    settings = SearchSettings(top_k=5)
    others = case.rng.integers(0, 30, (13, 5))
    plain = Searcher(case.model, case.trie, case.level_tokens, settings).search(case.prompts, None, others)
    small_memory(case, 4, error)
    searcher = Searcher(case.model, case.trie, case.level_tokens, settings, said.append)
    for _ in range(2):
        found = searcher.search(case.prompts, None, others)
        np.testing.assert_array_equal(found.items[:, :5], plain.items[:, :5])
        np.testing.assert_allclose(found.scores, plain.scores, atol=1e-4)
        np.testing.assert_allclose(found.other_scores, plain.other_scores, atol=1e-4)
    assert said == [
        "out of memory with 13 prompts in a batch; continuing with 6",
        "out of memory with 6 prompts in a batch; continuing with 3",
    ]


def test_a_prompt_that_memory_does_not_hold_alone_is_named():
    case = make_case(prompts=2, seed=42)
    small_memory(case, 0, MemoryError())
    with pytest.raises(MachineError, match=r"one prompt of \d+ tokens.*recommend\.beams"):
        Searcher(case.model, case.trie, case.level_tokens, SearchSettings()).search(case.prompts, None)


def test_other_errors_are_no_lack_of_memory():
    case = make_case(prompts=5, seed=43)
    small_memory(case, 2, RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))
    with pytest.raises(RuntimeError, match="must match"):
        Searcher(case.model, case.trie, case.level_tokens, SearchSettings()).search(case.prompts, None)


def test_a_batch_takes_no_more_than_free_memory_holds(monkeypatch):
    case = make_case(seed=44)
    free = free_bytes(torch.device("cpu"))
    assert free is None or free > 1 << 20
    monkeypatch.setattr("semconv.search.memory.free_bytes", lambda _: None)
    assert tokens_that_fit(case.model, 5, 16384) == 16384
    monkeypatch.setattr("semconv.search.memory.free_bytes", lambda _: 1 << 40)
    assert tokens_that_fit(case.model, 5, 16384) == 16384
    sizes = []
    for free in (1 << 22, 1 << 23):
        monkeypatch.setattr("semconv.search.memory.free_bytes", lambda _, free=free: free)
        sizes.append(tokens_that_fit(case.model, 5, 16384))
    assert 1 < sizes[0] < 16384
    assert abs(sizes[1] - 2 * sizes[0]) <= 1
    monkeypatch.setattr("semconv.search.memory.free_bytes", lambda _: 1)
    assert tokens_that_fit(case.model, 5, 16384) == 1
