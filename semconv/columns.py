"""Names of columns, stages and sources that users and other programs rely on.

One place, so that a table, a Parquet part, a Feast view and a test can never disagree.
"""

from __future__ import annotations

from typing import Final, Literal

# Columns of tables and files.
USER_ID: Final = "user_id"
ITEM_ID: Final = "item_id"
USER_INDEX: Final = "user_index"
ITEM_INDEX: Final = "item_index"
EVENT_TIME: Final = "event_time"
SOURCE_POSITION: Final = "source_position"
POSITION: Final = "position"
RATING: Final = "rating"
QUERY: Final = "query"
TITLE: Final = "title"
DESCRIPTION: Final = "description"
BRAND: Final = "brand"
CATEGORIES: Final = "categories"
ATTRIBUTES: Final = "attributes"
RUN_ID: Final = "run_id"
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
GENERATION: Final = "generation"
METHOD: Final = "method"

# Stages of a run, in the order data walks through them (column `run.stage`).
BACKBONE: Final = "backbone"
EMBED_BEHAVIOR: Final = "embed_behavior"
EMBED_TEXT: Final = "embed_text"
CODEBOOK: Final = "codebook"
ASSIGN: Final = "assign"
FINETUNE: Final = "finetune"
BLEND: Final = "blend"
RECOMMEND: Final = "recommend"
TUNE_BASELINE: Final = "tune_baseline"
EVALUATE: Final = "evaluate"
STAGES: Final = (
    BACKBONE,
    EMBED_BEHAVIOR,
    EMBED_TEXT,
    CODEBOOK,
    ASSIGN,
    FINETUNE,
    BLEND,
    RECOMMEND,
    TUNE_BASELINE,
    EVALUATE,
)

# Where a vector came from (column `vector_source`).
LEARNED: Final = "learned"
GIVEN: Final = "given"
MAPPED_FROM_TEXT: Final = "mapped-from-text"

# Who proposed a recommended row (column `sources`).
SOURCE_MODEL: Final = "model"
SOURCE_TRANSITION: Final = "transition"
SOURCE_NEIGHBOR: Final = "neighbor"
SOURCE_FALLBACK: Final = "fallback"
SOURCE_EXTERNAL: Final = "external"  # lists of other programs that name no source
SOURCES_ORDER: Final = (SOURCE_MODEL, SOURCE_TRANSITION, SOURCE_NEIGHBOR, SOURCE_FALLBACK)

# Which lists a row belongs to (column `method` of parts to be scored and of `metric`).
METHOD_MODEL: Final = "model"
METHOD_BLEND: Final = "blend"

Split = Literal["serve", "valid", "test"]
TrainCut = Literal["[:-2]", "[:-1]", "[:]"]
Seen = Literal["masked", "kept"]

LEVEL_LETTERS: Final = "abcdefgh"


def code_token(level: int, code: int) -> str:
    """The token of one code: level 0, code 17 is ``<a_17>``."""
    return f"<{LEVEL_LETTERS[level]}_{code}>"
