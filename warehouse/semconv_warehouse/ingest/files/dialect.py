"""The dialect of a text file: delimiter, decimal sign, encoding, form of dates, and whether there is a header."""

from __future__ import annotations

import codecs
import datetime as dt
from dataclasses import dataclass, fields
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from semconv.errors import SettingsError

_LONGEST_DELIMITER = 10
_ESCAPED = {"\\t": "\t", "tab": "\t"}
# A time whose parts all differ, to test a form of dates.
_PROBE = dt.datetime(2001, 2, 3, 4, 5, 6, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Dialect:
    """What the user says about the text of files; None stands for what the file itself shows.

    Attributes:
        delimiter: the text between two fields of a CSV file.
        decimal: the decimal sign of numbers, ``.`` or ``,``.
        encoding: a name that Python knows, such as ``cp1252``.
        date_format: the form of the times, in the signs of strftime, such as ``%d/%m/%Y``.
        has_header: whether the first row of a CSV file has the names of the columns.
    """

    delimiter: str | None = None
    decimal: str = "."
    encoding: str | None = None
    date_format: str | None = None
    has_header: bool = True

    def __post_init__(self) -> None:
        """Raise SettingsError for a value that cannot be used."""
        if self.delimiter is not None:
            object.__setattr__(self, "delimiter", _checked_delimiter(self.delimiter))
        if self.decimal not in (".", ","):
            raise SettingsError(f"--decimal {self.decimal!r}: unknown decimal sign; give . or ,")
        if self.encoding is not None:
            object.__setattr__(self, "encoding", _checked_encoding(self.encoding))
        if self.date_format is not None:
            object.__setattr__(self, "date_format", _checked_format(self.date_format))

    def given(self, *names: str) -> list[str]:
        """Return the options, among the named fields, that differ from their default."""
        options = {"has_header": "--no-header"}
        return [
            options.get(one.name, f"--{one.name.replace('_', '-')}")
            for one in fields(self)
            if one.name in names and getattr(self, one.name) != one.default
        ]


@dataclass(frozen=True)
class Formatted:
    """A file together with its dialect."""

    path: Path
    dialect: Dialect

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)


@dataclass(frozen=True)
class Spooled:
    """A temporary Parquet file with the rows of another source, such as an SQL query."""

    path: Path
    name: str  # name of the source in messages and reports
    dialect: Dialect = Dialect()

    def __str__(self) -> str:
        """Return the name of the source."""
        return self.name


@dataclass(frozen=True)
class InMemory:
    """Rows that another reader made from a file: the columns of a table, or JSON objects as texts in ``__record``."""

    rows: pl.DataFrame
    name: str  # name of the file in messages and reports

    def __str__(self) -> str:
        """Return the name of the file."""
        return self.name


Input = Path | Formatted | Spooled | InMemory


def _checked_delimiter(text: str) -> str:
    text = _ESCAPED.get(text, text)
    if not text or len(text) > _LONGEST_DELIMITER or any(sign in text for sign in '"\r\n'):
        raise SettingsError(
            f"--delimiter {text!r}: cannot separate fields; give one to {_LONGEST_DELIMITER} signs without double quotes and line"
            " breaks, such as ';'"
        )
    return text


def _checked_encoding(name: str) -> str:
    try:
        found = codecs.lookup(name)
        "".encode(found.name)  # refuses codecs between bytes, such as base64
    except (LookupError, ValueError) as error:
        raise SettingsError(
            f"--encoding {name!r}: unknown encoding; give one that Python knows, such as utf-8, cp1252, latin-1 or utf-16"
        ) from error
    return found.name


def _checked_format(form: str) -> str:
    """Return a form of dates in the signs that polars reads; SettingsError if it gives no whole date."""
    form = form.replace(".%f", "%.f")  # Python's form of a fraction of a second
    problem = SettingsError(
        f"--date-format {form!r}: does not give a whole date; give a form such as '%d/%m/%Y %H:%M', with year, month and day"
    )
    if "%" not in form:
        raise problem
    try:
        # The two signs of polars that Python lacks.
        shown = _PROBE.strftime(form.replace("%.f", ".0").replace("%#z", "%z"))
        read = pl.Series([shown]).str.to_datetime(form, strict=False, time_unit="us")
    except (PolarsError, ValueError) as error:
        raise problem from error
    if read.dt.date().to_list() != [_PROBE.date()]:
        raise problem
    return form
