"""Settings of the section [backbone]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class BackboneSettings:
    """The language model that is tuned: a pretrained one, or the embedded default, a small decoder that semconv creates."""

    path: str = option(
        "",
        "Local folder or Hugging Face Hub name of a causal language model. Empty: the embedded default.",
    )
    width: int = option(128, "Embedded default: hidden size.", low=8)
    layers: int = option(3, "Embedded default: number of decoder layers.", low=1)
    heads: int = option(4, "Embedded default: number of attention heads.", low=1)
    mlp_width: int = option(384, "Embedded default: width of the gated MLP.", low=8)
    vocabulary: int = option(2000, "Embedded default: size of the BPE vocabulary.", low=300)
    context: int = option(2048, "Embedded default: maximum length of a sequence, in tokens.", low=64)
    trust_remote_code: bool = option(False, "Allow a model folder to run the Python code that it contains.")
    seed: int = option(0, "Embedded default: random seed of the initial weights.", low=0)
