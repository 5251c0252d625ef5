"""Load a tuned model for lists, blends and queries in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv.artifacts import read_arrays
from semconv.data.histories import Histories, prompt_items
from semconv.data.store import Catalog
from semconv.ragged import Ints
from semconv.runs.files import MODEL_FOLDER, TUNED_CODES
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie_file import open_trie
from semconv.settings.tree import Settings
from semconv.stages.agreement import code_scores
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.codes.trie_store import trie_file
from semconv.stages.embed.backbone import intact_backbone
from semconv.stages.tune.item_search import ItemPrompts, ItemSearchData
from semconv.stages.tune.item_setup import SplitMoments
from semconv.tasks.dates import DateRange, DateTokens
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.user_prompts import TokenPrompts

if TYPE_CHECKING:
    from semconv.item_head.search import ItemSearcher
    from semconv.search.code_scores import Normalization

PROMPT_DATES: Final = "dates"  # in the manifest of a model


@dataclass(frozen=True)
class TunedFiles:
    """Everything that a process needs to load a tuned model, on this machine or another one.

    Attributes:
        model: folder of the tuned model.
        codes_digest: digest of the codes that the model must have been tuned on.
        codes: current codes of all items that have codes.
        trie: file of the trie of these codes.
        num_items: the number I of items in the catalogue.
        scores: the tokens over which the loss of the model, and so the search, normalises the probability of a code.
        items: what a model that reads items needs besides; None for a model that reads code tokens.
        dates: the dates in the prompts of a model that reads code tokens; None for prompts without dates.
        days: ``(U,)`` day on which each user is asked, for prompts with dates; None for other prompts, and for queries.
    """

    model: Path
    codes_digest: str
    codes: ItemCodes
    trie: Path
    num_items: int
    scores: Normalization
    items: ItemSearchData | None = None
    dates: DateRange | None = None
    days: Ints | None = None

    @classmethod
    def read(cls, workspace: Workspace, lineage: Lineage, catalog: Catalog, moments: SplitMoments | None) -> TunedFiles:
        """Verify and describe the files of a tuned model and its codes.

        Args:
            lineage: the current lineage of the model.
            moments: the day for which lists are made; None for queries in words, which know no moment.

        Raises:
            InputError: a file is damaged.
            SettingsError: ``recommend.scores`` differs from the loss of the model.
        """
        from semconv.tuning.model import tuned_manifest

        codes = ItemCodes.read(workspace, lineage.code_runs)
        folder = tuned_folder(workspace, lineage)
        manifest = tuned_manifest(folder, None)
        reads_items, dates = manifest["history"] == "items", prompt_dates(manifest)
        days = None
        if dates is not None and moments is not None:
            days = moments.days()
        return cls(
            folder,
            tuned_digest(workspace, lineage, codes),
            codes,
            trie_file(workspace, lineage, codes),
            len(catalog),
            code_scores(workspace.settings.recommend, lineage.finetune.settings["tuning"]),
            ItemSearchData.read(workspace, lineage, catalog, moments) if reads_items else None,
            dates,
            days,
        )

    def load(self, settings: Settings, allowed: NDArray[np.bool_], say: Callable[[str], None]) -> Tuned:
        """Load the model on the device that computes lists, with the number format and search that the settings name.

        Args:
            allowed: ``(I,)`` items that may be listed.
            say: called with a line of text for each batch that did not fit into memory.

        Raises:
            InputError: the model is missing or damaged, or was tuned on other codes.
        """
        from semconv.backbone.forward import compile_decoder
        from semconv.backbone.machine import limit_kernels, lists_device
        from semconv.tuning.model import load_tuned

        limit_kernels()
        trust = settings.backbone.trust_remote_code
        tuned = load_tuned(self.model, self.codes_digest, settings.recommend.dtype, trust_remote_code=trust)
        model = tuned.model.to(lists_device())
        if settings.recommend.compile:
            compile_decoder(model)
        codes, search = self.codes, self._search_settings(settings)
        dates = None if self.dates is None else DateTokens.read(tuned.tokenizer, self.dates)
        encoder = PromptEncoder(
            tuned.tokenizer, tuned.level_tokens, codes.item_index, codes.codes, self.num_items, dates
        )
        length = settings.split.history_length
        if self.items is not None:
            item_searcher, maker = self.items.searcher(model, encoder, allowed, search, length)
            return Tuned(item_searcher, encoder, maker)
        trie = open_trie(self.trie).restrict(allowed)
        searcher = Searcher(model, trie, tuned.level_tokens, search, say)
        return Tuned(searcher, encoder, TokenPrompts(encoder, length, self.days))

    def _search_settings(self, settings: Settings) -> SearchSettings:
        recommend = settings.recommend
        proposals = 0 if settings.blend.use == "never" else settings.blend.candidates
        return SearchSettings(
            recommend.top_k, recommend.beams, self.scores, recommend.batch_tokens, proposals=proposals
        )


@dataclass(frozen=True)
class Tuned:
    """A loaded model: its search over the allowed items, the encoder of texts, and the maker of users' prompts."""

    searcher: Searcher | ItemSearcher
    encoder: PromptEncoder
    maker: TokenPrompts | ItemPrompts

    def prompts(self, histories: Histories, users: NDArray[np.int32]) -> list[Any]:
        """Return the input of the search for each user; it is empty if no item of the history has codes."""
        return self.maker.of_users(histories, users)

    def visible(self, histories: Histories, users: NDArray[np.int32], length: int) -> list[NDArray[np.int32]]:
        """Return the items of each user's history that the prompt contains, at most ``length``."""
        return [prompt_items(histories.of(int(user)), self.encoder.has_codes, length) for user in users]


def passes(settings: Settings) -> AbstractContextManager[None]:
    """Return a context for forward passes of a model, which turns failures of the compiler into one-line errors."""
    from semconv.backbone.machine import compiler_errors

    return compiler_errors() if settings.recommend.compile else nullcontext()


def tuned_folder(workspace: Workspace, lineage: Lineage) -> Path:
    """Return the folder of a tuned model, after verifying its checksums. For an adapter, also verify the backbone."""
    finetune = lineage.finetune
    if finetune.settings["tuning"]["mode"] == "lora":
        intact_backbone(workspace, lineage.backbone)
    return workspace.intact(finetune, MODEL_FOLDER)


def prompt_dates(manifest: Mapping[str, Any]) -> DateRange | None:
    """Return the dates in the prompts of a tuned model, from its manifest; None for prompts without dates."""
    return DateRange.of_plain(manifest[PROMPT_DATES]) if PROMPT_DATES in manifest else None


def tuned_digest(workspace: Workspace, lineage: Lineage, codes: ItemCodes) -> str:
    """Return a digest of the current codes of the items that a model was tuned on.

    The digest is compared with the digest stored with the model, to refuse codes that changed since the tuning.
    """
    from semconv.tuning.model import codes_digest

    index = read_arrays(workspace.intact(lineage.finetune, TUNED_CODES))["item_index"]
    return codes_digest(index, codes.of(index))
