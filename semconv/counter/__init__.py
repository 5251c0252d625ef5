"""Counts of transitions between items."""
