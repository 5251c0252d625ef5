"""Counts of transitions between items, and the scores that they give to items after a history."""
