"""A tuned model saved and loaded: full or as an adapter, tied or not, and with other codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from semconv.backbone.code_tokens import add_code_tokens
from semconv.backbone.load import load_backbone
from semconv.errors import InputError
from semconv.search.search import SearchSettings
from semconv.search.trie import CodeTrie
from semconv.settings.tuning import TuningSettings
from semconv.tuning.model import add_dropout, codes_digest, load_tuned, prepare, save_tuned, trainable
from tests.worlds import prompts as case
from tests.worlds.search import best_items

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
DIGEST = "the right one"
FULL = TuningSettings(dropout=0.3)
LORA = replace(FULL, mode="lora", lora_dropout=0.3)


def saved_backbone(folder: Path, *, kind: str = "llama", tied: bool = False) -> Path:
    tokenizer = case.tokenizer("metaspace-first")
    case.model(len(tokenizer), kind=kind, tied=tied).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def manifest(mode: str, backbone: str) -> dict[str, Any]:
    return {
        "mode": mode,
        "dtype": "float32",
        "backbone": backbone,
        "trust_remote_code": False,
        "levels": case.LEVELS,
        "codes": case.CODES,
        "codes_digest": DIGEST,
        "code_set_run_id": "codebook-1",
    }


def tuned(backbone: Path, settings: TuningSettings) -> tuple[Any, Any, torch.Tensor]:
    """Return a model with changed weights, its tokenizer, and its logits on a prompt with code tokens."""
    model, tokenizer = load_backbone(backbone)
    level_tokens = add_code_tokens(model, tokenizer, case.LEVELS, case.CODES)
    model = prepare(model, level_tokens, settings)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model, tokenizer, logits(model.eval(), tokenizer)


@torch.no_grad()
def logits(model: Any, tokenizer: Any) -> torch.Tensor:
    tokens = tokenizer("a red lamp <a_1><b_2><c_3>, <a_0><b_7><c_1> and more", return_tensors="pt")["input_ids"]
    return model(input_ids=tokens).logits


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("settings", [FULL, LORA], ids=["full", "lora"])
def test_a_loaded_model_gives_the_same_logits(tmp_path: Path, kind: str, tied: bool, settings: TuningSettings) -> None:
    backbone = saved_backbone(tmp_path / "backbone", kind=kind, tied=tied)
    model, tokenizer, expected = tuned(backbone, settings)
    folder = tmp_path / "run" / "model"
    save_tuned(model, tokenizer, folder, manifest(settings.mode, "../../backbone"))
    (tmp_path / "run").rename(tmp_path / "elsewhere")  # the backbone keeps its relative path, as in a moved project
    loaded = load_tuned(tmp_path / "elsewhere" / "model", DIGEST, trust_remote_code=False)
    assert not loaded.model.training
    assert not list(trainable(loaded.model))
    torch.testing.assert_close(logits(loaded.model, loaded.tokenizer), expected, rtol=1e-4, atol=1e-5)
    tokens = [[loaded.tokenizer.convert_tokens_to_ids(f"<{'abc'[n]}_{c}>") for c in range(8)] for n in range(3)]
    assert loaded.level_tokens.tolist() == tokens


def test_peft_and_transformers_load_the_folders(tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    backbone = saved_backbone(tmp_path / "backbone")
    for mode, settings, loader in (("full", FULL, AutoModelForCausalLM), ("lora", LORA, AutoPeftModelForCausalLM)):
        model, tokenizer, expected = tuned(backbone, settings)
        save_tuned(model, tokenizer, tmp_path / mode, manifest(mode, str(backbone)))
        alone = loader.from_pretrained(tmp_path / mode).eval()
        torch.testing.assert_close(logits(alone, tokenizer), expected, rtol=1e-4, atol=1e-5)
    with safe_open(tmp_path / "lora" / "adapter_model.safetensors", framework="pt") as file:
        sizes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    assert max(shape[0] for shape in sizes.values()) < 100  # no matrix of all words


def test_a_model_refuses_other_codes_than_those_of_its_tuning(tmp_path: Path) -> None:
    backbone = saved_backbone(tmp_path / "backbone")
    model, tokenizer, _ = tuned(backbone, FULL)
    save_tuned(model, tokenizer, tmp_path / "model", manifest("full", str(backbone)))
    with pytest.raises(InputError, match=r"tuned on other codes .*codebook-1.*semconv finetune"):
        load_tuned(tmp_path / "model", "another one", trust_remote_code=False)
    load_tuned(tmp_path / "model", DIGEST, trust_remote_code=False)
    (tmp_path / "model" / "semconv.json").unlink()  # as after a killed save
    with pytest.raises(InputError, match=r"semconv.json: missing"):
        load_tuned(tmp_path / "model", DIGEST, trust_remote_code=False)


def test_an_adapter_without_its_backbone_is_named(tmp_path: Path) -> None:
    backbone = saved_backbone(tmp_path / "backbone")
    model, tokenizer, _ = tuned(backbone, LORA)
    save_tuned(model, tokenizer, tmp_path / "model", manifest("lora", str(backbone)))
    backbone.rename(tmp_path / "gone")
    with pytest.raises(InputError, match=r"backbone .*: no such folder"):
        load_tuned(tmp_path / "model", DIGEST, trust_remote_code=False)


@pytest.mark.parametrize(
    "file", ["adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "damaged weights"]
)
def test_an_incomplete_adapter_is_named(tmp_path: Path, file: str) -> None:
    backbone = saved_backbone(tmp_path / "backbone")
    model, tokenizer, _ = tuned(backbone, LORA)
    save_tuned(model, tokenizer, tmp_path / "model", manifest("lora", str(backbone)))
    if file == "damaged weights":
        (tmp_path / "model" / "adapter_model.safetensors").write_bytes(b"nothing")
    else:
        (tmp_path / "model" / file).unlink()
        (tmp_path / "model" / "tokenizer_config.json").unlink(missing_ok=file == "tokenizer.json")
    with pytest.raises(
        InputError, match=r"model: the adapter or its tokenizer cannot be loaded .* tune again"
    ) as caught:
        load_tuned(tmp_path / "model", DIGEST, trust_remote_code=False)
    assert "\n" not in str(caught.value)


def test_an_adapter_is_read_from_safetensors_alone_and_its_configuration_names_no_module(tmp_path: Path) -> None:
    backbone = saved_backbone(tmp_path / "backbone")
    model, tokenizer, _ = tuned(backbone, LORA)
    folder = tmp_path / "model"
    save_tuned(model, tokenizer, folder, manifest("lora", str(backbone)))
    path = folder / "adapter_config.json"
    hostile = {
        "auto_mapping": {"base_model_class": "system", "parent_library": "os"},
        "base_model_name_or_path": "evil/model",
        "megatron_config": {"x": 1},
        "megatron_core": "a_module_that_is_not_there",
        "peft_type": "EVIL",
        "use_dora": True,
    }
    path.write_text(json.dumps({**json.loads(path.read_text()), **hostile}))
    load_tuned(folder, DIGEST, trust_remote_code=False)
    weights = folder / "adapter_model.safetensors"
    torch.save(load_file(weights), folder / "adapter_model.bin")
    weights.unlink()
    with pytest.raises(InputError, match=r"the adapter or its tokenizer cannot be loaded .*adapter_model.safetensors"):
        load_tuned(folder, DIGEST, trust_remote_code=False)


@pytest.mark.parametrize("tied", [False, True])
def test_merged_and_unmerged_adapters_give_the_same_lists(tmp_path: Path, tied: bool) -> None:
    backbone = saved_backbone(tmp_path / "backbone", tied=tied)
    model, tokenizer, _ = tuned(backbone, LORA)
    save_tuned(model, tokenizer, tmp_path / "model", manifest("lora", str(backbone)))
    merged = load_tuned(tmp_path / "model", DIGEST, trust_remote_code=False)
    assert not hasattr(merged.model, "peft_config")
    index, codes = case.item_codes(60)
    trie = CodeTrie.build(codes, index)
    history = "".join(f"<{'abc'[level]}_{code}>" for level, code in enumerate(codes[7]))
    prompts = [np.array(tokenizer(f"{text} {history}")["input_ids"]) for text in ("a red lamp", "small rug")]
    for scores in ("full", "trie"):
        search = SearchSettings(top_k=10, beams=10, scores=scores)
        items, values = best_items(model, trie, merged.level_tokens, prompts, None, search)
        again, values_again = best_items(merged.model, trie, merged.level_tokens, prompts, None, search)
        assert items.tolist() == again.tolist()
        np.testing.assert_allclose(values, values_again, rtol=1e-3, atol=1e-4)
    plain, _ = load_backbone(backbone)
    add_code_tokens(plain, tokenizer, case.LEVELS, case.CODES)
    plain.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    other, _ = best_items(plain, trie, merged.level_tokens, prompts, None, search)
    assert other.tolist() != items.tolist()  # the adapter changes the lists


def test_codes_digest_depends_on_items_and_codes_and_not_on_their_order() -> None:
    index, codes = np.array([4, 2, 9], dtype=np.int32), np.array([[1, 2], [3, 4], [5, 6]], dtype=np.uint16)
    digest = codes_digest(index, codes)
    order = [2, 0, 1]
    assert codes_digest(index[order], codes[order]) == digest
    assert codes_digest(index, codes[order]) != digest
    assert codes_digest(index + 1, codes) != digest
    assert codes_digest(index[:2], codes[:2]) != digest


def test_adapters_start_alike_and_change_nothing_at_first() -> None:
    starts = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        model, tokenizer, level_tokens = case.coded()
        plain = logits(model, tokenizer)
        state = torch.random.get_rng_state()
        model = prepare(model, level_tokens, LORA).eval()
        assert torch.equal(torch.random.get_rng_state(), state)
        torch.testing.assert_close(logits(model, tokenizer), plain)
        starts.append({name: value.detach().clone() for name, value in trainable(model).items()})
    assert all(torch.equal(value, starts[1][name]) for name, value in starts[0].items())


def test_every_linear_projection_of_every_layer_has_an_adapter() -> None:
    model, _, level_tokens = case.coded()
    names = set(trainable(prepare(model, level_tokens, LORA)))
    for layer in (0, 1):
        for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"):
            assert any(f"layers.{layer}.{part}.lora_A" in name for name in names)
        for part in ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"):
            assert any(f"layers.{layer}.{part}.lora_B" in name for name in names)
    assert sum("trainable_tokens_delta" in name for name in names) == 2


def test_dropout_acts_in_training_alone_and_leaves_no_trace() -> None:
    model, tokenizer, _ = case.coded()
    plain = logits(model, tokenizer)
    handles = add_dropout(model, 0.5)
    assert torch.equal(logits(model, tokenizer), plain)
    model.train()
    torch.manual_seed(0)
    first = logits(model, tokenizer)
    torch.manual_seed(1)
    assert not torch.equal(first, logits(model, tokenizer))
    torch.manual_seed(0)
    assert torch.equal(first, logits(model, tokenizer))
    assert len(handles) == 5  # the embeddings, and two outputs of two layers
    for handle in handles:
        handle.remove()
    assert torch.equal(logits(model, tokenizer), plain)


def test_manifest_is_json_and_written_last(tmp_path: Path) -> None:
    backbone = saved_backbone(tmp_path / "backbone")
    model, tokenizer, _ = tuned(backbone, FULL)
    save_tuned(model, tokenizer, tmp_path / "model", manifest("full", str(backbone)))
    written = json.loads((tmp_path / "model" / "semconv.json").read_text())
    assert written == manifest("full", str(backbone))
    newest = max((tmp_path / "model").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert newest.name == "semconv.json"
