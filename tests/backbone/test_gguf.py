"""GGUF files: each one that cannot be used is named in one line, and a good one gives the same model."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers

from semconv.backbone.gguf_header import is_gguf, read_header
from semconv.backbone.gguf_model import save_gguf_model
from semconv.backbone.load import load_backbone
from semconv.errors import InputError, SettingsError
from tests.worlds import gguf_files as case
from tests.worlds import prompts
from tests.worlds.faults import damage

HAS_GGUF = importlib.util.find_spec("gguf") is not None
needs_gguf = pytest.mark.pretrained


def refused(file: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        save_gguf_model(file, file.parent / "model")
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_header_says_what_the_file_holds(tmp_path: Path) -> None:
    file = case.write(tmp_path / "model.gguf", tail=96)
    found = read_header(file)
    start = len(case.header()) + -len(case.header()) % 32
    assert found.architecture == "llama"
    assert found.values == {"general.architecture": "llama", "llama.block_count": 1}
    assert [(tensor.name, tensor.weights, tensor.start) for tensor in found.tensors] == [
        ("token_embd.weight", 8, start),
        ("blk.0.attn_q.weight", 16, start + 32),
    ]


def test_a_file_is_known_by_its_content_or_by_its_name(tmp_path: Path) -> None:
    assert is_gguf(case.write(tmp_path / "sha256-0123"))
    (tmp_path / "empty.GGUF").write_bytes(b"")
    assert is_gguf(tmp_path / "empty.GGUF")
    (tmp_path / "folder.gguf").mkdir()
    assert not is_gguf(tmp_path / "folder.gguf")
    assert not is_gguf(tmp_path / "none.gguf")
    with pytest.raises(InputError, match=r"none.gguf: no such file; check the path"):
        load_backbone("none.gguf")


ENDS = "is no complete GGUF file"


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"magic": b"GGML"}, "no GGUF file, because it does not begin with GGUF; download or convert"),
        ({"version": 1}, f"{ENDS} .its version is 1, not one of 2, 3"),
        ({"version": 3 << 24}, f"{ENDS} .its version is"),  # of a machine with the other order of bytes
        ({"values": {**case.VALUES, "x": case.array(5, 2**60)}}, f"{ENDS} .it ends too early"),
        ({"values": {**case.VALUES, "x": case.array(8, 2**60)}}, f"{ENDS} .it ends too early"),
        ({"values": {**case.VALUES, "x": case.array(77, 1)}}, f"{ENDS} .x is an array of the unknown kind 77"),
        ({"values": {**case.VALUES, "x": b"\x4d\0\0\0"}}, f"{ENDS} .the value of x has the unknown kind 77"),
        ({"values": {**case.VALUES, "general.alignment": 0}}, f"{ENDS} .general.alignment is 0"),
        ({"tensors": [("token_embd.weight", (2,) * 9, 0, 0)]}, "tensor token_embd.weight has 9 dimensions"),
        ({"values": {}}, "architecture unknown is not supported; use a GGUF file of one of llama, qwen2, qwen3"),
        ({"values": {"general.architecture": "gemma3"}}, "architecture gemma3 is not supported"),
        ({"values": {**case.VALUES, "split.count": 3}}, "this is one of 3 parts of a model; merge them"),
        ({"values": {**case.VALUES, "llama.rope.scaling.type": "yarn"}}, "scaled rotary positions are not read"),
        ({"tensors": [("rope_freqs.weight", (4,), 0, 0)]}, "scaled rotary positions are not read"),
        ({"tensors": [("blk.0.ffn_gate_exps.weight", (4,), 0, 0)]}, "1 of its tensors have no place .*ffn_gate_exps"),
        ({"values": {**case.VALUES, "llama.attention.sliding_window": 64}}, "sliding attention window"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_without_the_package(
    tmp_path: Path, parts: dict[str, Any], match: str
) -> None:
    refused(case.write(tmp_path / "model.gguf", **parts), match)


@pytest.mark.parametrize("harm", [damage.empty, damage.overwrite])
def test_a_file_of_other_content_is_named(tmp_path: Path, harm: damage.Damage) -> None:
    file = case.write(tmp_path / "model.gguf")
    harm(file)
    refused(file, "does not begin with GGUF")


def test_a_header_that_was_cut_or_changed_anywhere_is_read_or_named(tmp_path: Path) -> None:
    content, file, draw = case.header(), tmp_path / "model.gguf", random.Random(0)
    for length in range(4, len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(InputError, match=ENDS):
            read_header(file)
    for _ in range(1000):
        changed = bytearray(content + bytes(64))
        changed[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(changed)
        try:
            read_header(file)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.skipif(HAS_GGUF, reason="the extra semconv[gguf] is installed")
def test_without_the_package_the_command_to_install_it_is_named(tmp_path: Path) -> None:
    file = case.write(tmp_path / "model.gguf")
    with pytest.raises(
        SettingsError, match=r"needs the package gguf, which is not installed; run `pip install 'semconv"
    ):
        save_gguf_model(file, tmp_path / "model")


@needs_gguf
@pytest.mark.parametrize(
    ("kind", "tied", "form"),
    [("llama", True, "F32"), ("llama", False, "Q8_0"), ("qwen2", False, "F16"), ("qwen3", True, "BF16")],
)
def test_a_file_gives_the_same_model(tmp_path: Path, kind: str, tied: bool, form: str) -> None:
    tokenizer = prompts.tokenizer("embedded")
    model = prompts.model(len(tokenizer), kind=kind, tied=tied, width=32)
    file = case.write_model(tmp_path / "model.gguf", model, tokenizer, form)
    save_gguf_model(file, tmp_path / "model")
    found, read = load_backbone(tmp_path / "model")
    assert found.config.tie_word_embeddings == tied
    letters = set(pre_tokenizers.ByteLevel.alphabet())  # transformers spells all other tokens in these letters
    learned = {token: number for token, number in tokenizer.get_vocab().items() if letters.issuperset(token)}
    assert learned.items() <= read.get_vocab().items()
    assert len(read) == len(found.get_input_embeddings().weight)
    assert read.eos_token_id == tokenizer.eos_token_id
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, len(tokenizer), (2, 9)))
    case.round_weights(model, form)
    with torch.no_grad():
        wanted, given = model(tokens).logits, found(tokens).logits[:, :, : len(tokenizer)]
    assert float((wanted - given).abs().max() / wanted.std()) < 1e-4


@needs_gguf
@pytest.mark.parametrize(
    ("form", "match"),
    [
        (99, "tensor token_embd.weight has the number format 99, which the installed package gguf does not know"),
        (15, r"its weights cannot be read \(.*not yet implemented.*; use a file with another number format"),  # Q8_K
    ],
)
def test_a_number_format_that_cannot_be_read_is_named(tmp_path: Path, form: int, match: str) -> None:
    tokenizer = prompts.tokenizer("embedded")
    model = prompts.model(len(tokenizer), tied=True, width=256)
    file = case.write_model(tmp_path / "model.gguf", model, tokenizer)
    content = bytearray(file.read_bytes())
    name = b"token_embd.weight"
    at = content.index(name) + len(name) + 4 + 16
    content[at : at + 4] = form.to_bytes(4, "little")
    file.write_bytes(content + bytes(1 << 16))
    refused(file, match)


@needs_gguf
def test_a_file_that_ends_too_early_is_named(tmp_path: Path) -> None:
    tokenizer = prompts.tokenizer("embedded")
    file = case.write_model(tmp_path / "model.gguf", prompts.model(len(tokenizer), tied=True), tokenizer)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) - 100])
    refused(file, r"the file ends too early: tensor .* needs [\d,]+ bytes, and it has [\d,]+; download the model again")
    damage.cut_short(file)
    refused(file, "ends too early")
