"""``docs/sql.md``: how to open what is published, the views, and the cookbook, written from the files of ``sql/``."""

from __future__ import annotations

from semconv_warehouse.publish.checks import SqlFile, sql_files
from semconv_warehouse.serving.cookbook import CookbookQuery, cookbook
from semconv_warehouse.store.layout import package_folder

_INTRODUCTION = """\
# SQL

This page is written from the files of `sql/` by `make docs`.

## Opening what is published

People read `data/serving.duckdb`: one file, one generation, every table with the column `generation`. A publish puts
another file in its place with one rename. So a reader never waits and never sees half of it: a connection that is open
keeps its generation, whoever connects later sees the new one. Open it read-only; a plain open asks for a write lock,
which the file's mode refuses.

```bash
semconv sql "SELECT rank, title, reason_title FROM current_recommendation WHERE user_id = 'user-0007' ORDER BY rank"
semconv sql --query top_k_of_user --param user=user-0007 --param k=5
semconv sql --list
semconv sql --csv - < report.sql
```

`semconv sql` attaches the generation before as `previous`. It takes statements that read, on a connection that is
read-only, reaches no file but these two, and whose settings are locked: `COPY ... TO`, `ATTACH`, `INSTALL` and
`read_csv('/etc/passwd')` are refused, whatever the statement looks like.

From Python, and from any tool that speaks DuckDB:

```python
import duckdb

with duckdb.connect("data/serving.duckdb", read_only=True) as connection:
    connection.execute("SET VARIABLE user = 'user-0007'")
    print(connection.execute(open("sql/queries/top_k_of_user.sql").read()).fetchall())
```

```python
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

engine = sa.create_engine("duckdb:///data/serving.duckdb", connect_args={"read_only": True}, poolclass=NullPool)
with engine.connect() as connection:
    rows = connection.execute(
        sa.text("SELECT rank, title FROM current_recommendation WHERE user_id = :user ORDER BY rank"), {"user": "user-0007"}
    ).all()
```

`NullPool` closes the file with the connection. A process that keeps any connection to the old file open goes on seeing
the old generation, in new connections too; other processes see the new one.

To compare two generations in a client of your own, attach the earlier file (`semconv generations` lists them):
`ATTACH 'data/generations/000041.duckdb' AS previous (READ_ONLY)`.

## Taking many rows

For a mailing, a search index or a cache, take the rows in bulk. Feast is for looking one or a few keys up; for a thousand it
costs several times a SQL query.

```python
connection.execute("COPY (SELECT * FROM current_recommendation) TO 'top_k.parquet' (FORMAT parquet)")
frame = connection.sql("SELECT user_id, rank, item_id, score FROM recommendation").pl()  # or .to_arrow_table()
for batch in connection.sql("FROM recommendation").to_arrow_reader(100_000):  # more rows than memory holds
    ...
```

The Parquet that Feast reads is there for everybody: `data/features/user_top_k/000042.parquet` is the whole of publication
42, a row a user with lists `item_ids` and `scores`, `generation` and `event_timestamp`. A row with nulls alone marks
a user who has no list any more.

## Tables

| table | one row is |
|---|---|
| `recommendation` | one place of one user's list: user_id, rank (from 1), item_id, score, sources (who proposed it: model, transition, neighbor, any of them together, or fallback), reason_item_id (the history item that speaks most for it); in order of user and rank |
| `item`, `item_code`, `item_embedding` | one item: text, codes, behaviour vector |
| `user_embedding`, `user_history` | one user's vector; one of the user's last 20 items |
| `metric`, `run` | one figure with its interval and protocol; one run of the lineage |
| `generation_info` | the file: its generation, its runs, when it was first put in place |
"""

_QUERIES = """\
## Cookbook

Each is a file of [`sql/queries`](../sql/queries) that runs as it stands. A parameter is read with `getvariable`, so that
`semconv sql --query NAME --param item=...` sets it, and elsewhere `SET VARIABLE item = '...'`.
"""

_CHECKS = """\
## Checks

Integrity is SQL too: each file of [`sql/checks`](../sql/checks) selects rows that break a rule, and empty is good. Every
publish runs them before anything is visible; `semconv check` runs those of the warehouse and of what is served.

| file | rule | looked at |
|---|---|---|
"""


def sql_page() -> str:
    """The whole page."""
    sql = package_folder("sql")
    views = [_view(file) for file in sql_files(sql / "views", "generation")]
    checks = [
        f"| [`{file.name}`](../sql/checks/{file.name}.sql) | {file.comment} | {file.database} |\n"
        for database in ("warehouse", "publish", "generation")
        for file in sql_files(sql / "checks", database)
    ]
    return "\n".join(
        (
            _INTRODUCTION,
            "## Views and macros\n",
            *views,
            _QUERIES,
            *(_query(query) for query in cookbook()),
            _CHECKS + "".join(checks),
            "[`sql/baselines`](../sql/baselines) holds the counters that the model is measured against, one statement each;\n"
            "[`sql/migrations`](../sql/migrations) the tables of the warehouse.\n",
        )
    )


def _view(file: SqlFile) -> str:
    return f"### {file.name}\n\n{file.comment}\n\n```sql\n{file.statement};\n```\n"


def _query(query: CookbookQuery) -> str:
    lines = [f"### {query.name}\n\n{query.title}"]
    if query.words:
        lines.append(query.words)
    if query.parameters:
        lines.append("\n".join(f"- `{name}`: {meaning}" for name, meaning in query.parameters.items()))
    if query.reads_previous:
        lines.append("Needs the generation before, as `previous`.")
    lines.append(f"```bash\nsemconv sql --query {query.name}\n```")
    lines.append(f"```sql\n{query.statement};\n```")
    return "\n\n".join(lines) + "\n"
