"""A training's task as named arrays and JSON values, and back, for a file that another machine reads.

Only what the training reads is kept: users are numbers, times are days, and a user who is not trained has no items.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv.backbone.code_tokens import level_tokens
from semconv.data.calendar import Calendar
from semconv.data.histories import Histories, SeenRows
from semconv.data.store import DAY, UNKNOWN_DAY, UNKNOWN_TIME, Sequences, day_numbers
from semconv.item_head.popularity import ItemEvents
from semconv.item_head.prompts import MomentEvents
from semconv.item_head.setup import ItemSetup
from semconv.item_head.successors import SuccessorTable
from semconv.item_head.texts import TextBasis
from semconv.ragged import kept_offsets, offsets_of
from semconv.settings.load import load_settings
from semconv.tasks.data import Candidates, Rejected, Replay, TaskData
from semconv.tasks.dates import DateRange, DateTokens
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.text_tasks import TEXT_TASKS
from semconv.train.task import TuningTask
from semconv.train.validation import Validation

Arrays = Mapping[str, NDArray[Any]]
Facts = Mapping[str, Any]
_NO_DAY: Final = int(np.iinfo(np.int32).min)  # an unknown day in a file


def task_arrays(task: TuningTask) -> dict[str, NDArray[Any]]:
    """Return the arrays of a task by name."""
    found: dict[str, NDArray[Any]] = {
        "codes/item_index": task.item_index,
        "codes/codes": task.codes,
        **_data_arrays(task),
    }
    if task.setup is not None:
        setup = task.setup
        found |= {"setup/texts": setup.texts, "setup/counts": setup.counts}
        found |= _table_arrays("setup/successors", setup.successors)
        found |= {"setup/text_mean": setup.basis.mean, "setup/text_directions": setup.basis.directions}
    if task.validation is not None:
        found |= _validation_arrays(task.validation)
    return found


def task_facts(task: TuningTask) -> dict[str, Any]:
    """Return everything else of a task as JSON values, without the model's configuration and the tokenizer."""
    levels, codes = task.level_tokens.shape
    replay, calendar = task.data.replay, None if task.setup is None else task.setup.calendar
    moments = None if task.validation is None else task.validation.moments
    return {
        "tasks": dataclasses.asdict(task.tasks),
        "tuning": dataclasses.asdict(task.tuning),
        "history_length": task.history_length,
        "num_items": task.data.num_items,
        "levels": levels,
        "codes": codes,
        "pad": task.pad,
        "book_width": task.book_width,
        "replay": None if replay is None else {"share": replay.share, "epochs_before": replay.epochs_before},
        "calendar": None if calendar is None else [calendar.first_day, calendar.num_periods],
        "prompt_dates": None if task.encoder.dates is None else list(task.encoder.dates.range),
        "num_latest": 0 if task.setup is None else task.setup.num_latest,
        "is_validated": task.is_validated,
        "is_masked": task.validation is not None and task.validation.is_masked,
        "scores": "full" if task.validation is None else task.validation.scores,
        "moment_day": None if moments is None else moments.day,
    }


def task_from(arrays: Arrays, facts: Facts, config: Any, tokenizer: Any) -> TuningTask:
    """Return the task of arrays and facts that ``task_arrays`` and ``task_facts`` made.

    Raises:
        KeyError, ValueError, TypeError: an array or a fact is missing or of another kind.
        SettingsError: a setting has a value out of range.
    """
    overrides = {
        f"{section}.{name}": value for section in ("tasks", "tuning") for name, value in facts[section].items()
    }
    settings = load_settings(environment={}, overrides=overrides)
    tokens = level_tokens(tokenizer, facts["levels"], facts["codes"])
    item_index, codes = arrays["codes/item_index"], arrays["codes/codes"]
    dates = None if facts["prompt_dates"] is None else DateRange.of_plain(facts["prompt_dates"])
    date_tokens = None if dates is None else DateTokens.read(tokenizer, dates)
    encoder = PromptEncoder(tokenizer, tokens, item_index, codes, facts["num_items"], date_tokens)
    return TuningTask(
        config=config,
        encoder=encoder,
        data=_data(arrays, facts),
        tasks=settings.tasks,
        history_length=int(facts["history_length"]),
        tuning=settings.tuning,
        level_tokens=tokens,
        item_index=item_index,
        codes=codes,
        pad=int(facts["pad"]),
        setup=None if facts["calendar"] is None else _setup(arrays, facts, encoder),
        validation=_validation(arrays, facts) if facts["is_validated"] else None,
        is_validated=bool(facts["is_validated"]),
        book_width=int(facts["book_width"]),
    )


