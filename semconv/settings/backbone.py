"""Settings of the section [backbone]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.errors import SettingsError
from semconv.settings.option import option


@dataclass(frozen=True)
class BackboneSettings:
    """The language model that is tuned: a pretrained one, or the built-in backbone, a small decoder that semconv creates."""

    path: str = option(
        "",
        "Local folder, GGUF file or Hugging Face Hub name of a pretrained causal language model. If this is empty,"
        " semconv uses the built-in backbone.",
    )
    width: int = option(128, "Hidden size of the built-in backbone, a multiple of twice the number of heads.", low=8)
    layers: int = option(2, "Number of decoder layers of the built-in backbone.", low=1)
    heads: int = option(4, "Number of attention heads of the built-in backbone.", low=1)
    mlp_width: int = option(384, "Width of the gated MLP in each layer of the built-in backbone.", low=8)
    vocabulary: int = option(2000, "Size of the BPE vocabulary of the built-in backbone.", low=300)
    context: int = option(2048, "Maximum length of a text that the built-in backbone reads, in tokens.", low=64)
    trust_remote_code: bool = option(False, "Allow a model folder to run the Python code that it contains.")
    seed: int = option(0, "Random seed for the initial weights of the built-in backbone.", low=0)


def require_even_heads(settings: BackboneSettings) -> None:
    """Raise SettingsError if the heads of the built-in backbone have no even width, which rotary positions need."""
    if settings.width % (2 * settings.heads):
        raise SettingsError(
            f"backbone.width = {settings.width}: must be a multiple of {2 * settings.heads}, twice"
            f" backbone.heads = {settings.heads}; change one of them"
        )
