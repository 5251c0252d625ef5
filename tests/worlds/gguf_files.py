"""GGUF files of tiny models: headers of any content, and whole files that the package gguf writes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

Tensor = tuple[str, tuple[int, ...], int, int]  # name, dimensions, number format, offset
VALUES: dict[str, Any] = {"general.architecture": "llama", "llama.block_count": 1, "tokenizer.ggml.tokens": ["a", "b"]}
TENSORS: tuple[Tensor, ...] = (("token_embd.weight", (4, 2), 0, 0), ("blk.0.attn_q.weight", (4, 4), 0, 32))
_UINT32, _FLOAT32, _STRING, _ARRAY = 4, 6, 8, 9


def header(
    values: Mapping[str, Any] = VALUES, tensors: Sequence[Tensor] = TENSORS, magic: bytes = b"GGUF", version: int = 3
) -> bytes:
    """Return the bytes of a header. A value that is bytes is written as it is, with its kind."""
    parts = [magic, struct.pack("<IQQ", version, len(tensors), len(values))]
    parts += [_text(key) + (value if isinstance(value, bytes) else _value(value)) for key, value in values.items()]
    for name, dimensions, form, offset in tensors:
        parts += [_text(name), struct.pack("<I", len(dimensions)), struct.pack(f"<{len(dimensions)}Q", *dimensions)]
        parts.append(struct.pack("<IQ", form, offset))
    return b"".join(parts)


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, list):
        return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_text, value))
    return struct.pack("<II", _UINT32, value)


def array(kind: int, count: int) -> bytes:
    """Return the beginning of an array value that says to have ``count`` elements of a kind."""
    return struct.pack("<IIQ", _ARRAY, kind, count)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def write(path: Path, tail: int = 128, **parts: Any) -> Path:
    """Write a file of a header and ``tail`` zero bytes after it."""
    path.write_bytes(header(**parts) + bytes(tail))
    return path


def write_model(path: Path, model: Any, tokenizer: Any, number_format: str = "F32") -> Path:
    """Write a model with the package gguf, as llama.cpp's converter does.

    Args:
        number_format: name of the number format of all matrices, such as Q8_0.
    """
    import gguf

    config, kind = model.config, model.config.model_type
    writer = gguf.GGUFWriter(str(path), kind)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if kind == "qwen3":
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    else:
        writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, tokenizer)
    form = gguf.GGMLQuantizationType[number_format]
    for name, values in _tensors(model, gguf):
        quantised = values if values.ndim == 1 else gguf.quants.quantize(values, form)
        writer.add_tensor(name, quantised, raw_dtype=None if values.ndim == 1 else form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def round_weights(model: Any, number_format: str) -> None:
    """Round the matrices of a model as a file with this number format does."""
    import gguf

    form = gguf.GGMLQuantizationType[number_format]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                rounded = gguf.quants.dequantize(gguf.quants.quantize(parameter.detach().numpy(), form), form)
                parameter.copy_(torch.from_numpy(rounded.astype(np.float32)))


def _add_tokenizer(writer: Any, tokenizer: Any) -> None:
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    special = set(tokenizer.all_special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in special else 1 for token in vocabulary])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)


def _tensors(model: Any, gguf: Any) -> list[tuple[str, Any]]:
    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[config.model_type.upper()], config.num_hidden_layers)
    found = []
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy().astype(np.float32)
        if config.model_type == "llama" and ("q_proj" in name or "k_proj" in name):
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            values = values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        found.append((names.get_name(name, try_suffixes=(".weight", ".bias")), values))
    return found
