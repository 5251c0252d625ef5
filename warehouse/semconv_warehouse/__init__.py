"""semconv's warehouse: DuckDB through SQLAlchemy. Ingest, migrate, read, write, publish, hand features to Feast."""
