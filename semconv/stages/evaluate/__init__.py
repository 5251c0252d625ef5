"""Evaluation as a run."""
