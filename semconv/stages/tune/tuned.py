"""Load a tuned model for lists, blends and queries in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.artifacts import read_arrays
from semconv.data.histories import prompt_items
from semconv.runs.files import MODEL_FOLDER, TUNED_CODES
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie_file import open_trie
from semconv.settings.tree import Settings
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.codes.trie_store import trie_file
from semconv.stages.embed.backbone import intact_backbone
from semconv.tasks.encoder import PromptEncoder


@dataclass(frozen=True)
class TunedFiles:
    """Everything that a process needs to load a tuned model, on this machine or another one.

    Attributes:
        model: folder of the tuned model.
        codes_digest: digest of the codes that the model must have been tuned on.
        codes: current codes of all items that have codes.
        trie: file of the trie of these codes.
        num_items: the number I of items in the catalogue.
    """

    model: Path
    codes_digest: str
    codes: ItemCodes
    trie: Path
    num_items: int

    @classmethod
    def read(cls, workspace: Workspace, lineage: Lineage, num_items: int) -> TunedFiles:
        """Verify and return the files of a tuned model and of its codes; ``lineage`` is the model's current lineage."""
        codes = ItemCodes.read(workspace, lineage.code_runs)
        return cls(
            tuned_folder(workspace, lineage),
            tuned_digest(workspace, lineage, codes),
            codes,
            trie_file(workspace, lineage, codes),
            num_items,
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
        from semconv.backbone.machine import lists_device
        from semconv.tuning.model import load_tuned

        trust = settings.backbone.trust_remote_code
        tuned = load_tuned(self.model, self.codes_digest, settings.recommend.dtype, trust_remote_code=trust)
        model = tuned.model.to(lists_device())
        if settings.recommend.compile:
            compile_decoder(model)
        codes = self.codes
        encoder = PromptEncoder(tuned.tokenizer, tuned.level_tokens, codes.item_index, codes.codes, self.num_items)
        trie = open_trie(self.trie).restrict(allowed)
        return Tuned(Searcher(model, trie, tuned.level_tokens, search_settings(settings), say), encoder)


@dataclass(frozen=True)
class Tuned:
    """A loaded model: its beam search over the allowed items, and the encoder of its prompts."""

    searcher: Searcher
    encoder: PromptEncoder

    def prompts(
        self, histories: Sequence[NDArray[np.int32]], length: int
    ) -> tuple[list[NDArray[Any]], list[NDArray[np.int32]]]:
        """Return for each history the prompt and the items in the prompt; both are empty if no item has codes.

        Args:
            length: the largest number of items in a prompt (``split.history_length``).
        """
        visible = [prompt_items(items, self.encoder.has_codes, length) for items in histories]
        empty = np.zeros(0, np.int64)
        return [self.encoder.inference_prompt(items) if len(items) else empty for items in visible], visible


def passes(settings: Settings) -> AbstractContextManager[None]:
    """Return a context for forward passes of a model, which turns failures of the compiler into one-line errors."""
    from semconv.backbone.machine import compiler_errors

    return compiler_errors() if settings.recommend.compile else nullcontext()


def search_settings(settings: Settings) -> SearchSettings:
    """Return the settings of the beam search that makes lists."""
    recommend = settings.recommend
    return SearchSettings(recommend.top_k, recommend.beams, recommend.scores, recommend.batch_tokens)


def tuned_folder(workspace: Workspace, lineage: Lineage) -> Path:
    """Return the folder of a tuned model, after verifying its checksums. For an adapter, also verify the backbone."""
    finetune = lineage.finetune
    if finetune.settings["tuning"]["mode"] == "lora":
        intact_backbone(workspace, lineage.backbone)
    return workspace.intact(finetune, MODEL_FOLDER)


def tuned_digest(workspace: Workspace, lineage: Lineage, codes: ItemCodes) -> str:
    """Return a digest of the current codes of the items that a model was tuned on.

    The digest is compared with the digest stored with the model, to refuse codes that changed since the tuning.
    """
    from semconv.tuning.model import codes_digest

    index = read_arrays(workspace.intact(lineage.finetune, TUNED_CODES))["item_index"]
    return codes_digest(index, codes.of(index))
