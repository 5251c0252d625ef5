"""Settings of the section [tuning]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from semconv.settings.option import option

# The default of validation_users, by the form of histories.
VALIDATION_USERS: Final = {"items": 12_000, "tokens": 4_000}


@dataclass(frozen=True)
class TuningSettings:
    """Training of the language model by `semconv finetune`."""

    mode: Literal["full", "lora"] = option(
        "full",
        "Which weights are trained. full trains all weights. lora trains low-rank adapters and the embeddings of"
        " the tokens of codes and dates.",
    )
    history: Literal["auto", "tokens", "items"] = option(
        "auto",
        "How the model reads a history. tokens gives it the code tokens of each item in a prompt, as in the paper, and"
        " the model generates the codes of the next item; tuning.dates adds dates. items gives it one position for each item,"
        " with the date of the event, and the model scores all items; its weights for items are trained in full also with"
        " tuning.mode = lora. auto is items for the built-in backbone with tuning.mode = full, and tokens otherwise.",
    )
    sampled_items: int | None = option(
        None,
        "With tuning.history = items, the number of items that a training step draws to compete with the label. The loss"
        " is corrected for the probability of each draw. 0 compares the label with all items. The default is 0 up to"
        " 50,000 items with training interactions, and 8,192 above.",
        low=0,
    )
    score_factors: Literal["float32", "bfloat16"] = option(
        "bfloat16",
        "With tuning.history = items, the number format in which a training step multiplies hidden states with item"
        " vectors. The products are added up in float32. bfloat16 takes about a third of the time on processors with"
        " bfloat16 instructions; other processors use float32.",
    )
    own_row_dropout: float = option(
        0.3,
        "With tuning.history = items, the probability with which a training step ignores the row that the model learned"
        " for an item alone. The step then reads and scores the item from its codes and its text, like a new item.",
        low=0,
        high=1,
    )
    dates: bool | None = option(
        None,
        "Whether the model reads the dates of events. With tuning.history = items, it also adds to the score of an item how"
        " popular it was just before the day for which the model predicts. With tokens, two tokens after the codes of each"
        " item give the period of the event and the days since the event before, and one token before the question gives the"
        " days since the last event. The default is true with tuning.history = items and false with tokens, as in the paper."
        " Without event_time there is nothing to read. `finetune --from` keeps what the earlier model reads, and says so if"
        " it differs from this setting.",
    )
    successor_items: int = option(
        7,
        "With tuning.history = items, the number of a user's latest items whose successors count. The model adds to the"
        " score of an item how often the item followed each of these items in the interactions. 0 turns this off."
        " `finetune --from` keeps the number of the earlier model, and says so if it differs from this setting.",
        low=0,
    )
    successor_factor: float | None = option(
        None,
        "With tuning.history = items, the number by which the weights of the successors are multiplied after the training."
        " By default it is chosen on the validation users from the powers of 2, among items with training interactions. With"
        " split.train_cut = [:-1], a tuning takes the factor of the finished tuning with [:-2] that decides its number of"
        " epochs. Without validation users and without such a tuning it is 1. `finetune --from` first divides the weights by"
        " the factor of the earlier tuning, and multiplies them once after the training. Without this setting and without"
        " validation users, it takes the factor of the earlier tuning.",
        low=0,
    )
    epochs: int | None = option(
        None,
        "Number of training epochs; an epoch passes over all training users once. The default with tuning.history ="
        " tokens is 6. With tuning.history = items it is 6 for 300,000 training interactions, and changes with the root"
        " of their number: from 24 for few interactions to 5 for many. With split.train_cut = [:-1], a tuning takes the"
        " best epoch of a finished tuning with [:-2] and otherwise the same settings and data, if there is one.",
        low=1,
    )
    max_samples: int = option(0, "Stop training after this many training samples. 0 means no limit.", low=0)
    max_minutes: float = option(
        0.0,
        "Stop training after this many minutes of training and validation, resumed runs included. 0 means no"
        " limit. A run that is stopped by time is not reproducible.",
        low=0,
    )
    learning_rate: float | None = option(
        None,
        "Peak learning rate of AdamW. The default is 5e-5 for a pretrained model. For the built-in backbone it is 1e-3"
        " with tuning.history = items and 1.5e-3 with tokens.",
        low=0,
    )
    item_learning_rate: float | None = option(
        None,
        "With tuning.history = items, the peak learning rate of the weights for items, which start untrained: own rows of"
        " items, text, dates, popularity and successors. The default is 1e-3 for a pretrained model, and"
        " tuning.learning_rate for the built-in backbone. `finetune --from` lowers it in the same proportion as the other"
        " learning rate.",
        low=0,
    )
    from_learning_rate: float | None = option(
        None,
        "Peak learning rate of `finetune --from`, which continues an earlier run. The default is a third of"
        " tuning.learning_rate.",
        low=0,
    )
    replay: float = option(
        0.3,
        "Share of the earlier run's samples that `finetune --from` repeats in each epoch, in addition to all new"
        " samples. 1 repeats all of them.",
        low=0,
        high=1,
    )
    weight_decay: float = option(0.05, "Weight decay of AdamW.", low=0)
    warmup: float = option(
        0.02, "Share of the training steps during which the learning rate rises to its peak.", low=0, high=1
    )
    max_gradient_norm: float = option(
        1.0, "Gradients with a larger norm are scaled down to this norm. 0 turns the scaling off.", low=0
    )
    dropout: float | None = option(
        None,
        "Dropout on the embeddings and on the attention and MLP outputs of each layer, if tuning.mode = full. With"
        " tuning.mode = lora and tuning.history = items, dropout on the item positions that the model reads, whose weights"
        " are trained in full; the layers have tuning.lora_dropout. The default is 0.05 for a pretrained model. For the"
        " built-in backbone it is 0.1 with tuning.history = items and 0.2 with tokens.",
        low=0,
        high=0.9,
    )
    code_start: Literal["auto", "random", "codebook", "mlp2", "mlp3"] = option(
        "auto",
        "Initial embeddings of the code tokens. random draws them from the distribution of the backbone's"
        " embeddings (as in the paper). codebook rotates the codebook vectors into the embedding space. mlp2 and"
        " mlp3 map the codebook vectors by an MLP of 2 or 3 layers that is trained with the model (paper, Table"
        " 7). auto is codebook for the built-in backbone with fitted codes, and random otherwise.",
    )
    loss_over: Literal["auto", "vocabulary", "trie"] = option(
        "auto",
        "Tokens over which the loss normalises the probability of a code token. vocabulary is the whole vocabulary (as in"
        " the paper). trie is the code tokens that exist after the same prefix. auto is trie for the built-in backbone and"
        " vocabulary otherwise. Validation, blend and lists use the same tokens (recommend.scores).",
    )
    history_loss: float | None = option(
        None,
        "Weight of an additional loss for predicting the codes within the histories. 0 is the loss of the paper,"
        " on labels only. The default is 1 for the built-in backbone and 0 for a pretrained model.",
        low=0,
    )
    batch_tokens: int = option(
        2048,
        "Maximum number of tokens in a batch of all processes together, padding included. A history shared by"
        " several prompts counts once. With tuning.history = items, it is the maximum number of history items"
        " in a batch, and a batch's prompts with text have together at most 8 times this number of tokens.",
        low=64,
    )
    accumulate: int = option(
        1, "Number of batches in an optimizer step. The gradients of the batches of a step are added up.", low=1
    )
    gradient_checkpointing: bool = option(
        False,
        "Recompute activations in the backward pass instead of storing them. Recomputing takes less memory and"
        " more time, and gives the same result.",
    )
    parallel: Literal["ddp", "fsdp"] = option(
        "ddp",
        "How several processes under torchrun share the model. ddp keeps a copy of the model in each process. fsdp"
        " splits weights, gradients and optimizer state among the processes.",
    )
    dtype: Literal["float32", "bfloat16"] = option("float32", "Number format of the forward pass in training.")
    attention: Literal["sdpa", "flex"] = option(
        "sdpa",
        "Attention kernel for training. sdpa is PyTorch's scaled dot product attention. flex is FlexAttention, which"
        " skips masked blocks and needs a CUDA GPU.",
    )
    lora_rank: int = option(8, "Rank of the LoRA adapters.", low=1)
    lora_alpha: int = option(32, "Scale of the LoRA adapters (lora_alpha in PEFT).", low=1)
    lora_dropout: float = option(0.05, "Dropout in the LoRA adapters.", low=0, high=0.9)
    validation_users: int | None = option(
        None,
        "Number of users on whom the model is validated by the search for lists, with the mask of recommend.seen. The"
        " default is 12,000 with tuning.history = items, and 4,000 with tokens, whose search takes longer. 0 turns validation"
        " off.",
        low=0,
    )
    validate_every: int = option(1, "Number of epochs from one validation to the next.", low=1)
    patience: int = option(
        5,
        "Training stops after this many validations in a row without a better NDCG@10. The model keeps the weights of the"
        " latest epoch whose NDCG@10 is at most 0.5 % below the best one.",
        low=1,
    )
    checkpoint_seconds: int = option(60, "Seconds between two checkpoints of the tuning.", low=1)
    seed: int = option(0, "Random seed for drawing and ordering the training samples, and for dropout.", low=0)
