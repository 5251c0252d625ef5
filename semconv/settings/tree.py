"""One frozen settings tree with its defaults; ``config_load`` reads what a project changes.

A field's ``doc`` is its documentation everywhere: in the generated settings page, in the comments
of a new project's ``semconv.toml`` and in the help of a flag.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast, get_type_hints

from semconv.columns import TrainCut
from semconv.settings.lists import BlendSettings, RecommendSettings
from semconv.settings.option import option


@dataclass(frozen=True)
class SplitSettings:
    """Which interactions train, and what a history is."""

    train_cut: TrainCut = option(
        "[:-2]",
        "What of each sequence trains: [:-2] keeps validation and test out, [:-1] the test item alone, [:] nothing.",
    )
    k_core: int = option(
        2, "Users and items with fewer interactions, counted to the fixed point, stay out of training.", low=1
    )
    history_length: int = option(20, "Items of a history that a prompt shows, the latest ones.", low=1)
    temporal_at: str = option(
        "",
        "Split in time instead of leave-one-out: a date, or the share of all interactions that lie before the test cut, such as 0.9. Everything learns from what lies before the cuts alone; a user's target is the first item after them.",
        is_late=True,
    )


@dataclass(frozen=True)
class BehaviorSettings:
    """Stage one, behaviour vectors."""

    source: Literal["svd", "dccf", "given"] = option(
        "svd",
        "Where item vectors come from: svd of the interaction matrix; dccf, the paper's graph recommender; or given in a Parquet file.",
    )
    graph: Literal["transitions", "interactions"] = option(
        "transitions",
        "What svd decomposes: items by items, pairs of a sequence weighted by nearness; or users by items.",
    )
    dimensions: int = option(32, "Width D of a behaviour vector.", low=2)
    vectors: str = option("", "With source = given: a Parquet file of item_id and vector, relative to the project.")
    seed: int = option(0, "Seed of the randomised SVD, or of start and draws of dccf.", low=0)


@dataclass(frozen=True)
class DccfSettings:
    """Stage one, behavior.source = dccf: a graph recommender with intents and two adaptive masks."""

    epochs: int = option(100, "Largest number of epochs.", low=1)
    batches: int = option(40, "Batches an epoch.", low=1)
    batch: int = option(2048, "Triples a batch; the contrastive loss grows with its square.", low=1)
    learning_rate: float = option(1e-3, "Learning rate of Adam.", low=0)
    layers: int = option(2, "Layers of propagation.", low=1)
    intents: int = option(128, "Intents of the users, and as many of the items.", low=1)
    ego_weight: float = option(2.5e-5, "Weight of the squared length of a batch's own rows.", low=0)
    intent_weight: float = option(5e-3, "Weight of the squared length of the intents.", low=0)
    contrast_weight: float = option(0.1, "Weight of the contrastive loss between the views.", low=0)
    temperature: float = option(1.0, "Temperature of the contrastive loss.", low=0.01)
    validation_users: int = option(5000, "Users of the validation after each epoch; 0 turns it off.", low=0)
    patience: int = option(10, "Validations without a better recall@20 before training stops.", low=1)
    checkpoint_seconds: int = option(60, "Seconds between two checkpoints within an epoch.", low=1)


@dataclass(frozen=True)
class BackboneSettings:
    """The language model that is tuned."""

    path: str = option("", "A local folder or hub name of a causal language model; empty makes the embedded default.")
    width: int = option(128, "Embedded default: hidden size.", low=8)
    layers: int = option(3, "Embedded default: decoder layers.", low=1)
    heads: int = option(4, "Embedded default: attention heads.", low=1)
    mlp_width: int = option(384, "Embedded default: width of the gated MLP.", low=8)
    vocabulary: int = option(2000, "Embedded default: size of the BPE vocabulary.", low=300)
    context: int = option(2048, "Embedded default: longest sequence in tokens.", low=64)
    trust_remote_code: bool = option(False, "Run Python code that a model folder brings along.")
    seed: int = option(0, "Seed of the embedded default's weights.", low=0)


@dataclass(frozen=True)
class CodebookSettings:
    """Stage one, codes (paper, eq. 1 to 3)."""

    method: Literal["residual", "rqvae"] = option(
        "residual",
        "residual quantises the vectors themselves; rqvae what an encoder makes of them, trained with a decoder (paper, Table 3, ED).",
        is_late=True,
    )
    levels: int = option(4, "Number N of codebooks, codes an item.", low=1, high=6)
    codes: int = option(256, "Codes C of each book.", low=2, high=65535)
    alignment: float = option(
        0.1,
        "lambda, weight of the pull towards the backbone's input space (paper, eq. 3); 0 is plain residual k-means.",
        low=0,
    )
    shrinkage: float = option(
        10.0,
        "Interactions that an item's text counts as when its learned vector is steadied before the fit; 0 leaves vectors as they are.",
        low=0,
    )
    residual: Literal["signed", "absolute"] = option("signed", "absolute is the paper's literal eq. 1.")
    distance: Literal["l2", "cosine"] = option("l2", "Distance of assignment and reconstruction.")
    alignment_distance: Literal["l2", "cosine"] = option("l2", "Distance of the alignment term.")
    assign_with: Literal["behavior", "both"] = option(
        "behavior", "What an item's code is nearest to: the residual, or residual and text target."
    )
    collisions: Literal["resolve", "keep"] = option(
        "resolve", "Move items that share all codes to free codes, or leave them."
    )
    iterations: int = option(10, "k-means iterations a level.", low=1)
    candidates: int = option(
        1,
        "Rows drawn for each code of the k-means++ start, the best of which is taken; 1 is plain k-means++, 7 starts better and takes longer.",
        low=1,
        is_late=True,
    )
    sample: int = option(
        200_000,
        "Items that the books are fitted on, drawn with the seed where there are more; all items get codes; 0 fits on all. The default is some 780 for each of 256 codes: on a million vectors, twice as many take half as long again and lower the error by 1 %.",
        low=0,
        is_late=True,
    )
    seed: int = option(0, "Seed of the k-means++ start.", low=0)


@dataclass(frozen=True)
class RqvaeSettings:
    """Stage one, codebook.method = rqvae: an encoder and a decoder around the codebooks."""

    hidden: int = option(128, "Width of the two hidden layers of encoder and decoder.", low=1)
    epochs: int = option(100, "Passes over the items.", low=1)
    batch: int = option(1024, "Items a step.", low=1)
    learning_rate: float = option(1e-3, "Learning rate of Adam.", low=0)
    commitment: float = option(0.25, "Weight of the pull of the encoder's outputs towards their codes.", low=0)


@dataclass(frozen=True)
class RefitSettings:
    """When vectors, codes and model are due to be made anew; `semconv codebook report` and `semconv run` say so."""

    mapped_share: float = option(
        0.2,
        "Largest share of items with codes from their text alone though a fit would learn theirs from interactions now.",
        low=0,
        high=1,
    )
    load_growth: float = option(
        1.5, "Largest growth of the fullest first code's share of the items since the fit.", low=1
    )
    error_growth: float = option(
        1.5, "Largest distance of new items' text from their codes, over that of the fit's items' text.", low=1
    )
    interactions_growth: float = option(
        1.2, "Largest growth of the interactions to train on since the model was tuned.", low=1, is_late=True
    )
    automatic: bool = option(
        False, "Let `semconv run` refit when it is due; otherwise it says so and keeps the model.", is_late=True
    )


@dataclass(frozen=True)
class TaskSettings:
    """Stage two, prompts and labels."""

    sequential: bool = option(True, "Train the task: history to next item.")
    text: bool = option(True, "Train the task: title and description to item.")
    query: bool = option(True, "Train the task: a user's query to item.")
    text_share: float = option(
        1.0, "Share of the items with text that an epoch draws for the text task.", low=0, high=1, is_late=True
    )
    query_share: float = option(
        1.0, "Share of the interactions with text that an epoch draws for the query task.", low=0, high=1, is_late=True
    )
    negatives: int = option(
        3, "Items the user will hate, per sequential sample (paper, Table 4); 0 turns the task off.", low=0
    )
    negative_share: float = option(0.1, "Share of a user's epochs in which the negative task is drawn.", low=0, high=1)
    late_share: float = option(
        0.05,
        "Share of the places after a history's first 20 items that an epoch draws; each needs a window of its own.",
        low=0,
        high=1,
    )
    place_share: float | None = option(
        None,
        "Share of a history's first 20 places that an epoch asks about, the latest of them always; unset: 0.2 for the"
        " embedded default, which tuning.history_loss teaches the others at a fraction of the tokens, 1 for a pretrained"
        " model.",
        low=0,
        high=1,
        is_late=True,
    )
    negative_rating_max: float | None = option(None, "Interactions rated at most this are negatives, not labels.")
    max_prompt_tokens: int = option(2048, "Longer prompts are dropped and counted.", low=16)
    seed: int = option(0, "Seed of the draws of wordings and negatives.", low=0)


@dataclass(frozen=True)
class TuningSettings:
    """Stage two, training."""

    mode: Literal["full", "lora"] = option(
        "full", "Train all weights, or low-rank adapters and the rows of the code tokens."
    )
    epochs: int = option(6, "Passes over the training users.", low=1)
    max_samples: int = option(0, "Stop after so many samples, 0 for no limit; overrides nothing else.", low=0)
    max_minutes: float = option(
        0.0,
        "Stop after so many minutes of training and validation, counted over resumes, 0 for no limit; such a run is not reproducible.",
        low=0,
        is_late=True,
    )
    learning_rate: float | None = option(
        None, "Peak learning rate of AdamW; unset: 1.5e-3 for the embedded default, 5e-5 for a pretrained model.", low=0
    )
    from_learning_rate: float | None = option(
        None,
        "Peak learning rate of a tuning that goes on from an earlier run (`finetune --from`); unset: a third of learning_rate.",
        low=0,
        is_late=True,
    )
    replay: float = option(
        0.3,
        "Share of the samples known to an earlier run that a tuning from it draws an epoch, beside all that are new; 1 tunes on everything.",
        low=0,
        high=1,
        is_late=True,
    )
    weight_decay: float = option(0.05, "Weight decay of AdamW.", low=0)
    warmup: float = option(0.02, "Share of the steps that warm up.", low=0, high=1)
    clip: float = option(1.0, "Largest norm of the gradient.", low=0)
    dropout: float | None = option(
        None,
        "Dropout on the embeddings and on each layer's two outputs in mode full; unset: 0.2 for the embedded default, 0.05"
        " for a pretrained model.",
        low=0,
        high=0.9,
    )
    code_start: Literal["auto", "random", "codebook", "mlp2", "mlp3"] = option(
        "auto",
        "Rows of the code tokens at the start: drawn like the backbone's own (the paper); from the codebooks by a fixed rotation; by an MLP of 2 or 3 layers that is trained with the model (paper, Table 7); or auto: codebook for the embedded default on codes that have books, else random.",
    )
    loss_over: Literal["auto", "vocabulary", "trie"] = option(
        "auto",
        "What a code competes with in the loss: the whole vocabulary (the method), the codes that exist after the same prefix, or auto: trie for the embedded default alone. Search then needs recommend.scores = trie.",
    )
    history_loss: float | None = option(
        None,
        "Weight of a loss on the codes of the histories themselves; 0 is the method's loss on labels alone; unset: 1 for the embedded default, 0 for a pretrained model.",
        low=0,
    )
    batch_tokens: int = option(
        2048, "Tokens a batch, over all processes, padding and shared histories counted once.", low=64
    )
    accumulate: int = option(1, "Batches a step: their gradients add up to that of one batch.", low=1, is_late=True)
    gradient_checkpointing: bool = option(
        False,
        "Keep no activations inside the layers and compute them again in the backward pass: less memory, more time, the same result.",
        is_late=True,
    )
    parallel: Literal["ddp", "fsdp"] = option(
        "ddp",
        "Under torchrun with several processes: each holds a copy of the model, or a shard of weights, gradients and optimizer.",
        is_late=True,
    )
    dtype: Literal["float32", "bfloat16"] = option("float32", "Number format of the forward pass.")
    attention: Literal["sdpa", "flex"] = option(
        "sdpa",
        "Attention while training: PyTorch's fused one, or FlexAttention, which skips what no question of a shared history"
        " looks at and needs a CUDA GPU.",
        is_late=True,
    )
    lora_rank: int = option(8, "LoRA: rank.", low=1)
    lora_alpha: int = option(32, "LoRA: scale.", low=1)
    lora_dropout: float = option(0.05, "LoRA: dropout.", low=0, high=0.9)
    validation_users: int = option(4000, "Users of the sampled beam search after each epoch; 0 turns it off.", low=0)
    validate_every: int = option(1, "Epochs between two validations.", low=1)
    patience: int = option(3, "Validations without a better NDCG@10 before training stops.", low=1)
    checkpoint_seconds: int = option(60, "Seconds between two checkpoints.", low=1)
    seed: int = option(0, "Seed of order, draws and dropout.", low=0)


@dataclass(frozen=True)
class EvaluateSettings:
    """Figures."""

    bootstrap_samples: int = option(1000, "Resamples of the users for an interval.", low=10)
    confidence: float = option(0.95, "Coverage of the interval.", low=0.5, high=0.999)
    max_users: int = option(0, "Evaluate a fixed sample of so many users, 0 for all.", low=0)
    transition_decay: float = option(0.6, "Transition counter: exponent of the distance.")
    transition_symmetry: float = option(0.7, "Transition counter: weight of the reverse pair.")
    transition_history_decay: float = option(0.75, "Transition counter: exponent of the place in the history.")
    transition_alpha: float = option(0.5, "Transition counter: exponent of the row sum.")
    tuning_users: int = option(
        5000,
        "Validation users on whom the transition counter's parameters are searched for the row transition-tuned; 0 leaves the row out.",
        low=0,
        is_late=True,
    )
    seed: int = option(0, "Seed of bootstrap and sample.", low=0)


@dataclass(frozen=True)
class PublishSettings:
    """DuckDB, where the lists of all users are moved: `recommend load` and `publish`."""

    memory_mb: int = option(
        1024,
        "Megabytes that DuckDB may take for them; what does not fit goes to files in the project's data folder.",
        low=256,
        is_late=True,
    )


@dataclass(frozen=True)
class Settings:
    """Everything a run can be told."""

    split: SplitSettings = dataclasses.field(default_factory=SplitSettings)
    behavior: BehaviorSettings = dataclasses.field(default_factory=BehaviorSettings)
    dccf: DccfSettings = dataclasses.field(default_factory=DccfSettings)
    backbone: BackboneSettings = dataclasses.field(default_factory=BackboneSettings)
    codebook: CodebookSettings = dataclasses.field(default_factory=CodebookSettings)
    rqvae: RqvaeSettings = dataclasses.field(default_factory=RqvaeSettings)
    refit: RefitSettings = dataclasses.field(default_factory=RefitSettings)
    tasks: TaskSettings = dataclasses.field(default_factory=TaskSettings)
    tuning: TuningSettings = dataclasses.field(default_factory=TuningSettings)
    blend: BlendSettings = dataclasses.field(default_factory=BlendSettings)
    recommend: RecommendSettings = dataclasses.field(default_factory=RecommendSettings)
    evaluate: EvaluateSettings = dataclasses.field(default_factory=EvaluateSettings)
    publish: PublishSettings = dataclasses.field(default_factory=PublishSettings)


def sections() -> dict[str, type[Any]]:
    """Section name -> its dataclass."""
    return {name: cast("type[Any]", hint) for name, hint in get_type_hints(Settings).items()}


def iter_options() -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Yield ``(section, field, type)`` of every setting."""
    for section, cls in sections().items():
        hints = get_type_hints(cls)
        for field in dataclasses.fields(cls):
            yield section, field, hints[field.name]


def run_settings(section: Any) -> dict[str, Any]:
    """Plain values of a section as a run records them: without late fields at their default."""
    late = {field.name: field.default for field in dataclasses.fields(section) if field.metadata["is_late"]}
    values = dataclasses.asdict(section)
    return {name: value for name, value in values.items() if name not in late or value != late[name]}


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain values for JSON; ``load`` of it gives the same tree back."""
    return dataclasses.asdict(settings)
