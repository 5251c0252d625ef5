"""The built-in backbone: a small decoder of the Llama architecture, for projects without a pretrained model.

The tokenizer of the built-in backbone is byte-level BPE, trained on the catalogue's text and on words of
queries that many users share. Every fixed phrase of the prompts is one token, because an untrained model does not know the words of a phrase. So a prompt with a history of 20
items has 102 tokens instead of about 180. The input embeddings start from an SVD of the token-by-item PPMI matrix
(positive pointwise mutual information). So words that occur with the same items have similar embeddings before any
training.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from semconv.backbone.vocabulary import pieces_of_words, shared_words
from semconv.ragged import lengths_of, row_of
from semconv.settings.backbone import BackboneSettings, require_even_heads

END = "</s>"
PAD = "<pad>"


def create_backbone(
    folder: Path,
    item_texts: Sequence[str],
    queries: Sequence[tuple[int, str]],
    phrases: Sequence[str],
    settings: BackboneSettings,
) -> dict[str, Any]:
    """Create the built-in backbone and save it.

    Args:
        folder: gets the model and the tokenizer, in the format of transformers.
        item_texts: text of each item that has one.
        queries: user and training query, sorted by user. The tokenizer learns the words that many users share.
        phrases: fixed parts of prompts; each becomes one token.
    Returns:
        size of the vocabulary, and number of parameters of the whole model and of its layers.
    Raises:
        SettingsError: the width is no multiple of twice the heads.
    """
    require_even_heads(settings)
    texts = itertools.chain(item_texts, shared_words(item_texts, queries))
    tokenizer = train_tokenizer(texts, phrases, settings.vocabulary)
    torch.manual_seed(settings.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.width,
            intermediate_size=settings.mlp_width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.heads,
            max_position_embeddings=settings.context,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    token_lists = tokenizer(list(item_texts))["input_ids"] if item_texts else []
    rows = ppmi_rows(token_lists, len(tokenizer), settings.width, settings.seed)
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        seen = np.abs(rows).sum(axis=1) > 0
        weight[torch.from_numpy(seen)] = torch.from_numpy(rows[seen])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    body = sum(parameter.numel() for parameter in model.get_decoder().layers.parameters())
    return {"vocabulary": len(tokenizer), "parameters": model.num_parameters(), "layer_parameters": body}


def train_tokenizer(texts: Iterable[str], phrases: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer that adds no start token and encodes each of ``phrases`` as one token."""
    core = Tokenizer(models.BPE(unk_token=None))
    core.pre_tokenizer = pieces_of_words()
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_tokens([AddedToken(phrase, normalized=False, special=False) for phrase in phrases])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )


def ppmi_rows(token_lists: Sequence[Sequence[int]], vocabulary: int, width: int, seed: int) -> NDArray[np.float32]:
    """Compute input embeddings ``(V, width)`` from an SVD of the token-by-item PPMI matrix.

    Tokens that occur in no item get zero rows. The root mean square of all other rows is 0.02, the scale at which
    transformers initialises a Llama.
    """
    from scipy import sparse  # imported here, because machines that only tune may lack scipy
    from scipy.sparse.linalg import svds

    rows = np.zeros((vocabulary, width), dtype=np.float32)
    if not token_lists:
        return rows
    tokens = np.concatenate([np.asarray(tokens, dtype=np.int64) for tokens in token_lists])
    items = row_of(lengths_of(token_lists))
    counts = sparse.coo_array((np.ones(len(tokens)), (tokens, items)), shape=(vocabulary, len(token_lists))).tocsr()
    counts.data[:] = np.minimum(counts.data, 1.0)  # count a token once in each text
    total = counts.sum()
    per_token = np.asarray(counts.sum(axis=1)).ravel()
    per_item = np.asarray(counts.sum(axis=0)).ravel()
    ppmi = counts.tocoo()
    ppmi.data = np.maximum(np.log(total / (per_token[ppmi.row] * per_item[ppmi.col])), 0.0)
    rank = min(width, min(ppmi.shape) - 1)
    if rank < 1 or not ppmi.data.any():  # one item, or items with the same text
        return rows
    start = np.random.default_rng(seed).standard_normal(min(ppmi.shape))
    left, values, _ = svds(ppmi.tocsr(), k=rank, v0=start)
    rows[:, :rank] = left[:, ::-1] * np.sqrt(values[::-1])
    scale = np.sqrt(np.mean(rows[np.abs(rows).sum(axis=1) > 0] ** 2))
    return np.asarray(rows * (0.02 / max(scale, 1e-12)), dtype=np.float32)
