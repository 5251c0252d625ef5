"""Model folders of strangers: no file of a folder chooses code, and each one that cannot be used is named in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from semconv.backbone.create import create_backbone
from semconv.backbone.load import load_backbone
from semconv.errors import InputError
from semconv.settings.backbone import BackboneSettings
from semconv.tasks.registry import phrases
from tests.worlds import prompts as case

SMALL = BackboneSettings(width=16, layers=1, heads=2, mlp_width=32, vocabulary=320, context=256)
DEEP = '{"model_type": "llama", "x": ' + "[" * 5000 + "]" * 5000 + "}"


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backbone")
    create_backbone(folder, case.sentences(50), [(0, "a query")], phrases(), SMALL)
    return folder


@pytest.fixture
def folder(created: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the backbone, without a way to the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return shutil.copytree(created, tmp_path / "model")


def configure(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def change_weights(folder: Path, change: Callable[[str, Tensor], Tensor | None]) -> None:
    weights = {name: change(name, tensor) for name, tensor in load_file(folder / "model.safetensors").items()}
    kept = {name: tensor for name, tensor in weights.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def refused(folder: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as error:
        load_backbone(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600 + len(str(folder))


@pytest.mark.parametrize(
    "method",
    ["gptq", "awq", "bitsandbytes", "hqq", "fp8", "mxfp4", "compressed-tensors", "torchao", "quanto", "unheard of"],
)
def test_quantised_weights_are_refused(folder: Path, method: str) -> None:
    configure(folder, quantization_config={"quant_method": method, "bits": 4, "group_size": 128})
    refused(folder, rf"quantised weights \({method}\) cannot be tuned; name the model it was made from$")


@pytest.mark.parametrize("value", [{}, {"bits": 4}, {"load_in_8bit": True}, "text", [1]])
@pytest.mark.parametrize("key", ["quantization_config", "compression_config"])
def test_quantised_weights_without_a_known_method_are_refused(folder: Path, key: str, value: Any) -> None:
    configure(folder, **{key: value})
    refused(
        folder, "weights cannot be|quantised weights cannot be tuned; name the model it was made from$|no model conf"
    )


def test_settings_of_outputs_are_no_fault(folder: Path) -> None:
    configure(folder, quantization_config=None, return_dict=False, output_attentions=True, use_cache=False)
    load_backbone(folder)


@pytest.mark.parametrize(
    "value",
    ["evil/kernel", "kernels-community/flash-attn", "flash_attention_2", "eager", "nonsense", {"": "evil/kernel"}],
)
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"])
def test_a_configuration_cannot_choose_an_attention_implementation(folder: Path, key: str, value: Any) -> None:
    configure(folder, **{key: value, "use_kernels": True})
    model, _ = load_backbone(folder)
    assert {module.config._attn_implementation for module in model.modules() if hasattr(module, "config")} == {"sdpa"}


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_in_the_folder_does_not_run(folder: Path, name: str) -> None:
    (folder / "own.py").write_text("raise SystemExit('the code ran')")
    classes = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M", "AutoTokenizer": ["own.T", None]}
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": classes}))
    try:
        load_backbone(folder)
    except InputError as error:
        assert "--trust-remote-code" in str(error)  # noqa: PT017


def test_an_adapter_is_no_backbone(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "evil/model"}')
    refused(folder, "this is an adapter and no model; name the model that it was made for")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda name, tensor: tensor * float("nan"), "NaN or infinity, so its weights are damaged"),
        (lambda name, tensor: tensor * float("inf"), "NaN or infinity, so its weights are damaged"),
        (lambda name, tensor: None if "mlp" in name else tensor, r"3 of its weights are missing, such as .*mlp"),
        (lambda name, tensor: tensor[:3].contiguous(), "weights cannot be loaded"),
        (lambda name, tensor: tensor.to(torch.int8), r"quantised weights \(.* is I8\) cannot be tuned"),
        (lambda name, tensor: tensor.to(torch.float8_e4m3fn), r"quantised weights \(.* is F8_E4M3\) cannot be tuned"),
    ],
)
def test_weights_that_cannot_be_used_are_named(
    folder: Path, change: Callable[[str, Tensor], Tensor | None], match: str
) -> None:
    change_weights(folder, change)
    refused(folder, match)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(folder, "weights cannot be loaded")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", DEEP),
        ("config.json", "[1]"),
        ("config.json", ""),
        ("config.json", '{"model_type": 5}'),
        ("tokenizer_config.json", DEEP),
        ("tokenizer.json", DEEP),
        ("tokenizer_config.json", '{"tokenizer_class": "MistralCommonBackend"}'),
    ],
)
def test_files_that_cannot_be_read_are_reported_in_one_line(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    refused(folder, r"backbone .*: no (model configuration|tokenizer)")


@pytest.mark.parametrize(
    "keys",
    [
        {"hidden_size": "abc"},
        {"hidden_size": 0},
        {"num_attention_heads": 0},
        {"num_hidden_layers": -1},
        {"vocab_size": 10**6},
        {"hidden_act": "evil"},
        {"rope_parameters": 5},
        {"dtype": "evil"},
        {"max_position_embeddings": "x"},
    ],
)
def test_numbers_that_make_no_model_are_reported_in_one_line(folder: Path, keys: dict[str, Any]) -> None:
    configure(folder, **keys)
    refused(folder, r"backbone .*: ")
