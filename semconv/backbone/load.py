"""Load a backbone or a tuned model, and refuse models that ``semconv.backbone.forward`` does not support."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from semconv.backbone.probe import check_branches
from semconv.errors import InputError

_ROTARY_FULL_ATTENTION = ("llama", "qwen2", "qwen3", "mistral")
_QUANTISED = ("quantization_config", "compression_config")  # keys of config.json
_WEIGHT_TYPES = {"F64", "F32", "F16", "BF16"}
ATTENTION = "sdpa"
MIN_CONTEXT = 64


def load_backbone(path: str | Path, *, trust_remote_code: bool = False, dtype: str = "float32") -> tuple[Any, Any]:
    """Load a model and its tokenizer from a local folder, or by name from the Hugging Face hub.

    No file of the model can choose code to run, so that a stranger's model may be tried: weights are read from
    safetensors alone, and the attention implementation, which may name a kernel on the hub, is always torch's own.

    Raises:
        InputError: there is no such model or no tokenizer, its weights are quantised or incomplete, the model cannot
            compute several prompts with a shared beginning in one pass, or its context is too short.
    """
    from transformers import AutoModelForCausalLM

    name = str(path)
    check_folder(name)
    config, tokenizer = config_and_tokenizer(name, trust_remote_code=trust_remote_code)
    with reported(name, "weights cannot be loaded"):
        # Not the implementation that config.json names. Eager attention would add a bool mask as numbers, which gives
        # wrong lists and no error, and any other name stands for code on the hub.
        config._attn_implementation = ATTENTION
        config.return_dict, config.output_attentions = True, False  # as `forward` reads the outputs
        model, loaded = AutoModelForCausalLM.from_pretrained(
            name,
            config=config,
            dtype=getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            attn_implementation=ATTENTION,
            output_loading_info=True,
        )
    if missing := sorted(loaded["missing_keys"]):
        raise InputError(
            f"backbone {name}: {len(missing)} of its weights are missing, such as {missing[0]}; download the model again"
        )
    check_branches(model, name)
    return model, tokenizer


def config_and_tokenizer(name: str, *, trust_remote_code: bool) -> tuple[Any, Any]:
    """Load what a model has besides its weights. Raise the same errors as ``load_backbone``."""
    from transformers import AutoConfig, AutoTokenizer

    where = "" if Path(name).is_dir() else "no such local folder, and on the hub "
    with reported(name, f"{where}no model configuration that transformers knows"):
        _refuse_adapter(name)
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
    check_config(name, config)
    _refuse_numbers_of_8_bits(name)
    with reported(
        name,
        "no tokenizer beside the model",
        "; its tokenizer.json and tokenizer_config.json must be in the same folder",
    ):
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    require_ending(name, tokenizer)
    return config, tokenizer


def config_of(folder: Path) -> Any:
    """Return the configuration of a model that ``load_backbone`` accepted, from its folder, for ``model_from_config``.

    Raises:
        InputError: there is none, or the model is not supported.
    """
    from transformers import AutoConfig

    with reported(str(folder), "no model configuration that transformers knows"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    check_config(str(folder), config)
    config._attn_implementation = ATTENTION
    config.return_dict, config.output_attentions = True, False
    return config


def model_from_config(config: Any) -> Any:
    """Create a model with random weights, which the weights of a trained or loaded model must overwrite."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=ATTENTION)


def require_ending(name: str, tokenizer: Any) -> None:
    """Raise InputError if a tokenizer has no end-of-sequence token."""
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"backbone {name}: its tokenizer has no end-of-sequence token, which every training label needs; use another backbone"
        )


@contextlib.contextmanager
def reported(name: str, problem: str, advice: str = "") -> Iterator[None]:
    """Turn what transformers raises for a wrong file of a model into an InputError of one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of any class, because the files may hold anything
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
            raise
        if "contains custom code" in str(error):
            advice = "; if you trust this code, allow it with --trust-remote-code"
        elif isinstance(error, ImportError):
            advice = "; install what it needs, or use another backbone"
        raise InputError(f"backbone {name}: {problem} ({_first_line(error)}){advice}") from error


def _refuse_adapter(name: str) -> None:
    """Raise InputError for an adapter. With it, transformers would load the model that the adapter names."""
    from transformers.utils.peft_utils import find_adapter_config_file

    if find_adapter_config_file(name) is not None:
        raise InputError(f"backbone {name}: this is an adapter and no model; name the model that it was made for")


def _refuse_numbers_of_8_bits(name: str) -> None:
    """Raise InputError for a folder with quantised weights that its config.json does not mention."""
    for path in sorted(Path(name).glob("*.safetensors")) if Path(name).is_dir() else ():
        with reported(name, "weights cannot be loaded"), safe_open(path, framework="pt") as file:
            kinds = {file.get_slice(key).get_dtype(): key for key in file.keys()}  # noqa: SIM118
        if odd := sorted(kinds.keys() - _WEIGHT_TYPES):
            raise InputError(
                f"backbone {name}: quantised weights ({kinds[odd[0]]} is {odd[0]}) cannot be tuned; name the model it was"
                " made from"
            )


def check_folder(name: str) -> None:
    """Raise InputError if ``name`` looks like a local path but no such folder exists.

    The name of a model on the Hugging Face hub has at most one slash and does not begin with a dot.
    """
    path = Path(name)
    if path.is_dir():
        return
    if path.is_file():
        raise InputError(f"backbone {name}: this is a file; give the folder that contains it, or a GGUF file")
    if name.lower().endswith(".gguf"):
        raise InputError(f"backbone {name}: no such file; check the path")
    if path.is_absolute() or name.startswith((".", "~")) or len(path.parts) > 2:
        raise InputError(f"backbone {name}: no such folder; check the path")


def check_config(name: str, config: Any) -> None:
    """Raise InputError for the configuration of a model that ``semconv.backbone.forward`` does not support."""
    if config.model_type not in _ROTARY_FULL_ATTENTION:
        raise InputError(
            f"backbone {name}: architecture {config.model_type} is not supported; use one with rotary positions and full"
            f" attention: {', '.join(_ROTARY_FULL_ATTENTION)}"
        )
    quantised = next((value for key in _QUANTISED if (value := getattr(config, key, None)) is not None), None)
    if quantised is not None:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise InputError(
            f"backbone {name}: quantised weights{f' ({method})' if method else ''} cannot be tuned; name the model it was made from"
        )
    if not config.num_hidden_layers or config.num_hidden_layers < 1:
        raise InputError(f"backbone {name}: it has no layers; check num_hidden_layers in its config.json")
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
    line = str(error)[:2000].strip().split("\n")[0] or type(error).__name__
    return textwrap.shorten(line, 200, placeholder=" ...").rstrip(": ")
