"""Clean the values of a file's columns with polars: numbers, texts and lists of texts."""

from __future__ import annotations

import html
from typing import Final

import polars as pl

from semconv_warehouse.ingest.files.json_rows import TOO_DEEP
from semconv_warehouse.ingest.values.ids import LONGEST_ID, id_problem, id_text
from semconv_warehouse.ingest.values.json_values import changed, is_too_deep
from semconv_warehouse.ingest.values.lists import ANY_LIST, LIST_OR_OBJECT, LIST_WITH_TEXT, joined_texts, text_of_list
from semconv_warehouse.ingest.values.raw import RawColumn, decoded_bytes, wrong_type
from semconv_warehouse.ingest.values.times import printable, time

__all__ = [
    "LONGEST_ID", "TOO_DEEP", "RawColumn", "id_problem", "id_text", "is_deep_list", "number", "printable",
    "text", "text_list", "time", "whole_number", "without_html",
]  # fmt: skip

# HTML elements that a browser does not show; they are removed with their content.
_HIDDEN = r"(?is)<script\b.*?</script\s*>|<style\b.*?</style\s*>|<!--.*?-->"
# Tags that begin or end a line. They are replaced by a blank.
_BREAK = r"(?i)</?(?:br|p|div|li|ul|ol|tr|td|th|table|h[1-6]|hr)\b[^<>]*>"
_TAG = r"</?[a-zA-Z][^<>]*>"
_CONTROL = r"[\x00-\x08\x0e-\x1f\x7f-\x9f]"

_BETWEEN = "\ue000"  # a private-use character that separates the parts of a list while these are joined to one text


# A number with a decimal comma, and perhaps points between its thousands.
_COMMA_NUMBER: Final = r"^\s*([-+]?\d+|[-+]?\d{1,3}(?:\.\d{3})+),(\d+)\s*$"
_POINT_THOUSANDS: Final = r"^\s*[-+]?\d{1,3}(?:\.\d{3})+\s*$"


def whole_number(raw: RawColumn) -> pl.Expr:
    """Return whole numbers, null for a value that is none; InputError if the column's type has no numbers."""
    value = number(raw)
    if raw.dtype.is_integer():
        return pl.col(raw.name).cast(pl.Int64, strict=False)
    if isinstance(raw.dtype, pl.String):  # not through floats, which would round numbers above 2^53
        text = pl.col(raw.name).str.strip_chars().str.replace(r"\.0+$", "")
        return text.cast(pl.Int64, strict=False)
    return pl.when(value == value.floor()).then(value).cast(pl.Int64, strict=False)


def number(raw: RawColumn) -> pl.Expr:
    """Return finite numbers, null for a value that is none; InputError if the column's type has no numbers."""
    value = pl.col(raw.name)
    if raw.is_text:
        value = value.cast(pl.String).str.strip_chars()
        value = _decimal_points(value) if raw.decimal == "," else value
    elif not (raw.dtype.is_numeric() or isinstance(raw.dtype, pl.Null)):
        raise wrong_type(raw, "numbers")
    value = value.cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


def _decimal_points(text: pl.Expr) -> pl.Expr:
    """Return numbers with a decimal comma as numbers with a decimal point, without points between thousands."""
    points = text.str.contains(_COMMA_NUMBER) | text.str.contains(_POINT_THOUSANDS)
    plain = text.str.strip_chars().str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return pl.when(points).then(plain).otherwise(text)


def text(raw: RawColumn) -> pl.Expr:
    """Return text without HTML entities, tags and extra blanks, null if nothing is left.

    Texts of lists and of further columns are joined by blanks.
    """
    parts = [without_html(_joined(part, " ", LIST_OR_OBJECT if part.is_json else LIST_WITH_TEXT)) for part in raw.parts]
    if len(parts) == 1:
        return parts[0]
    whole = pl.concat_str(parts, separator=" ", ignore_nulls=True)
    return pl.when(whole != "").then(whole)


def text_list(raw: RawColumn) -> pl.Expr:
    """Return lists of clean texts from lists, texts of lists, or texts with ``|`` between parts; null for empty lists."""
    lists = [_texts_of(part) for part in raw.parts]
    whole = lists[0] if len(lists) == 1 else pl.concat_list([one.fill_null([]) for one in lists])
    return pl.when(whole.list.len() > 0).then(whole)


def _texts_of(raw: RawColumn) -> pl.Expr:
    text = _joined(raw, _BETWEEN, LIST_OR_OBJECT if raw.is_json else ANY_LIST)
    if not raw.dtype.is_nested():
        # A text that is no list has its parts between bars.
        bars = pl.col(raw.name).cast(pl.String) if raw.is_text else text
        text = pl.when(text == bars).then(text.str.replace_all("|", _BETWEEN, literal=True)).otherwise(text)
    # The parts are cleaned as one text, because a call of the Python functions for each list would be slow.
    parts = without_html(text).str.split(_BETWEEN).list.eval(pl.element().str.strip_chars())
    return parts.list.filter(pl.element() != "")


def _joined(raw: RawColumn, between: str, lists: str) -> pl.Expr:
    """Return the texts of each value, joined; ``lists`` is the pattern of the text of a list."""
    value = pl.col(raw.name)
    if isinstance(raw.dtype, pl.Binary):
        return decoded_bytes(value)
    if raw.dtype.is_nested():
        joined = joined_texts(value, raw.dtype, between) if isinstance(raw.dtype, pl.List | pl.Array) else None
        if joined is None:
            raise wrong_type(raw, "text or lists of text")
        return joined
    if isinstance(raw.dtype, pl.Object):
        raise wrong_type(raw, "text")
    text = printable(value, raw.dtype).cast(pl.String)
    return changed(text, lists, lambda item: text_of_list(item, between)) if raw.is_text else text


def is_deep_list(raw: RawColumn) -> pl.Expr:
    """Return whether each value is the text of a list that is nested too deep to be parsed."""
    texts = [pl.col(part.name).cast(pl.String) for part in raw.parts if part.is_text]
    if not texts:
        return pl.lit(False)
    deep = [text.str.contains(ANY_LIST).fill_null(value=False) & is_too_deep(text) for text in texts]
    return pl.any_horizontal(deep)


def without_html(value: pl.Expr) -> pl.Expr:
    """Return text as a browser shows it, on one line. A code token such as ``<a_17>`` is removed like any other tag."""
    shown = changed(value, "&", html.unescape)
    for pattern, replacement in ((_HIDDEN, " "), (_BREAK, " "), (_TAG, ""), (_CONTROL, ""), (r"\s+", " ")):
        shown = shown.str.replace_all(pattern, replacement)
    shown = shown.str.strip_chars()
    return pl.when(shown != "").then(shown)
