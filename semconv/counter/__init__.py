"""Counts of transitions between items, and scores of the items that may follow a history."""
