"""Benchmarks of serving: publishing, readers, lookups by SQL and Feast, and the size of a project over many nights."""
