"""Publish lists as a generation: one DuckDB file that readers open."""