def _data_arrays(task: TuningTask) -> dict[str, NDArray[Any]]:
    data = task.data
    found: dict[str, NDArray[Any]] = {
        "data/offsets": data.offsets,
        "data/items": data.items,
        "data/is_label": data.is_label,
        "data/coded_items": data.coded_items,
    }
    if data.weights is not None:
        found["data/weights"] = data.weights
    if task.setup is not None or task.encoder.dates is not None:
        found["data/days"] = _short_days(day_numbers(data.times))
    if task.setup is None:  # only prompts of code tokens have negatives
        is_trained = np.diff(data.offsets) > 0  # (U,)
        kept = np.repeat(is_trained, data.touched.lengths)
        found |= {
            "touched/offsets": kept_offsets(data.touched.offsets, kept),
            "touched/items": data.touched.items[kept],
        }
        rejected = is_trained[data.rejected.users]
        found |= {f"rejected/{name}": values[rejected] for name, values in vars(data.rejected).items()}
    for name, candidates in data.texts.items():
        found |= {f"texts/{name}/items": candidates.items, f"texts/{name}/rows": candidates.rows}
        for number, words in enumerate(candidates.words):
            found |= _word_arrays(f"texts/{name}/{number}", words)
    if data.replay is not None:
        found["replay/rows"] = data.replay.is_new_row
        names = [text_task.name for text_task in TEXT_TASKS]
        found |= {f"replay/{name}": mask for name, mask in zip(names, data.replay.is_new_text, strict=True)}
    return found


def _data(arrays: Arrays, facts: Facts) -> TaskData:
    offsets, items, replay = arrays["data/offsets"], arrays["data/items"], facts["replay"]
    days = arrays.get("data/days")
    times = np.full(len(items), UNKNOWN_TIME) if days is None else _times(days)
    touched = (arrays.get("touched/offsets", offsets), arrays.get("touched/items", items))
    rejected = Rejected.none()
    if "rejected/users" in arrays:
        rejected = Rejected(*(arrays[f"rejected/{name}"] for name in vars(rejected)))
    is_new_text = tuple(arrays[f"replay/{task.name}"] for task in TEXT_TASKS) if replay else ()
    return TaskData(
        offsets=offsets,
        items=items,
        times=times,
        is_label=arrays["data/is_label"],
        touched=_without_ids(*touched),
        coded_items=arrays["data/coded_items"],
        num_items=int(facts["num_items"]),
        texts={task.name: _candidates(arrays, f"texts/{task.name}") for task in TEXT_TASKS},
        replay=Replay(arrays["replay/rows"], is_new_text, replay["share"], replay["epochs_before"]) if replay else None,
        weights=arrays.get("data/weights"),
        rejected=rejected,
    )


def _without_ids(offsets: NDArray[np.int64], items: NDArray[np.int32]) -> Sequences:
    """Return sequences of users whose ids, times and ratings are not known."""
    return Sequences((), offsets, items, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))


def _setup(arrays: Arrays, facts: Facts, encoder: PromptEncoder) -> ItemSetup:
    """Return the arrays of the item parts. The weights overwrite those of a continued tuning, so it has no start."""
    basis = TextBasis(arrays["setup/text_mean"], arrays["setup/text_directions"])
    calendar = Calendar(*map(int, facts["calendar"]))
    return ItemSetup(
        encoder.item_tokens,
        arrays["setup/texts"],
        arrays["setup/counts"],
        calendar,
        basis,
        None,
        int(facts["num_latest"]),
        _table(arrays, "setup/successors"),
    )


