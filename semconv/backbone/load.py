"""Load a backbone or a tuned model, and refuse what the shared forward pass cannot serve."""

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
    """Model and tokenizer from a local folder or a hub name.

    Raises:
        InputError: no such model, no tokenizer, an architecture or an attention that branches of
            a shared prompt do not work on, a context that is too short.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    name = str(path)
    _check_place(name)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        own = "; --trust-remote-code runs it, where you trust it" if "contains custom code" in str(error) else ""
        where = "" if Path(name).is_dir() else "no such folder from here, and on the hub "
        raise InputError(
            f"backbone {name}: {where}no model configuration that transformers knows ({_first_line(error)}){own}"
        ) from error
    _check_config(name, config)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"backbone {name}: no tokenizer beside the model ({_first_line(error)}); its tokenizer.json and tokenizer_config.json belong there"
        ) from error
    if tokenizer.eos_token_id is None:
        raise InputError(f"backbone {name}: its tokenizer has no end token, which every label needs")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            attn_implementation="sdpa",  # eager attention adds a bool mask as numbers: wrong lists without a word
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"backbone {name}: weights cannot be loaded ({_first_line(error)})") from error
    check_branches(model, name)
    return model, tokenizer


def shape_of(config: Any) -> Any:
    """A model of a configuration with weights that do not matter: another process sends them."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")


def _check_place(name: str) -> None:
    """Refuse what can only be a path, and is no folder: a hub name has one slash at most and begins with no dot."""
    place = Path(name)
    if place.is_dir():
        return
    if place.is_file():
        raise InputError(f"backbone {name}: a file; name the folder that it lies in")
    if place.is_absolute() or name.startswith((".", "~")) or len(place.parts) > 2:
        raise InputError(f"backbone {name}: no such folder")


def _check_config(name: str, config: Any) -> None:
    if config.model_type not in _ROTARY_FULL_ATTENTION:
        raise InputError(
            f"backbone {name}: architecture {config.model_type} is not supported; "
            f"rotary positions and full attention are needed: {', '.join(_ROTARY_FULL_ATTENTION)}"
        )
    windowed = getattr(config, "use_sliding_window", config.model_type == "mistral")
    if windowed and getattr(config, "sliding_window", None) is not None:
        raise InputError(
            f"backbone {name}: a sliding attention window cannot carry the shared history; set sliding_window to null"
        )
    context = getattr(config, "max_position_embeddings", None)
    if context is not None and context < MIN_CONTEXT:
        raise InputError(
            f"backbone {name}: a context of {context} tokens is too short, at least {MIN_CONTEXT} are needed"
        )


def _first_line(error: BaseException) -> str:
    return textwrap.shorten(str(error).strip().split("\n")[0], 200, placeholder=" ...").rstrip(": ")
