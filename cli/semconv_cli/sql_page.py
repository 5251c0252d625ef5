"""Generate ``docs/sql.md``: how to read published data, and the views, queries and checks of ``sql/``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semconv.data.list_rows import LIST_COLUMNS
from semconv_warehouse.publish.sql_files import SqlFile, sql_files
from semconv_warehouse.serving.cookbook import CookbookQuery, cookbook
from semconv_warehouse.store.layout import package_folder

_INTRODUCTION = """\
# SQL

`make docs` generates this page from the files of `sql/`.

## Opening the published data

To read the published data, open the file `data/serving.duckdb`. `data/serving.duckdb` holds one published generation:
lists, codes, vectors and metrics that belong together. Each table in `data/serving.duckdb` has the column `generation`.
Each publish replaces `data/serving.duckdb` with one rename. So a reader never waits, and never sees half a publication.
A connection that is open during a publish still reads the old generation; a new connection reads the new one. Open
`data/serving.duckdb` read-only, because its permissions do not allow writing.

```bash
semconv sql "SELECT rank, title, reason_title FROM current_recommendation WHERE user_id = 'user-0007' ORDER BY rank"
semconv sql --query top_k_of_user --param user=user-0007 --param k=5
semconv sql --list
semconv sql --csv - < report.sql
semconv sql --csv --no-formulas "FROM current_item"   # for a spreadsheet, which then computes no text
```

`semconv sql` attaches the previous generation as `previous`. A statement may begin with a comment. `semconv sql` runs one SELECT, DESCRIBE, SHOW or SUMMARIZE statement, or
EXPLAIN of one of these. Its DuckDB connection is read-only, reaches no file but these two generations, and its settings
are locked. So it refuses `COPY ... TO`, `ATTACH`, `INSTALL` and `read_csv('/etc/passwd')`, inside `EXPLAIN ANALYZE` and
WITH too. It writes no temporary files, so a query that needs more than the memory ends with code 5.

You can also read `data/serving.duckdb` from Python, or from any other tool that opens DuckDB files:

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
        sa.text("SELECT rank, title FROM current_recommendation WHERE user_id = :user ORDER BY rank"),
        {"user": "user-0007"},
    ).all()
```

Published files have the storage version of DuckDB 1.0, so DuckDB from 1.1 on opens them and reads all tables, views and
the macro. Some queries of the cookbook use newer SQL.

SQLAlchemy can also reflect the tables and views, which `duckdb_engine` alone cannot. semconv brings a dialect for this.
Where semconv is installed, use `duckdb+semconv` instead of `duckdb` in the URL:

```python
engine = sa.create_engine(
    "duckdb+semconv:///data/serving.duckdb", connect_args={"read_only": True}, poolclass=NullPool
)
table = sa.Table("recommendation", sa.MetaData(), autoload_with=engine)  # also sa.inspect and MetaData.reflect
frame = pandas.read_sql_table("current_recommendation", engine)
```

With `NullPool`, SQLAlchemy closes the file when the connection is closed. If a process still has a connection to the
old file, its new connections read the old generation too. Other processes read the new generation.

To compare two generations in your own client, attach the file of the earlier generation with
`ATTACH 'data/generations/000041.duckdb' AS previous (READ_ONLY)`. `semconv generations` lists the numbers of the
generations. The views of the attached file read its own tables. A macro reads the tables of the database in use, so
`previous.similar_item` fails; run `USE previous` first, then call `similar_item`.

## Reading many rows

For a mailing, a search index or a cache, read the rows in bulk with SQL. Feast is made for looking up one or a few
keys. For a thousand keys, Feast takes several times as long as a SQL query.

```python
connection.execute("COPY (SELECT * FROM current_recommendation) TO 'top_k.parquet' (FORMAT parquet)")
frame = connection.sql("SELECT user_id, rank, item_id, score FROM recommendation").pl()  # or .to_arrow_table()
for batch in connection.sql("FROM recommendation").to_arrow_reader(100_000):  # more rows than memory holds
    ...
