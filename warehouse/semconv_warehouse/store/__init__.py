"""DuckDB: connections, schema, run table, baselines."""
