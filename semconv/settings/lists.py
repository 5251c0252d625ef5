"""Settings of what ends in lists: the blend and the top-K."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.columns import Seen
from semconv.settings.option import option


@dataclass(frozen=True)
class BlendSettings:
    """Stage two, the model together with the transition counter, vectors and popularity."""

    use: Literal["auto", "always", "never"] = option(
        "auto",
        "Serve the blend instead of the model alone: auto where it is better on validation users, by the lower end of the interval of the difference.",
        is_late=True,
    )
    transition: bool = option(
        True,
        "Part: the transition counter (its exponents are evaluate.transition_*), as candidates and in the score.",
        is_late=True,
    )
    neighbor: bool = option(
        True, "Part: nearness of behaviour vectors to the history, as candidates and in the score.", is_late=True
    )
    text: bool = option(True, "Part: nearness of text vectors to the history, in the score.", is_late=True)
    popularity: bool = option(True, "Part: training popularity, in the score.", is_late=True)
    recency: bool = option(
        True,
        "Part: how often an item was taken in the days up to a user's latest interaction, and how old it was then, in the score.",
        is_late=True,
    )
    candidates: int = option(
        60, "Items that the counter, and the behaviour vectors, propose a user.", low=1, is_late=True
    )
    shortlist: int = option(
        20,
        "Of the proposed items of a user, how many the model scores beside its own beams: the best by the other parts.",
        low=1,
        is_late=True,
    )
    neighbors: int = option(
        1000,
        "Successors of an item that the counter keeps, 12 bytes each, those with the largest weights; 0 keeps all. Proposals of a user come from so many times the length of a history.",
        low=0,
        is_late=True,
    )
    fit_users: int = option(10_000, "Validation users that the weights are fitted on, at most.", low=10, is_late=True)
    l2: float = option(1e-4, "Weight of the squared length of the standardised weights.", low=0, is_late=True)
    seed: int = option(0, "Seed of the users and of the two folds.", low=0, is_late=True)


@dataclass(frozen=True)
class RecommendSettings:
    """Stage two, top-K for every user."""

    top_k: int = option(20, "Length K of a user's list.", low=1)
    beams: int = option(0, "Beam width; 0 means max(20, K).", low=0)
    seen: Seen = option("masked", "Leave out items that the user already has, inside the search, or keep them.")
    where: str = option("", "Standing filter: a SQL condition on the table item.")
    scores: Literal["full", "level", "trie"] = option(
        "trie",
        "Log probabilities over the full vocabulary (comparable with generate), over the level's codes, or over the codes that exist after the same prefix.",
    )
    shard_users: int = option(4096, "Users a shard; a killed job repeats one shard at most.", low=1)
    batch_tokens: int = option(
        16384, "Prompt tokens a forward pass, at most; fewer where free memory is short.", low=64
    )
    full_every_days: float = option(7.0, "Days between two passes over all users.", low=0)
    engine: Literal["local", "ray"] = option(
        "local",
        "Who computes the shards: this process, or workers of Ray Data, on this machine or on the cluster that RAY_ADDRESS names; the rows are the same.",
        is_late=True,
    )
    ray_actors: int = option(
        0, "With engine = ray: workers; 0 means one a GPU, and without GPUs one a machine.", low=0, is_late=True
    )
    compile: bool = option(
        False,
        "Compile the model before the search. A job is about a sixth shorter after a minute or two of compiling, less the next time: for shops of more than some 50,000 users. Needs a C++ compiler, on a GPU triton.",
        is_late=True,
    )
    dtype: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        "Number format of the search; auto is that of the tuned model. bfloat16 takes half the memory, lists differ in a few places, and a CPU without instructions for it is several times slower.",
        is_late=True,
    )
