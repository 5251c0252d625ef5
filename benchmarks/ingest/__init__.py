"""Benchmarks of reading data into the warehouse."""
