"""Load external lists as a recommend run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semconv import columns
from semconv.artifacts import file_digest
from semconv.data.store import RunRecord
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.workspace import Workspace
from semconv.stages import stage_settings

if TYPE_CHECKING:
    import pyarrow as pa


def load_lists_run(
    workspace: Workspace, files: Sequence[Path], load: Callable[[Path], None], *, is_merged: bool = False
) -> Outcome:
    """Use external lists in Parquet files as the lists for serving.

    The run records the code set of the current model as its input, if there is one.

    Args:
        load: a function that checks the files and writes them as parts into a folder.
        is_merged: whether users without a list in the files keep their published list.
    """
    inputs: tuple[RunRecord, ...] = ()
    if workspace.latest(columns.FINETUNE) is not None:
        lineage = workspace.model_lineage()
        inputs = (*lineage.code_runs, lineage.behavior)

    def compute(folder: Path) -> dict[str, pa.Table]:
        load(folder)
        return {}

    recommend = {
        name: value for name, value in workspace.section("recommend")["recommend"].items() if name != "seen_days"
    }
    events = workspace.settings.events.recorded()
    settings = {
        "recommend": {**recommend, **stage_settings.masked(workspace)},
        **({"events": events} if events else {}),
        "split": "serve",
        "where": "",
        "users": "merged" if is_merged else "all",
        "is_loaded": True,
    }
    content = {str(number): file_digest(file) for number, file in enumerate(files)}
    return workspace.book.execute(StageRequest(columns.RECOMMEND, settings, inputs, (), content), compute)
