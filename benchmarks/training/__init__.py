"""Benchmarks of training: behaviour vectors, and tuning with shared histories."""
