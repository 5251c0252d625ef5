"""Maintenance of a project: lists of runs and generations, checks, disk usage, pruning."""
