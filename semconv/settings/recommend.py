"""Settings of the section [recommend]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.columns import Seen
from semconv.errors import SettingsError
from semconv.settings.option import option


def beam_width(beams: int, top_k: int) -> int:
    """Return the number of beams of a search for lists of length ``top_k``; ``beams`` is ``recommend.beams``."""
    return beams or max(20, top_k)


def require_beams(beams: int, top_k: int) -> None:
    """Raise SettingsError if a search with ``recommend.beams`` is too narrow for lists of length ``top_k``."""
    if beam_width(beams, top_k) < top_k:
        raise SettingsError(f"recommend.beams = {beams}: must be at least recommend.top_k = {top_k}")


@dataclass(frozen=True)
class RecommendSettings:
    """Lists of the best K items for every user."""

    top_k: int = option(20, "Number K of items in a user's list.", low=1)
    beams: int = option(0, "Number of beams of the beam search. 0 means max(20, K).", low=0)
    seen: Seen = option(
        "masked", "Items that are in the user's history: masked excludes them from the list, kept allows them."
    )
    seen_days: float = option(
        0.0,
        "Number of days for which a seen item stays out of the list, if recommend.seen = masked. 0 means for ever. Use it"
        " with events.repeats = keep, for goods that users buy again.",
        low=0,
    )
    where: str = option(
        "",
        "SQL condition on the columns of the table item; only items that meet it are listed (for example brand ="
        " 'Acme'). By default, all items may be listed.",
    )
    scores: Literal["auto", "full", "trie"] = option(
        "auto",
        "Tokens over which the probability of a code is normalised. full means all tokens of the vocabulary. trie"
        " means the code tokens that exist after the same prefix. auto means the tokens of the model's loss: trie if the"
        " model was tuned with tuning.loss_over = trie, and full if it was tuned with vocabulary. Any other value than that of the loss is refused.",
    )
    shard_users: int = option(
        4096,
        "Number of users whose lists are computed and stored together (a shard of users). A job that was killed"
        " recomputes at most one shard of users.",
        low=1,
    )
    batch_tokens: int = option(
        16384,
        "Maximum number of prompt tokens in a forward pass of the search. If memory runs out, the search uses"
        " smaller batches.",
        low=64,
    )
    full_pass_days: float = option(
        7.0,
        "Number of days after which `semconv run` recomputes the lists of all users. On other days `semconv run`"
        " recomputes only lists that may have changed.",
        low=0,
    )
    engine: Literal["local", "ray"] = option(
        "local",
        "Processes that compute the lists. local is the process of the command alone. ray is workers of Ray Data,"
        " on this machine or on the cluster that RAY_ADDRESS names. Both engines give the same lists.",
    )
    ray_actors: int = option(
        0,
        "Number of workers if recommend.engine = ray. 0 means one worker per GPU, or one per machine if there are"
        " no GPUs.",
        low=0,
    )
    compile: bool = option(
        False,
        "Compile the model before the search. Compiling takes a minute or two, less the next time, and shortens"
        " the job by about a sixth. Compiling saves time for more than about 50,000 users. Compiling needs a C++"
        " compiler and, on a GPU, triton.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        "Number format of the search. auto is bfloat16 for adapters (tuning.mode = lora) that were trained with tuning.dtype"
        " = bfloat16, and otherwise float32. bfloat16 takes half the memory and changes a few list entries. On a CPU"
        " without bfloat16 instructions, a search with bfloat16 is several times slower.",
    )

    @property
    def beam_width(self) -> int:
        """Number of beams of the beam search."""
        return beam_width(self.beams, self.top_k)
