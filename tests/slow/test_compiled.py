"""A compiled model finds the same lists; tracing alone takes half a minute."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from semconv.backbone.forward import compile_decoder
from semconv.search.search import Searcher, SearchSettings
from tests.worlds.search import Case, make_case


def answers(case: Case) -> list[np.ndarray]:
    """Lists and scores of batches of several shapes, with a common head and without one."""
    searcher = Searcher(case.model, case.trie, case.level_tokens, SearchSettings(top_k=8, beams=12, scores="full"))
    headless = [np.roll(prompt, row + 1) for row, prompt in enumerate(case.prompts)]
    others = np.arange(3 * 4).reshape(3, 4)
    found = []
    for prompts in (case.prompts, case.prompts[:1], headless, headless[1:3], case.prompts[2:5]):
        found += searcher.search(prompts, None)
    return [*found, *searcher.search(headless[:3], None, others), *searcher.search(case.prompts[:3], None, others)]


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for ours, plain in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_traced_model_finds_the_same_lists(architecture):
    case = make_case(architecture, seed=4)
    expected = answers(case)
    torch.compiler.reset()
    compile_decoder(case.model, backend="eager")  # traced and guarded as ever, no code is generated
    assert_same(answers(case), expected)


@pytest.mark.skipif(shutil.which("g++") is None, reason="nothing compiles here")
def test_compiled_model_finds_the_same_lists():
    case = make_case(seed=5)
    expected = answers(case)
    compile_decoder(case.model)
    assert_same(answers(case), expected)
