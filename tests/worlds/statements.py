"""One statement of every kind that DuckDB lists, and statements that write inside others."""

from __future__ import annotations

import functools

import duckdb

# Kind -> a statement of this kind on a database with the table `item`. {folder} is a folder for files.
STATEMENTS = {
    "ALTER": "ALTER TABLE item ADD COLUMN x INT",
    "ANALYZE": "ANALYZE item",
    "ATTACH": "ATTACH '{folder}/new.duckdb' AS new",
    "CALL": "CALL pragma_version()",
    "COPY": "COPY (SELECT 1) TO '{folder}/out.csv'",
    "COPY_DATABASE": "COPY FROM DATABASE memory TO memory",
    "CREATE": "CREATE TABLE x AS SELECT 1",
    "CREATE_FUNC": "CREATE MACRO x(a) AS a + 1",
    "DELETE": "DELETE FROM item",
    "DETACH": "DETACH memory",
    "DROP": "DROP TABLE item",
    "EXECUTE": "EXECUTE x",
    "EXPORT": "EXPORT DATABASE '{folder}/export'",
    "INSERT": "INSERT INTO item SELECT * FROM item",
    "LOAD": "LOAD '{folder}/own.duckdb_extension'",
    "MERGE_INTO": "MERGE INTO item USING (SELECT 'i0' AS item_id) AS s USING (item_id) WHEN MATCHED THEN DELETE",
    "MULTI": "CREATE TABLE x AS PIVOT item ON item_id",
    "PRAGMA": "PRAGMA enable_profiling",
    "PREPARE": "PREPARE x AS SELECT 1",
    "SET": "SET threads = 1",
    "TRANSACTION": "BEGIN",
    "UPDATE": "UPDATE item SET title = 'forged'",
    "VACUUM": "VACUUM",
    "VARIABLE_SET": "SET VARIABLE x = 1",
}
READING = ("SELECT", "EXPLAIN")
# DuckDB parses the statements of these kinds as another kind.
PARSED_AS = {"ANALYZE": "VACUUM", "COPY_DATABASE": "PRAGMA", "CREATE_FUNC": "CREATE", "VARIABLE_SET": "SET"}
# Kinds that no text of SQL has: plans and relations of programs, and statements of extensions.
NO_TEXT = ("EXTENSION", "INVALID", "LOGICAL_PLAN", "RELATION")
FURTHER = ("CHECKPOINT", "COMMENT ON TABLE item IS 'x'", "INSTALL httpfs", "RESET threads", "USE memory", "ROLLBACK")
# Statements of the kinds SELECT, EXPLAIN and MULTI, each with a statement in it that writes.
HIDDEN = (
    "WITH x AS (COPY (SELECT 1) TO '{folder}/out.csv') SELECT 1",
    "with x as (copy item to '{folder}/out.parquet') from x",
    "WITH x AS (INSERT INTO item SELECT * FROM item RETURNING item_id) SELECT * FROM x",
    "WITH x AS (DELETE FROM item RETURNING item_id) SELECT * FROM x",
    "WITH x AS (UPDATE item SET title = 'forged' RETURNING item_id) SELECT * FROM x",
    "WITH a AS (SELECT 1), x AS MATERIALIZED (COPY (SELECT 1) TO '{folder}/out.csv') SELECT 1",
    "WITH x AS (COPY (SELECT 1) TO '{folder}/out.csv') PIVOT item ON item_id",
    "WITH x AS (COPY (SELECT 1) TO '{folder}/out.csv') SELECT * FROM item UNION ALL SELECT * FROM item",
    "SELECT * FROM (WITH x AS (COPY (SELECT 1) TO '{folder}/out.csv') SELECT 1)",
    "COPY (PIVOT item ON item_id) TO '{folder}/out.csv'",
    "CREATE TEMP TABLE x AS PIVOT item ON item_id",
    "INSERT INTO item SELECT * FROM (PIVOT item ON item_id)",
    "/* SELECT */ EXPLAIN -- SELECT 1\n ANALYZE COPY (SELECT 1) TO '{folder}/out.csv'",
    "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{folder}/out.csv'",
    "EXPLAIN ANALYZE (FORMAT json) COPY (SELECT 1) TO '{folder}/out.csv'",
    "EXPLAIN (FORMAT json) DELETE FROM item",
    "explain analyze insert into item select * from item",
    "EXPLAIN ANALYZE CREATE TABLE x AS (SELECT 1)",
    "EXPLAIN ANALYZE WITH x AS (COPY (SELECT 1) TO '{folder}/out.csv') SELECT 1",
    "EXPLAIN ANALYZE COPY (PIVOT item ON item_id) TO '{folder}/out.csv'",
)


@functools.cache
def _parser() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def kind_of(statement: str) -> str | None:
    """Return the kind of a statement; None if DuckDB cannot parse it as one statement."""
    try:
        statements = _parser().extract_statements(statement)
    except duckdb.Error:
        return None
    return statements[0].type.name if len(statements) == 1 else None
