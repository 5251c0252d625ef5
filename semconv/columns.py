"""The names of columns, stages and sources that users and other programs rely on.

Tables, Parquet parts, Feast views and tests take the names from this module, so that they always agree.
"""

from __future__ import annotations

from typing import Final, Literal

# Columns of tables and files.
USER_ID: Final = "user_id"
ITEM_ID: Final = "item_id"
EVENT_TIME: Final = "event_time"
EVENT_TYPE: Final = "event_type"
SOURCE_POSITION: Final = "source_position"
RATING: Final = "rating"
QUERY: Final = "query"
MARKET: Final = "market"
TITLE: Final = "title"
DESCRIPTION: Final = "description"
BRAND: Final = "brand"
CATEGORIES: Final = "categories"
ATTRIBUTES: Final = "attributes"
VECTOR: Final = "vector"
VECTOR_SOURCE: Final = "vector_source"
CODES: Final = "codes"
SEMANTIC_ID: Final = "semantic_id"
CODE_SET_RUN_ID: Final = "code_set_run_id"
IS_REASSIGNED: Final = "is_reassigned"
RANK: Final = "rank"
SCORE: Final = "score"
SOURCES: Final = "sources"
REASON_ITEM_ID: Final = "reason_item_id"
METHOD: Final = "method"

# Names of the stages, in the order of the data flow (column `run.stage`).
BACKBONE: Final = "backbone"
EMBED_BEHAVIOR: Final = "embed_behavior"
EMBED_TEXT: Final = "embed_text"
CODEBOOK: Final = "codebook"
ASSIGN: Final = "assign"
PACK: Final = "pack"  # a training that was written down for another machine
FINETUNE: Final = "finetune"
BLEND: Final = "blend"
FIT_QUESTIONS: Final = "fit_questions"
RECOMMEND: Final = "recommend"
TUNE_BASELINE: Final = "tune_baseline"
PEER: Final = "peer"  # only in experiments
EVALUATE: Final = "evaluate"
STAGES: Final = (
    BACKBONE,
    EMBED_BEHAVIOR,
    EMBED_TEXT,
    CODEBOOK,
    ASSIGN,
    PACK,
    FINETUNE,
    BLEND,
    FIT_QUESTIONS,
    RECOMMEND,
    TUNE_BASELINE,
    PEER,
    EVALUATE,
)

# How a vector was made (column `vector_source`).
LEARNED: Final = "learned"
GIVEN: Final = "given"
MAPPED_FROM_TEXT: Final = "mapped-from-text"

# The sources that proposed a recommended item (column `sources`).
SOURCE_MODEL: Final = "model"
SOURCE_TRANSITION: Final = "transition"
SOURCE_NEIGHBOR: Final = "neighbor"
SOURCE_FALLBACK: Final = "fallback"
SOURCE_EXTERNAL: Final = "external"  # for external lists that name no source
SOURCES_ORDER: Final = (SOURCE_MODEL, SOURCE_TRANSITION, SOURCE_NEIGHBOR, SOURCE_FALLBACK)

# The method that made a list (column `method` of evaluation lists and of `metric`).
METHOD_MODEL: Final = "model"
METHOD_BLEND: Final = "blend"
METHOD_WITHOUT_MODEL: Final = "blend-without-model"
BLENDS: Final = (METHOD_BLEND, METHOD_WITHOUT_MODEL)

# Ways to answer questions in words (column `method` of `metric`, segment `questions`).
QUESTIONS: Final = "questions"
QUESTION_BM25: Final = "question-bm25"
QUESTION_POPULARITY: Final = "question-popularity"
QUESTION_MODEL: Final = "question-model"
QUESTION_TEXT: Final = "question-text"
QUESTION_FUSED: Final = "question-fused"
QUESTION_FUSED_USER: Final = "question-fused-user"

# Why no list can contain a held-out item: the name of the number in the protocol of an evaluation, and words for it.
UNREACHABLE: Final = {
    "num_targets_masked": "in the user's history and masked",
    "num_targets_not_available": "not available in the catalogue",
    "num_targets_filtered": "closed by a filter",
    "num_targets_without_codes": "without codes",
}

Split = Literal["serve", "valid", "test"]
TrainCut = Literal["[:-2]", "[:-1]", "[:]"]
Seen = Literal["masked", "kept"]

LEVEL_LETTERS: Final = "abcdefgh"


def code_token(level: int, code: int) -> str:
    """Return the token of a code, such as ``<a_17>`` for code 17 of level 0."""
    return f"<{LEVEL_LETTERS[level]}_{code}>"
