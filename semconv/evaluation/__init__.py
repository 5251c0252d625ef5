"""Evaluation of recommendation lists: metrics with bootstrap intervals, user segments, and comparisons of methods."""
