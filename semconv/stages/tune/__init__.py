"""Tuning as a run."""
