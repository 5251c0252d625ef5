"""Load a backbone or a tuned model, and refuse models that ``semconv.backbone.forward`` does not support."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from semconv.backbone.probe import check_branches
from semconv.errors import InputError

_ROTARY_FULL_ATTENTION = ("llama", "qwen2", "qwen3", "mistral")
MIN_CONTEXT = 64


def load_backbone(path: str | Path, *, trust_remote_code: bool = False, dtype: str = "float32") -> tuple[Any, Any]:
    """Load a model and its tokenizer from a local folder, or by name from the Hugging Face hub.

    Raises:
        InputError: there is no such model or no tokenizer, the model cannot compute several prompts with a shared
            beginning in one pass, or its context is too short.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    name = str(path)
    _check_folder(name)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        own = (
            "; if you trust this code, allow it with --trust-remote-code"
            if "contains custom code" in str(error)
            else ""
        )
        where = "" if Path(name).is_dir() else "no such local folder, and on the hub "
        raise InputError(
            f"backbone {name}: {where}no model configuration that transformers knows ({_first_line(error)}){own}"
        ) from error
    _check_config(name, config)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"backbone {name}: no tokenizer beside the model ({_first_line(error)}); its tokenizer.json and tokenizer_config.json must be in the same folder"
        ) from error
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"backbone {name}: its tokenizer has no end-of-sequence token, which every training label needs; use another backbone"
        )
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            attn_implementation="sdpa",  # eager attention adds a bool mask as numbers: wrong lists, no error
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"backbone {name}: weights cannot be loaded ({_first_line(error)})") from error
    check_branches(model, name)
    return model, tokenizer


def model_from_config(config: Any) -> Any:
    """Create a model with random weights, which a training overwrites with the weights of its first process."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")


def _check_folder(name: str) -> None:
    """Raise InputError if ``name`` looks like a local path but no such folder exists.

    The name of a model on the Hugging Face hub has at most one slash and does not begin with a dot.
    """
    path = Path(name)
    if path.is_dir():
        return
    if path.is_file():
        raise InputError(f"backbone {name}: this is a file; give the folder that contains it")
    if path.is_absolute() or name.startswith((".", "~")) or len(path.parts) > 2:
        raise InputError(f"backbone {name}: no such folder; check the path")


def _check_config(name: str, config: Any) -> None:
    if config.model_type not in _ROTARY_FULL_ATTENTION:
        raise InputError(
            f"backbone {name}: architecture {config.model_type} is not supported; use one with rotary positions and full"
            f" attention: {', '.join(_ROTARY_FULL_ATTENTION)}"
        )
    windowed = getattr(config, "use_sliding_window", config.model_type == "mistral")
    if windowed and getattr(config, "sliding_window", None) is not None:
        raise InputError(
            f"backbone {name}: a sliding attention window is not supported; set sliding_window to null in its config.json"
        )
    context = getattr(config, "max_position_embeddings", None)
    if context is not None and context < MIN_CONTEXT:
        raise InputError(
            f"backbone {name}: a context of {context} tokens is too short; use a backbone with at least {MIN_CONTEXT}"
        )


def _first_line(error: BaseException) -> str:
    return textwrap.shorten(str(error).strip().split("\n")[0], 200, placeholder=" ...").rstrip(": ")
