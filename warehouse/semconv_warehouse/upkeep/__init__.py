"""Keeping a project in order: records of runs and generations, checks, disk usage, pruning."""
