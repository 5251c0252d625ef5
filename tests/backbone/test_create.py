"""The built-in backbone, text vectors, and refused backbones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import flex_attention
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
)

from semconv.backbone.attention import require_attention, using_attention
from semconv.backbone.create import create_backbone, ppmi_rows, train_tokenizer
from semconv.backbone.forward import ModelInput, decode_hidden
from semconv.backbone.load import load_backbone
from semconv.backbone.probe import check_branches
from semconv.backbone.text_vectors import TextVectors, embed_texts, item_text
from semconv.errors import InputError, SettingsError
from semconv.settings.backbone import BackboneSettings
from semconv.settings.tuning import TuningSettings
from semconv.tasks.registry import phrases
from semconv.tuning.form import TokenForm
from semconv.tuning.step import Stepper
from tests.worlds import prompts as case

SMALL = BackboneSettings(width=16, layers=1, heads=2, mlp_width=32, vocabulary=320, context=256)


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backbone")
    create_backbone(folder, case.sentences(50), [(0, "a query")], phrases(), SMALL)
    return folder


def test_every_phrase_is_one_token_and_texts_survive_decoding(created: Path) -> None:
    _, tokenizer = load_backbone(created)
    for phrase in phrases():
        assert len(tokenizer(phrase)["input_ids"]) == 1
    for text in ("a red lamp", " Ünïcode, and signs: 5 < 6!", "x\n\ny"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.eos_token_id is not None
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_transformers_loads_it_and_texts_and_seed_determine_it(created: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(created)
    assert len(AutoTokenizer.from_pretrained(created)) == model.get_input_embeddings().weight.shape[0]
    torch.manual_seed(77)
    figures = create_backbone(tmp_path / "again", case.sentences(50), [(0, "a query")], phrases(), SMALL)
    assert figures["parameters"] == model.num_parameters()
    assert figures["vocabulary"] == model.config.vocab_size
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (created / name).read_bytes()
    other = BackboneSettings(**{**vars(SMALL), "seed": 1})
    create_backbone(tmp_path / "other", case.sentences(50), [(0, "a query")], phrases(), other)
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != (created / "model.safetensors").read_bytes()


def test_words_of_the_same_items_start_with_similar_rows() -> None:
    groups = [
        ["oboe", "flute", "horn", "viola"],
        ["pasta", "olive", "basil", "flour"],
        ["tent", "stove", "boots", "rope"],
    ]
    rng = np.random.default_rng(0)
    texts = [" " + " ".join(rng.permutation(groups[n % 3])[:3]) for n in range(120)]
    tokenizer = train_tokenizer(texts, [], 320)
    rows = ppmi_rows(tokenizer(texts)["input_ids"], len(tokenizer), 16, 0)
    words = {word: tokenizer(f" {word}")["input_ids"] for group in groups for word in group}
    assert all(len(tokens) == 1 for tokens in words.values())
    unit = {word: rows[tokens[0]] / np.linalg.norm(rows[tokens[0]]) for word, tokens in words.items()}
    for group in groups:
        for word in group:
            near = min(unit[word] @ unit[other] for other in group if other != word)
            far = max(unit[word] @ unit[other] for other in unit if other not in group)
            assert near > far + 0.2
    occurring = np.abs(rows).sum(axis=1) > 0
    assert np.sqrt(np.mean(rows[occurring] ** 2)) == pytest.approx(0.02, rel=0.2)
    assert not occurring.all()


@pytest.mark.parametrize(
    "texts", [[], ["one item"], ["the same", "the same", "the same"], ["", "x"], ["red", "blue"] * 20]
)
def test_catalogues_with_hardly_any_text_have_a_backbone_too(tmp_path: Path, texts: list[str]) -> None:
    create_backbone(tmp_path, texts, [], phrases(), SMALL)
    model, tokenizer = load_backbone(tmp_path)
    assert torch.isfinite(model.get_input_embeddings().weight).all()
    assert len(tokenizer("a lamp")["input_ids"]) > 1


@pytest.mark.parametrize(("width", "heads"), [(16, 3), (12, 4), (20, 4), (9, 1)])
def test_heads_without_an_even_width_are_refused(tmp_path: Path, width: int, heads: int) -> None:
    refused = rf"^backbone\.width = {width}: must be a multiple of {2 * heads}, twice backbone\.heads = {heads}; change"
    with pytest.raises(SettingsError, match=refused):
        create_backbone(tmp_path, [], [], [], BackboneSettings(width=width, heads=heads))


def test_the_smallest_width_of_each_head_is_two(tmp_path: Path) -> None:
    smallest = BackboneSettings(**{**vars(SMALL), "width": 8, "heads": 4})
    create_backbone(tmp_path, case.sentences(50), [], phrases(), smallest)
    assert load_backbone(tmp_path)[0].config.head_dim == 2


def test_text_vectors_are_means_of_input_rows() -> None:
    model, tokenizer, _ = case.coded()
    texts = [
        item_text("red lamp", None),
        item_text(None, "for the quiet corner"),
        item_text(" ", ""),
        item_text("a", "b"),
    ]
    assert texts[2:] == ["", "a. b"]
    found = embed_texts(model, tokenizer, np.array([4, 5, 6, 9], dtype=np.int32), texts)
    assert found.item_index.tolist() == [4, 5, 9]
    weight = model.get_input_embeddings().weight.detach()
    for row, text in zip(found.vectors, (texts[0], texts[1], texts[3]), strict=True):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        np.testing.assert_allclose(row, weight[tokens].mean(dim=0).numpy(), rtol=1e-5, atol=1e-7)


def test_text_vectors_of_many_texts_in_chunks_and_of_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer, _ = case.coded("metaspace-first")
    texts, index = case.sentences(11), np.arange(11, dtype=np.int32)
    whole = embed_texts(model, tokenizer, index, texts)
    monkeypatch.setattr("semconv.backbone.text_vectors._CHUNK", 4)
    assert np.array_equal(embed_texts(model, tokenizer, index, texts).vectors, whole.vectors)
    whole.save(tmp_path / "text.safetensors")
    assert np.array_equal(TextVectors.load(tmp_path / "text.safetensors").vectors, whole.vectors)
    none = embed_texts(model, tokenizer, index[:0], [])
    assert none.vectors.shape == (0, 16)


def edit_config(**values: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return edit


def remove(*names: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return edit


def no_end(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)


def gpt2(folder: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=16, n_layer=1, n_head=2)).save_pretrained(folder)


def windowed(folder: Path) -> None:
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=400, num_key_value_heads=1, sliding_window=8, **shape)
    MistralForCausalLM(config).save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("config.json"), "no model configuration"),
        (lambda folder: (folder / "config.json").write_text("{"), "no model configuration"),
        (remove("tokenizer.json", "tokenizer_config.json"), "no tokenizer beside the model"),
        (remove("model.safetensors"), "weights cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"nothing"), "weights cannot be loaded"),
        (edit_config(max_position_embeddings=32), "a context of 32 tokens is too short"),
        (no_end, "no end-of-sequence token"),
        (gpt2, "architecture gpt2 is not supported"),
        (windowed, "a sliding attention window"),
        (lambda folder: folder.rename(folder.parent / "away"), "no such folder"),
    ],
)
def test_an_unsupported_backbone_is_refused_in_one_line(
    created: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in created.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        load_backbone(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../no/such", "no such folder; check the path$"),
        ("models/my/llama", "no such folder; check the path$"),
        ("model", "no such local folder, and on the hub no model configuration"),
        ("made/config.json", "this is a file; give the folder that contains it"),
    ],
)
def test_the_error_says_why_a_name_has_no_model(
    created: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    (tmp_path / "made").symlink_to(created)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # it would try for most of a minute
    with pytest.raises(InputError, match=message) as caught:
        load_backbone(name)
    assert str(caught.value).startswith(f"backbone {name}: ")


def test_an_attention_that_reads_masks_as_numbers_is_refused(created: Path) -> None:
    for kind in ("llama", "qwen3"):
        model = case.model(100, kind=kind)
        check_branches(model, kind)
        check_branches(case.model(100, kind=kind).to(torch.bfloat16), kind)
        model.set_attn_implementation("eager")
        with pytest.raises(
            InputError, match="prompts with a shared beginning get different hidden states in one pass than alone"
        ):
            check_branches(model, kind)


def test_attention_by_blocks_gives_the_same_states_and_needs_a_gpu_to_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the plain form of FlexAttention needs no compiler; on a CPU it has only a forward pass
    monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    for kind in ("llama", "qwen3"):
        model = case.model(100, kind=kind).eval()
        mask = torch.ones(2, 1, 37, 37, dtype=torch.bool).tril()
        mask[:, :, 20:, 10:20] = False  # two branches on one trunk
        tokens = torch.arange(74).view(2, 37) % 100
        positions = torch.arange(37)[None].expand(2, 37)
        states = []
        for attention in ("sdpa", "flex"):
            with torch.no_grad(), torch._dynamo.config.patch(disable=True), using_attention(model, attention):
                states.append(decode_hidden(model, ModelInput(tokens, positions, mask)))
        torch.testing.assert_close(states[1], states[0], rtol=1e-4, atol=1e-5)
        assert model.config._attn_implementation == "sdpa"
    require_attention("sdpa", "cpu")
    require_attention("flex", "cuda")
    with pytest.raises(SettingsError, match="attention = flex needs a CUDA GPU, but this process computes on cpu"):
        Stepper(
            model,
            TokenForm(lambda _: pytest.fail("no epoch is needed"), 0),
            TuningSettings(attention="flex", learning_rate=1e-3),
        )
