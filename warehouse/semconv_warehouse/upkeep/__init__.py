"""Checks, disk usage, pruning."""
