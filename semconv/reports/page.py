"""Fill in the templates of this package. The resulting HTML pages and SVG charts need no script and no other file.

The templates escape every value. Only the filter ``words`` returns markup, and it escapes its text first.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from semconv.columns import code_token
from semconv.reports.section import count, percent

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_TITLE_LENGTH = 120


def render(template: str, **values: Any) -> str:
    """Return a template of the folder ``templates/``, filled in with ``values``. A missing value raises an error."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    import jinja2  # here, so that a command's help does not load it

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("semconv.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": count, "percent": percent, "px": px, "short": short, "words": words}
    environment.globals |= {"code_token": code_token}
    return environment


def words(text: str) -> Markup:
    """Convert a text to HTML: escape it, and mark its parts between backticks as code."""
    from markupsafe import Markup, escape

    parts = str(escape(text)).split("`")
    parts[1::2] = [f"<code>{part}</code>" for part in parts[1::2]]
    return Markup("".join(parts))  # noqa: S704  escaped above


def short(title: str) -> str:
    """Return the title of an item, shortened to about two lines of the page."""
    return title if len(title) <= _TITLE_LENGTH else title[: _TITLE_LENGTH - 1].rstrip() + "…"


def px(value: float) -> str:
    """Return a coordinate of a chart as text, rounded to a tenth of a pixel."""
    return f"{value:.1f}"
