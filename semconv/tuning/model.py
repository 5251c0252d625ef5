"""Prepare a backbone for tuning, save the tuned model, and load it for search."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from semconv.artifacts import read_json, write_json
from semconv.backbone.code_tokens import level_tokens
from semconv.backbone.forward import decoder
from semconv.backbone.load import load_backbone
from semconv.errors import InputError
from semconv.settings.tuning import TuningSettings

MANIFEST = "semconv.json"
ITEM_MODULE = "item_parts"  # the module inside the model that reads and scores items (``semconv.item_head.parts``)
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"  # PEFT's file names
# The fields of its config that `prepare` sets. No other field is read, because some name modules to import.
_ADAPTER_FIELDS = ("task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "trainable_token_indices")


def codes_digest(item_index: NDArray[np.int32], codes: NDArray[np.uint16]) -> str:
    """Return a digest of the items and their codes that does not depend on the order of rows."""
    order = np.argsort(item_index, kind="stable")
    content = (
        np.ascontiguousarray(item_index[order].astype("<i4")).tobytes()
        + np.ascontiguousarray(codes[order].astype("<u2")).tobytes()
    )
    return hashlib.sha256(content).hexdigest()


def prepare(model: Any, code_tokens: NDArray[np.int64], settings: TuningSettings) -> Any:
    """Choose the weights to train: all weights, or LoRA adapters and the embedding rows of the code tokens.

    If input and output matrix are not tied, the rows of both matrices are trained. PEFT's ``trainable_token_indices``
    must then name both matrices, because a plain list of tokens would leave the output rows frozen without an error.

    With histories as items, the item parts score the items, so an untied output matrix is used nowhere and not trained:
    several processes refuse trainable weights without a gradient. The item parts are added later and trained in full.
    """
    output = model.get_output_embeddings().weight
    is_tied, reads_items = output is model.get_input_embeddings().weight, settings.history == "items"
    if settings.mode == "full":
        model.requires_grad_(True)
        output.requires_grad_(is_tied or not reads_items)
    else:
        from peft import LoraConfig, get_peft_model

        ids = [int(token) for token in code_tokens.ravel()]
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules="all-linear",
            trainable_token_indices=ids if is_tied or reads_items else {"embed_tokens": ids, "lm_head": ids},
        )
        with torch.random.fork_rng():  # a resumed training must start from the same weights
            torch.manual_seed(settings.seed)
            model = get_peft_model(model, config)
    if settings.gradient_checkpointing:
        stack: Any = decoder(model)
        stack.activation_checkpointing_enable({"use_reentrant": False})
    if settings.mode == "full" and settings.dropout:
        add_dropout(model, settings.dropout)
    return model


def take_adapter(model: Any, folder: Path) -> None:
    """Load a saved adapter and its embedding rows of code tokens into a model with an adapter of the same shape.

    Args:
        model: the result of ``prepare``.
    Raises:
        InputError: the adapter is missing or damaged, or does not fit the model.
    """
    path = folder / ADAPTER
    try:
        odd = _set_adapter(model, path)
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{path}: the adapter cannot be loaded ({str(error).strip().splitlines()[0][:200]}); tune from the backbone instead"
        ) from error
    if odd is not None:
        raise InputError(
            f"{path}: the adapter does not fit this backbone and these codes ({odd}); tune from the backbone"
        )


def _set_adapter(model: Any, path: Path) -> str | None:
    """Copy the weights of a saved adapter into a model; return the name of a weight that only one of them has."""
    from peft import set_peft_model_state_dict

    found = set_peft_model_state_dict(model, load_file(path))
    odd = sorted([*set(trainable(model)).intersection(found.missing_keys), *found.unexpected_keys])
    return odd[0] if odd else None


def add_dropout(model: Any, probability: float) -> list[Any]:
    """Add dropout to the embeddings and to the attention and MLP outputs of each layer. Return handles of the hooks.

    Published decoders have no such dropout, so hooks add it. The dropout acts only in training and is not saved.
    """
    stack: Any = decoder(model)
    modules = [stack.embed_tokens]
    for layer in stack.layers:
        modules += [layer.self_attn, layer.mlp]
    return [module.register_forward_hook(_dropout_hook(probability)) for module in modules]


def _dropout_hook(probability: float) -> Callable[[Any, Any, Any], Any]:
    def hook(module: Any, _inputs: Any, output: Any) -> Any:
        if not module.training:
            return output
        if isinstance(output, tuple):
            return (torch.nn.functional.dropout(output[0], probability), *output[1:])
        return torch.nn.functional.dropout(output, probability)

    return hook


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that tuning trains, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@dataclass(frozen=True)
class TunedModel:
    """A tuned model ready for search. An adapter, if there is one, is merged into the weights of the model."""

    model: Any
    tokenizer: Any
    level_tokens: NDArray[np.int64]  # (N, C)


def save_tuned(model: Any, tokenizer: Any, folder: Path, manifest: dict[str, Any]) -> None:
    """Save a model that transformers (full tuning) or PEFT (LoRA) can load, and a manifest in the same folder.

    The manifest is written last, so a folder without a manifest is not a complete model. ``manifest["backbone"]`` is a
    path relative to ``folder``, an absolute path, or a hub name.
    """
    # By default PEFT saves both whole matrices with an adapter of an extended backbone, in addition to trained rows.
    model.save_pretrained(folder, **({"save_embedding_layers": False} if hasattr(model, "peft_config") else {}))
    tokenizer.save_pretrained(folder)
    write_json(folder / MANIFEST, manifest)


def tuned_manifest(folder: Path, codes_digest: str | None) -> dict[str, Any]:
    """Read the manifest of a saved model. With a ``codes_digest``, check that the model was tuned on these codes.

    Raises:
        InputError: there is no saved model, or it was tuned on other codes.
    """
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    if codes_digest is not None and manifest["codes_digest"] != codes_digest:
        raise InputError(
            f"{folder}: this model was tuned on other codes (code set {manifest['code_set_run_id']}); tune again with `semconv finetune`"
        )
    return manifest


def load_tuned(
    folder: Path, codes_digest: str | None = None, dtype: str = "auto", *, trust_remote_code: bool
) -> TunedModel:
    """Load a tuned model for search, and refuse a model that was tuned on other codes.

    Args:
        codes_digest: digest of the current codes of the items that the model was tuned on; None: not checked.
        dtype: number format of the weights, ``auto`` for the format of the saved model.
        trust_remote_code: whether to run code that comes with the backbone; a saved model cannot allow this itself.

    Raises:
        InputError: there is no saved model, it was tuned on other codes, or it cannot be loaded.
    """
    manifest = tuned_manifest(folder, codes_digest)
    if manifest["mode"] == "full":
        try:
            model, tokenizer = load_backbone(folder, trust_remote_code=trust_remote_code)
        except InputError as error:
            raise InputError(
                f"{error}; remove the folder of the model's run, {folder.parent}, and tune again with `semconv finetune`"
            ) from error
    else:
        model, tokenizer = _load_adapter(folder, manifest, trust_remote_code)
    model.eval()
    model.requires_grad_(False)
    if dtype != "auto":
        model.to(getattr(torch, dtype))
    return TunedModel(model, tokenizer, level_tokens(tokenizer, manifest["levels"], manifest["codes"]))


def _load_adapter(folder: Path, manifest: dict[str, Any], trust_remote_code: bool) -> tuple[Any, Any]:
    from transformers import AutoTokenizer

    beside = folder / manifest["backbone"]
    name = str(beside.resolve()) if beside.is_dir() else manifest["backbone"]
    model, _ = load_backbone(name, trust_remote_code=trust_remote_code, dtype=manifest["dtype"])
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        adapted = _with_adapter(model, folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{folder}: the adapter or its tokenizer cannot be loaded ({str(error).strip().splitlines()[0][:200]}); tune again with `semconv finetune`"
        ) from error
    return adapted.merge_and_unload(), tokenizer


def _with_adapter(model: Any, folder: Path) -> Any:
    """Add a saved adapter to a model. PEFT's own loader would also read pickle, and modules that the config names."""
    from peft import LoraConfig, get_peft_model

    saved = json.loads((folder / ADAPTER_CONFIG).read_text())
    adapted = get_peft_model(model, LoraConfig(**{name: saved[name] for name in _ADAPTER_FIELDS}))
    odd = _set_adapter(adapted, folder / ADAPTER)
    if odd is not None:
        raise ValueError(f"it does not fit its backbone: {odd}")
    return adapted
