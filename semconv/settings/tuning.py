"""Settings of the section [tuning]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.settings.option import option


@dataclass(frozen=True)
class TuningSettings:
    """Training of the language model."""

    mode: Literal["full", "lora"] = option(
        "full", "full trains all weights. lora trains low-rank adapters and the embeddings of the code tokens."
    )
    epochs: int = option(6, "Number of passes over the training users.", low=1)
    max_samples: int = option(0, "Stop after this many samples. 0 means no limit.", low=0)
    max_minutes: float = option(
        0.0,
        "Stop after this many minutes of training and validation, resumed runs included. 0 means no limit. A run that is"
        " stopped by time is not reproducible.",
        low=0,
    )
    learning_rate: float | None = option(
        None,
        "Peak learning rate of AdamW. Unset: 1.5e-3 for the embedded default (the small decoder that semconv"
        " creates) and 5e-5 for a pretrained model.",
        low=0,
    )
    from_learning_rate: float | None = option(
        None,
        "Peak learning rate of a tuning that continues an earlier run (`finetune --from`). Unset: a third of"
        " learning_rate.",
        low=0,
    )
    replay: float = option(
        0.3,
        "Share of the earlier run's samples that `finetune --from` repeats in each epoch, in addition to all new samples."
        " 1 repeats all of them.",
        low=0,
        high=1,
    )
    weight_decay: float = option(0.05, "Weight decay of AdamW.", low=0)
    warmup: float = option(0.02, "Share of the steps during which the learning rate rises.", low=0, high=1)
    max_gradient_norm: float = option(
        1.0, "Gradients with a larger norm are scaled down to this norm. 0 turns this off.", low=0
    )
    dropout: float | None = option(
        None,
        "Dropout on the embeddings and on the two outputs of each layer, in mode full. Unset: 0.2 for the embedded"
        " default and 0.05 for a pretrained model.",
        low=0,
        high=0.9,
    )
    code_start: Literal["auto", "random", "codebook", "mlp2", "mlp3"] = option(
        "auto",
        "Initial embeddings of the code tokens. random draws them like the backbone's own (as in the paper). codebook"
        " maps the codebook vectors by a fixed rotation. mlp2 and mlp3 map them by an MLP of 2 or 3 layers that is"
        " trained with the model (paper, Table 7). auto is codebook for the embedded default if the codes have"
        " codebooks, and random otherwise.",
    )
    loss_over: Literal["auto", "vocabulary", "trie"] = option(
        "auto",
        "Tokens over which the loss normalises the probability of a code. vocabulary is the whole vocabulary (as in the"
        " paper). trie is the codes that exist after the same prefix; it needs recommend.scores = trie. auto is trie for"
        " the embedded default and vocabulary otherwise.",
    )
    history_loss: float | None = option(
        None,
        "Weight of an additional loss on the codes in the histories. 0 is the paper's loss on labels only. Unset: 1 for"
        " the embedded default and 0 for a pretrained model.",
        low=0,
    )
    batch_tokens: int = option(
        2048,
        "Tokens in a batch, over all processes, with padding. A history shared by several prompts counts once.",
        low=64,
    )
    accumulate: int = option(1, "Batches in a step. Their gradients are added up, as for one larger batch.", low=1)
    gradient_checkpointing: bool = option(
        False,
        "Recompute activations in the backward pass instead of storing them: less memory, more time, the same result.",
    )
    parallel: Literal["ddp", "fsdp"] = option(
        "ddp",
        "With several processes under torchrun: ddp keeps a copy of the model in each process, fsdp splits weights,"
        " gradients and optimizer state among them.",
    )
    dtype: Literal["float32", "bfloat16"] = option("float32", "Number format of the forward pass.")
    attention: Literal["sdpa", "flex"] = option(
        "sdpa",
        "Attention kernel for training: PyTorch's scaled dot product attention, or FlexAttention, which skips masked"
        " blocks and needs a CUDA GPU.",
    )
    lora_rank: int = option(8, "LoRA: rank.", low=1)
    lora_alpha: int = option(32, "LoRA: scale.", low=1)
    lora_dropout: float = option(0.05, "LoRA: dropout.", low=0, high=0.9)
    validation_users: int = option(
        4000, "Number of users for validation by beam search. 0 turns validation off.", low=0
    )
    validate_every: int = option(1, "Epochs between two validations.", low=1)
    patience: int = option(3, "Validations without a better NDCG@10 before training stops.", low=1)
    checkpoint_seconds: int = option(60, "Seconds between two checkpoints.", low=1)
    seed: int = option(0, "Random seed of sample order, samples and dropout.", low=0)
