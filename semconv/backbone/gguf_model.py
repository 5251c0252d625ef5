"""Convert a model in a GGUF file into a folder that ``load_backbone`` reads, with weights in float32."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch

from semconv.backbone.code_tokens import draw_rows
from semconv.backbone.gguf_header import GgufHeader, read_header
from semconv.backbone.load import check_config, model_from_config, reported, require_ending
from semconv.errors import InputError, SettingsError

_ARCHITECTURES: Final = ("llama", "qwen2", "qwen3")  # as GGUF files name them; llama stands for Mistral too
_TENSOR: Final = re.compile(
    r"(token_embd|output|output_norm)\.weight|blk\.\d+\.("
    r"(attn_norm|attn_q|attn_k|attn_v|attn_output|attn_q_norm|attn_k_norm|ffn_norm|ffn_gate|ffn_up|ffn_down)\.weight"
    r"|(attn_q|attn_k|attn_v)\.bias)"
)
_LINK: Final = "model.gguf"
_INSTALL: Final = "pip install 'semconv[gguf]'"


def save_gguf_model(file: Path, folder: Path) -> None:
    """Write the model and the tokenizer of a GGUF file into a folder, in the format of transformers.

    transformers cannot save the model that it reads from such a file, because it takes it for a quantised one. So the
    weights are copied into a new model with the same configuration.

    Raises:
        InputError: the file is damaged, its model is not supported, or a number format of it cannot be read.
        SettingsError: the package gguf is not installed.
    """
    header = read_header(file)
    _check_header(file, header)
    _require_gguf(file)
    _check_formats(file, header)
    _convert(file, folder, header)


def _check_header(file: Path, header: GgufHeader) -> None:
    """Raise InputError for a model that would be refused, or read wrongly, after its conversion."""
    architecture, values = header.architecture, header.values
    if architecture not in _ARCHITECTURES:
        raise InputError(
            f"backbone {file}: architecture {architecture[:80] or 'unknown'} is not supported; use a GGUF file of one of"
            f" {', '.join(_ARCHITECTURES)}"
        )
    if values.get("split.count", 1) not in (0, 1):
        raise InputError(
            f"backbone {file}: this is one of {values['split.count']} parts of a model; merge them into one file, for"
            " example with llama-gguf-split --merge"
        )
    scaling = values.get(f"{architecture}.rope.scaling.type", "none")
    odd = [tensor.name for tensor in header.tensors if _TENSOR.fullmatch(tensor.name) is None]
    if scaling not in ("none", "") or any("rope_" in name for name in odd):
        raise InputError(
            f"backbone {file}: scaled rotary positions are not read from GGUF files; use the model's folder instead"
        )
    if odd:
        raise InputError(
            f"backbone {file}: {len(odd)} of its tensors have no place in a plain {architecture} model, such as"
            f" {odd[0][:80]}; use another model"
        )
    if values.get(f"{architecture}.attention.sliding_window"):
        raise InputError(f"backbone {file}: a sliding attention window is not supported; use another model")


def _require_gguf(file: Path) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise SettingsError(
            f"backbone {file}: a GGUF file needs the package gguf, which is not installed; run `{_INSTALL}`, or use a"
            " model folder with safetensors"
        )


def _check_formats(file: Path, header: GgufHeader) -> None:
    """Raise InputError if gguf does not know a tensor's number format, or if the file ends before its last tensor."""
    from gguf import GGML_QUANT_SIZES

    sizes = {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}
    for tensor in header.tensors:
        if tensor.number_format not in sizes:
            raise InputError(
                f"backbone {file}: tensor {tensor.name} has the number format {tensor.number_format}, which the installed"
                f" package gguf does not know; update it (`pip install --upgrade gguf`), or use another file of the model"
            )
        block, width = sizes[tensor.number_format]
        if tensor.weights % block:
            raise InputError(
                f"backbone {file}: tensor {tensor.name} has {tensor.weights:,} weights, which is no multiple of {block},"
                " so the file is damaged; download the model again"
            )
        stop = tensor.start + tensor.weights // block * width
        if stop > header.size:
            raise InputError(
                f"backbone {file}: the file ends too early: tensor {tensor.name} needs {stop:,} bytes, and it has"
                f" {header.size:,}; download the model again"
            )


def _convert(file: Path, folder: Path, header: GgufHeader) -> None:
    name, num_tensors = str(file), len(header.tensors)
    with TemporaryDirectory() as alone:  # transformers would also read other files beside the model
        Path(alone, _LINK).symlink_to(file.resolve())
        config, tokenizer = _config_and_tokenizer(name, alone, header)
        weights = _weights(name, alone, config)
    model = model_from_config(config)
    own = len(list(model.parameters()))
    if own != num_tensors:
        raise InputError(
            f"backbone {name}: it has {num_tensors} tensors, and a {config.model_type} model of its shape has {own};"
            " download or convert the model again"
        )
    with reported(name, "its weights do not fit its configuration"):
        model.load_state_dict(weights)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:  # transformers adds an end token of its own to tokenizers that lack it
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        draw_rows(model, list(range(rows, len(tokenizer))))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _config_and_tokenizer(name: str, alone: str, header: GgufHeader) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoTokenizer

    with reported(name, "no model configuration that transformers knows"):
        config = AutoConfig.from_pretrained(alone, gguf_file=_LINK)
        width = header.values.get(f"{header.architecture}.attention.key_length")
        if width is not None and hasattr(config, "head_dim"):  # transformers does not read it for all architectures
            config.head_dim = width
    check_config(name, config)
    with reported(name, "its tokenizer cannot be read", "; use another model"):
        tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file=_LINK)
    require_ending(name, tokenizer)
    return config, tokenizer


def _weights(name: str, alone: str, config: Any) -> dict[str, Any]:
    """Return the weights of the model in float32, with the names that transformers gives them."""
    from transformers import AutoModelForCausalLM

    advice = "; use a file with another number format, such as Q8_0 or F16, or the folder that it was made from"
    bar = io.StringIO()  # transformers draws a progress bar for the conversion, which cannot be turned off
    with reported(name, "its weights cannot be read", advice), contextlib.redirect_stderr(bar):
        model = AutoModelForCausalLM.from_pretrained(alone, config=config, gguf_file=_LINK, dtype=torch.float32)
    return dict(model.state_dict())