def _validation_arrays(validation: Validation) -> dict[str, NDArray[Any]]:
    histories, moments = validation.histories, validation.moments
    found: dict[str, NDArray[Any]] = {
        "valid/offsets": offsets_of(histories.lengths),
        "valid/items": histories.items,
        "valid/targets": validation.targets,
        "valid/is_allowed": validation.is_allowed,
        "valid/popularity": validation.popularity,
    }
    found |= _table_arrays("valid/successors", validation.successors)
    if histories.seen is not None:
        found |= {"valid/seen_offsets": histories.seen.offsets, "valid/seen_items": histories.seen.items}
    if moments is not None:
        found |= {"valid/days": _short_days(day_numbers(histories.times)), "moments/users": _short_days(moments.days)}
        found |= {"moments/days": _short_days(moments.events.days), "moments/items": moments.events.items}
        if moments.events.weights is not None:
            found["moments/weights"] = moments.events.weights
    return found


def _validation(arrays: Arrays, facts: Facts) -> Validation:
    offsets, items = arrays["valid/offsets"], arrays["valid/items"]
    seen, moments, times = None, None, np.full(len(items), UNKNOWN_TIME)
    if "valid/seen_items" in arrays:
        seen = SeenRows(arrays["valid/seen_offsets"], arrays["valid/seen_items"])
    if "moments/users" in arrays:
        counted = _long_days(arrays["moments/days"]), arrays["moments/items"]
        events = ItemEvents(*counted, facts["num_items"], arrays.get("moments/weights"))
        moments = MomentEvents(events, _long_days(arrays["moments/users"]), facts["moment_day"])
        times = _times(arrays["valid/days"])
    return Validation(
        Histories(offsets[:-1], np.diff(offsets), items, times, seen),
        arrays["valid/targets"],
        arrays["valid/is_allowed"],
        bool(facts["is_masked"]),
        "trie" if facts["scores"] == "trie" else "full",
        arrays["valid/popularity"],
        moments,
        _table(arrays, "valid/successors"),
    )


def _table_arrays(name: str, table: SuccessorTable | None) -> dict[str, NDArray[Any]]:
    return {} if table is None else {f"{name}/{part}": values for part, values in vars(table).items()}


def _table(arrays: Arrays, name: str) -> SuccessorTable | None:
    parts = [field.name for field in dataclasses.fields(SuccessorTable)]
    return SuccessorTable(*(arrays[f"{name}/{part}"] for part in parts)) if f"{name}/{parts[0]}" in arrays else None


def _word_arrays(name: str, words: Sequence[str | None]) -> dict[str, NDArray[Any]]:
    """Return texts as bytes, one text after the other, and the number of bytes of each; -1 for a missing text."""
    texts = [None if text is None else text.encode("utf-8", "surrogatepass") for text in words]
    lengths = np.array([-1 if text is None else len(text) for text in texts], dtype=np.int64)
    joined = np.frombuffer(b"".join(text for text in texts if text), dtype=np.uint8)
    return {f"{name}/bytes": joined, f"{name}/lengths": lengths}


def _candidates(arrays: Arrays, name: str) -> Candidates:
    columns: list[list[str | None]] = []
    while f"{name}/{len(columns)}/lengths" in arrays:
        column = f"{name}/{len(columns)}"
        joined, lengths = arrays[f"{column}/bytes"].tobytes(), arrays[f"{column}/lengths"]
        ends = np.cumsum(np.maximum(lengths, 0)).tolist()
        columns.append(
            [
                None if length < 0 else joined[end - length : end].decode("utf-8", "surrogatepass")
                for length, end in zip(lengths.tolist(), ends, strict=True)
            ]
        )
    return Candidates(arrays[f"{name}/items"], arrays[f"{name}/rows"], tuple(columns))


def _short_days(days: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.where(days == UNKNOWN_DAY, _NO_DAY, days).astype(np.int32)


def _long_days(days: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.where(days == _NO_DAY, UNKNOWN_DAY, days.astype(np.int64))


def _times(days: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the beginning of each day in microseconds since 1970."""
    return np.where(days == _NO_DAY, UNKNOWN_TIME, days.astype(np.int64) * DAY)
