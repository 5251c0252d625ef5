"""The storage in DuckDB: connections, schema, run table and SQL baselines."""
