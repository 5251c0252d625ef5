"""Runs of stages: their records, files and checksums, and what a stage is given."""