```

You can also read the Parquet files that semconv exports for Feast. The file `data/features/user_top_k/000042.parquet`
has the lists of all users in publication 42. Each row is one user, with the columns `item_ids` and `scores` (both
lists), `generation` and `event_timestamp`. If `item_ids` and `scores` are null, the user no longer has a list.

## Tables

| table | each row is |
|---|---|
| `recommendation` | one item of one user's list: {list_columns}; sorted by user and rank |
| `item`, `item_code`, `item_embedding` | one item: text, codes, behaviour vector |
| `user_embedding`, `user_history` | one user's behaviour vector; one of the user's last 20 events, with its type |
| `user_profile` | one user with a profile: market, and further attributes as JSON |
| `metric`, `run` | one metric with its confidence interval and protocol; one run that the lists depend on |
| `generation_info` | the whole file (one row): its generation, its runs, and the time of its first publication |
"""

_QUERIES = """\
## Cookbook

Each query is a file in [`sql/queries`](../sql/queries), and you can run it unchanged. A query reads its parameters with
`getvariable`. To set the parameter `item`, use `semconv sql --query NAME --param item=...`, or in another client
`SET VARIABLE item = '...'`.
"""

_CHECKS = """\
## Checks

Each file in [`sql/checks`](../sql/checks) selects the rows that break a rule. A check passes if it selects no rows.
Every publish runs the checks before readers see the new generation. `semconv check` runs the checks on the warehouse
and on the served generation.

| file | rule | database |
|---|---|---|
"""


_GATES = """\
## Gates

Each file in [`sql/gates`](../sql/gates) measures one number, which a setting of the section [`[gates]`](settings.md#gates)
limits. A statement returns one row with the columns `measured` and `found` (the same in words).
[operations.md](operations.md#gates) says when the gates run.

| file | measures | database |
|---|---|---|
"""


def sql_page() -> str:
    """Return the text of the page ``docs/sql.md``."""
    sql = package_folder("sql")
    list_columns = ", ".join(f"{c.name} ({c.meaning})" if c.meaning else c.name for c in LIST_COLUMNS)
    views = [_view(file) for file in sql_files(sql / "views", "generation")]
    checks = _rows(sql / "checks", ("warehouse", "publish", "generation"))
    gates = _rows(sql / "gates", ("generation", "memory", "warehouse"))
    return "\n".join(
        (
            _INTRODUCTION.replace("{list_columns}", list_columns),
            "## Views and macros\n",
            *views,
            _QUERIES,
            *(_query(query) for query in cookbook()),
            _CHECKS + checks,
            _GATES + gates,
            "[`sql/baselines`](../sql/baselines) has the baselines of the evaluation as SQL statements.\n"
            "[`sql/migrations`](../sql/migrations) creates the tables of the warehouse.\n",
        )
    )


def _rows(folder: Path, databases: Sequence[str]) -> str:
    """Return a table row for each SQL file of a folder, by the first database that the file names."""
    return "".join(
        f"| [`{file.name}`](../sql/{folder.name}/{file.name}.sql) | {file.comment} | {' or '.join(file.databases)} |\n"
        for database in databases
        for file in sql_files(folder, database)
        if file.databases[0] == database
    )


def _view(file: SqlFile) -> str:
    return f"### {file.name}\n\n{file.comment}\n\n```sql\n{file.statement};\n```\n"


def _query(query: CookbookQuery) -> str:
    lines = [f"### {query.name}\n\n{query.title}"]
    if query.notes:
        lines.append(query.notes)
    if query.parameters:
        lines.append("\n".join(f"- `{name}`: {meaning}" for name, meaning in query.parameters.items()))
    if query.reads_previous:
        lines.append("This query needs the previous generation, which `semconv sql` attaches as `previous`.")
    lines.append(f"```bash\nsemconv sql --query {query.name}\n```")
    lines.append(f"```sql\n{query.statement};\n```")
    return "\n\n".join(lines) + "\n"
